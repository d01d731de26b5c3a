"""`/api/faq`: entries, live search, import and export.

An edit answers once it is searchable, so the next question knows it; when the index is away or
far behind, it answers after a bounded wait all the same, for the record is stored.
"""

from typing import Annotated, Literal

from litestar import Request, Router, delete, get, post, put
from litestar.datastructures import State
from litestar.params import Parameter
from litestar.response import Stream

from appliance.api.lists import Cursor, IdPath, Limit
from appliance.api.services import Services
from appliance.errors import Invalid
from appliance.knowledge.demo import load_demo
from appliance.knowledge.exchange import Format, export
from appliance.knowledge.imports import import_file
from appliance.schema import MAX_QUESTION_CHARS, Entry, EntryPut, ImportReport, Page

SETTLE_TIMEOUT_S = 10.0
IMPORT_SETTLE_TIMEOUT_S = 120.0

FORMATS: dict[str, Format] = {
    "text/csv": "csv",
    "application/jsonl": "jsonl",
    "application/x-ndjson": "jsonl",
}
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv", "jsonl": "application/jsonl"}

Query = Annotated[str, Parameter(min_length=1, max_length=MAX_QUESTION_CHARS)]
Category = Annotated[str, Parameter(max_length=100, description="Only this category.")]
Language = Annotated[str, Parameter(max_length=12, description="Only this language.")]


@get("/")
async def list_entries(
    services: Services,
    cursor: Cursor = None,
    limit: Limit = 50,
    category: Category = "",
    language: Language = "",
) -> Page:
    """Entries from the oldest, drafts too."""
    return await services.knowledge.entries.page(
        cursor=cursor, limit=limit, category=category, language=language
    )


@post("/")
async def create_entry(services: Services, data: EntryPut) -> Entry:
    entry = await services.knowledge.entries.create(data)
    await services.knowledge.index.settled([entry.id], SETTLE_TIMEOUT_S)
    return entry


@get("/search")
async def search_entries(services: Services, q: Query, limit: Limit = 5) -> Page:
    """The entries closest in meaning, best first, without a floor."""
    found = await services.knowledge.retrieval.search(q, limit=limit, floor=-1.0)
    return Page(items=found.matches)


@get("/export")
async def export_entries(
    services: Services, file_format: Annotated[Format, Parameter(query="format")] = "jsonl"
) -> Stream:
    """Every entry as a file which `import` takes back unchanged."""
    return Stream(
        export(services.knowledge.entries, file_format),
        media_type=MEDIA_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="faq.{file_format}"'},
    )


@post("/import", status_code=200)
async def import_entries(services: Services, request: Request[None, None, State]) -> ImportReport:
    """Takes a CSV or JSONL file whole or not at all; bad lines are named with their numbers."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMATS:
        raise Invalid(
            "the file's type is not known", hint="send it as text/csv or application/jsonl"
        )
    return await _take_file(services, await request.body(), FORMATS[kind])


@post("/demo", status_code=200)
async def load_demo_entries(services: Services) -> ImportReport:
    """Loads the shipped demo FAQ, in Chinese and English."""
    return await _take_file(services, load_demo(), "jsonl")


@get("/{entry_id:str}")
async def read_entry(services: Services, entry_id: IdPath) -> Entry:
    return await services.knowledge.entries.read(entry_id)


@put("/{entry_id:str}")
async def replace_entry(services: Services, entry_id: IdPath, data: EntryPut) -> Entry:
    entry = await services.knowledge.entries.replace(entry_id, data)
    await services.knowledge.index.settled([entry.id], SETTLE_TIMEOUT_S)
    return entry


@delete("/{entry_id:str}")
async def delete_entry(services: Services, entry_id: IdPath) -> None:
    await services.knowledge.entries.delete(entry_id)
    await services.knowledge.index.settled([entry_id], SETTLE_TIMEOUT_S)


async def _take_file(
    services: Services, data: bytes, form: Literal["csv", "jsonl"]
) -> ImportReport:
    taken = await import_file(services.knowledge.entries, data, form)
    written = [entry.id for entry in taken.writes]
    await services.knowledge.index.settled(written, IMPORT_SETTLE_TIMEOUT_S)
    return taken.report


router = Router(
    "/api/faq",
    route_handlers=[
        list_entries,
        create_entry,
        search_entries,
        export_entries,
        import_entries,
        load_demo_entries,
        read_entry,
        replace_entry,
        delete_entry,
    ],
)
