"""`/api/faq`: entries with their versions, and live search.

An edit answers once it is searchable, so the next question knows it; when the index is away or
far behind, it answers after a bounded wait all the same, for the record is stored. The ETag of an
entry is its version: an edit that sends it as If-Match never overwrites what it has not seen.
"""

from typing import Annotated, Literal

import msgspec
from litestar import Response, Router, delete, get, post, put
from litestar.params import Parameter

from appliance.api.callers import Caller
from appliance.api.lists import Cursor, IdPath, IfMatch, Limit
from appliance.api.services import Services
from appliance.errors import Invalid
from appliance.knowledge.retrieval import Only
from appliance.people.cursors import decode_offset, encode_offset
from appliance.schema.curation import EntryStats, EntryView, NearEntry, RestorePost
from appliance.schema.faq import Entry, EntryPut, Labels
from appliance.schema.fields import MAX_QUESTION_CHARS, Page

SETTLE_TIMEOUT_S = 10.0

Query = Annotated[str, Parameter(min_length=1, max_length=MAX_QUESTION_CHARS)]
Category = Annotated[str, Parameter(max_length=100, description="Only this category.")]
Language = Annotated[str, Parameter(max_length=12, description="Only this language.")]
InState = Annotated[
    Literal["published", "draft"] | None,
    Parameter(query="state", required=False, description="Only published or only draft."),
]


@get("/")
async def list_entries(
    services: Services,
    cursor: Cursor = None,
    limit: Limit = 50,
    category: Category = "",
    language: Language = "",
    in_state: InState = None,
) -> Page:
    """Entries from the oldest, drafts too."""
    page = await services.knowledge.entries.page(
        cursor=cursor, limit=limit, category=category, language=language, state=in_state or ""
    )
    stats = await services.knowledge.stats.read([entry.id for entry in page.items])
    views = [_view(entry, of) for entry, of in zip(page.items, stats, strict=True)]
    return Page(items=tuple(views), cursor=page.cursor)


@post("/")
async def create_entry(services: Services, caller: Caller, data: EntryPut) -> Response[EntryView]:
    entry = await services.knowledge.entries.create(data, by=caller.name)
    return await _settled(services, entry, status=201)


@get("/search")
async def search_entries(
    services: Services, q: Query, limit: Limit = 5, category: Category = "", language: Language = ""
) -> Page:
    """The entries closest in meaning and words, best first, without a floor."""
    found = await services.knowledge.retrieval.search(
        q, limit=limit, floor=-1.0, only=Only(category, language)
    )
    return Page(items=found.matches)


@get("/categories")
async def list_categories(services: Services) -> Labels:
    """The categories and languages that entries have, drafts too."""
    return await services.knowledge.entries.labels()


@get("/deleted")
async def list_deleted(services: Services, cursor: Cursor = None, limit: Limit = 50) -> Page:
    """Deleted entries that `restore` can bring back, the last deleted first."""
    skip = decode_offset(cursor)
    found = await services.knowledge.history.deleted(skip, limit + 1)
    more = len(found) > limit
    return Page(items=found[:limit], cursor=encode_offset(skip + limit) if more else None)


@get("/{entry_id:str}")
async def read_entry(services: Services, entry_id: IdPath) -> Response[EntryView]:
    entry = await services.knowledge.entries.read(entry_id)
    (stats,) = await services.knowledge.stats.read([entry_id])
    return _tagged(_view(entry, stats))


@put("/{entry_id:str}")
async def replace_entry(
    services: Services,
    caller: Caller,
    entry_id: IdPath,
    data: EntryPut,
    if_match: IfMatch = None,
) -> Response[EntryView]:
    expected = _version(if_match)
    entry = await services.knowledge.entries.replace(
        entry_id, data, expected=expected, by=caller.name
    )
    return await _settled(services, entry)


@delete("/{entry_id:str}")
async def delete_entry(services: Services, entry_id: IdPath, if_match: IfMatch = None) -> None:
    """It can be restored until `curation.deleted_kept` others were deleted after it."""
    await services.knowledge.entries.delete(entry_id, expected=_version(if_match))
    await services.knowledge.index.settled([entry_id], SETTLE_TIMEOUT_S)


@get("/{entry_id:str}/history")
async def read_history(services: Services, entry_id: IdPath) -> Page:
    """The versions that are kept, newest first; of a deleted entry too."""
    return Page(items=await services.knowledge.history.of(entry_id))


@post("/{entry_id:str}/restore", status_code=200)
async def restore_entry(
    services: Services,
    caller: Caller,
    entry_id: IdPath,
    data: RestorePost,
    if_match: IfMatch = None,
) -> Response[EntryView]:
    """An old text becomes the newest version; a deleted entry comes back."""
    entry = await services.knowledge.history.restore(
        entry_id, data.version, expected=_version(if_match), by=caller.name
    )
    return await _settled(services, entry)


async def _settled(services: Services, entry: Entry, status: int = 200) -> Response[EntryView]:
    """The entry once it is searchable, with those near it."""
    knowledge = services.knowledge
    await knowledge.index.settled([entry.id], SETTLE_TIMEOUT_S)
    (stats,) = await knowledge.stats.read([entry.id])
    return _tagged(_view(entry, stats, await knowledge.near.to_entry(entry)), status)


def _view(entry: Entry, stats: EntryStats, near: tuple[NearEntry, ...] = ()) -> EntryView:
    return EntryView(**msgspec.structs.asdict(entry), stats=stats, near=near)


def _tagged(view: EntryView, status: int = 200) -> Response[EntryView]:
    return Response(view, status_code=status, headers={"ETag": f'"{view.version}"'})


def _version(if_match: str | None) -> int | None:
    """The version an edit is meant for, None for any."""
    if if_match is None or if_match.strip() == "*":
        return None
    digits = if_match.strip().removeprefix('"').removesuffix('"')
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise Invalid(
            "If-Match is not an ETag of ours",
            hint="send the ETag that GET answered",
            reason="bad_etag",
        )
    return int(digits)


router = Router(
    "/api/faq",
    route_handlers=[
        list_entries,
        create_entry,
        search_entries,
        list_categories,
        list_deleted,
        read_entry,
        replace_entry,
        delete_entry,
        read_history,
        restore_entry,
    ],
)
