"""The calls that judge and mend the FAQ, over the client's connection."""

from typing import Final

from appliance.schema import Entry, FaqTest, FaqTestPost
from appliance.schema_curation import RestorePost, Revision
from ui.answers import Listing
from ui.client import Client

EDITED_SINCE: Final = "edited_since"


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
