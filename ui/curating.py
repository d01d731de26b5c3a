"""The calls that judge and mend the FAQ, over the client's connection."""

from typing import Final, TypeVar

from appliance.schema import Accepted, Entry, FaqTest, FaqTestPost
from appliance.schema_curation import (
    Miss,
    MissPromote,
    MissState,
    RestorePost,
    Revision,
)
from ui.answers import Listing, parse
from ui.client import Client

EDITED_SINCE: Final = "edited_since"
LISTED_MAX: Final = 1_000
PAGE: Final = 500

T = TypeVar("T")


class Curating:
    """Questions tried as the client's own person would ask them, and older versions of entries."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def try_question(self, question: str) -> FaqTest:
        """What would happen to the question; nothing is asked of a model or kept."""
        body = FaqTestPost(question=question, uid=self._client.uid)
        return await self._client.write("POST", "/api/faq/test", FaqTest, body)

    async def history(self, entry_id: str) -> tuple[Revision, ...]:
        """The versions that are kept, newest first; of a deleted entry none is the current one."""
        path = f"/api/faq/{entry_id}/history"
        return (await self._client.get(path, Listing[Revision])).items

    async def restore(self, entry_id: str, version: int, *, seen: int | None) -> Entry:
        """Makes the text of `version` the newest one, unless the entry went on since `seen`.

        Raises `Conflict` with the reason `EDITED_SINCE` then.
        """
        path = f"/api/faq/{entry_id}/restore"
        return await self._client.write(
            "POST", path, Entry, RestorePost(version=version), seen=seen
        )

    # --- questions without a good answer ----------------------------------------------------

    async def misses(self, state: MissState) -> tuple[Miss, ...]:
        """The most asked first, `LISTED_MAX` at most."""
        return await self._listed("/api/faq/misses", Listing[Miss], {"state": state})

    async def promote(self, miss_id: str, body: MissPromote) -> Entry:
        """Raises `Conflict` when somebody else made an entry of it."""
        return await self._client.write("POST", f"/api/faq/misses/{miss_id}/promote", Entry, body)

    async def draft(self, miss_id: str) -> Accepted:
        """Has the model write an answer; follow its request for the text."""
        response = await self._client.send_call("POST", f"/api/faq/misses/{miss_id}/draft")
        return parse(response.content, Accepted)

    async def dismiss(self, miss_id: str) -> Miss:
        response = await self._client.send_call("POST", f"/api/faq/misses/{miss_id}/dismiss")
        return parse(response.content, Miss)

    async def reopen(self, miss_id: str) -> Miss:
        response = await self._client.send_call("POST", f"/api/faq/misses/{miss_id}/reopen")
        return parse(response.content, Miss)

    async def _listed(
        self, path: str, kind: type[Listing[T]], query: dict[str, str]
    ) -> tuple[T, ...]:
        """Every page, up to `LISTED_MAX` items."""
        items: tuple[T, ...] = ()
        page = await self._client.get(path, kind, query | {"limit": str(PAGE)})
        while True:
            items += page.items
            if page.cursor is None or len(items) >= LISTED_MAX:
                return items[:LISTED_MAX]
            more = query | {"limit": str(PAGE), "cursor": page.cursor}
            page = await self._client.get(path, kind, more)
