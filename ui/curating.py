"""The calls that judge and mend the FAQ, over the client's connection."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar

from appliance.errors import SluiceError
from appliance.schema.curation import (
    DeletedEntry,
    ImportJob,
    ImportOutcome,
    Miss,
    MissAnswer,
    MissPromote,
    MissState,
    Regression,
    RegressionPost,
    RegressionPreview,
    RegressionRun,
    RestorePost,
    Revision,
)
from appliance.schema.faq import Entry, EntryPut, FaqTest, FaqTestPost
from appliance.schema.requests import Accepted
from ui.answers import BAD_ANSWER, Listing, parse
from ui.client import IMPORT_TIMEOUT_S, RECONNECTS_MAX, Client, backoff_s
from ui.faq_files import FaqFile

EDITED_SINCE: Final = "edited_since"
LISTED_MAX: Final = 1_000
RUN_TIMEOUT_S: Final = 90.0  # the server answers after a minute at the latest
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

    async def deleted(self) -> tuple[DeletedEntry, ...]:
        """The last deleted first, `LISTED_MAX` at most."""
        return await self._listed("/api/faq/deleted", Listing[DeletedEntry], {})

    # --- questions without a good answer ----------------------------------------------------

    async def misses(self, state: MissState) -> tuple[Miss, ...]:
        """The most asked first, `LISTED_MAX` at most."""
        return await self._listed("/api/faq/misses", Listing[Miss], {"state": state})

    async def promote(self, miss_id: str, body: MissPromote) -> Entry:
        """Raises `Conflict` when somebody else made an entry of it."""
        return await self._client.write("POST", f"/api/faq/misses/{miss_id}/promote", Entry, body)

    async def answer(self, miss_id: str, text: str) -> Miss:
        """Tells those who asked. Raises `Conflict` when they were told something else before."""
        body = MissAnswer(answer=text)
        return await self._client.write("POST", f"/api/faq/misses/{miss_id}/answer", Miss, body)

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

    # --- saved questions --------------------------------------------------------------------

    async def regressions(self) -> tuple[Regression, ...]:
        """Those which fail first."""
        return (await self._client.get("/api/faq/regressions", Listing[Regression])).items

    async def regression_runs(self) -> tuple[RegressionRun, ...]:
        """The last run and those in which something flipped, newest first."""
        return (await self._client.get("/api/faq/regressions/runs", Listing[RegressionRun])).items

    async def save_regression(self, question: str, entry_id: str) -> Regression:
        """Asked at once; `entry_id` is empty when no entry should be found."""
        body = RegressionPost(question=question, entry_id=entry_id)
        return await self._client.write("POST", "/api/faq/regressions", Regression, body)

    async def preview_entry(self, put: EntryPut, entry_id: str) -> RegressionPreview:
        """What would flip were it published, as a new entry where `entry_id` is empty."""
        query = f"?entry_id={entry_id}" if entry_id else ""
        path = f"/api/faq/regressions/preview{query}"
        response = await self._client.send_call(
            "POST", path, body=put, read_timeout_s=RUN_TIMEOUT_S
        )
        return parse(response.content, RegressionPreview)

    async def delete_regression(self, regression_id: str) -> None:
        await self._client.send_call("DELETE", f"/api/faq/regressions/{regression_id}")

    async def run_regressions(self) -> None:
        """Returns when all were asked, or after a minute; the rest then goes on by itself."""
        path = "/api/faq/regressions/run"
        await self._client.send_call("POST", path, read_timeout_s=RUN_TIMEOUT_S)

    # --- files ------------------------------------------------------------------------------

    async def rehearse(self, file: FaqFile) -> ImportOutcome:
        """What importing the file would do; nothing is stored."""
        return await self._send_file(file, {"dry_run": "true"})

    async def take_file(self, file: FaqFile) -> ImportOutcome:
        """Stores all of the file or nothing, and returns once it can be found."""
        return await self._send_file(file, {})

    async def import_file(self, file: FaqFile, *, overwrite: bool) -> ImportOutcome:
        """Stores all of the file or nothing; `follow_import` tells when it can be found.

        Raises `Conflict` with the reason `EDITED_SINCE` for lines older than an edit, unless
        `overwrite`.
        """
        query = {"wait": "false", "overwrite": "true" if overwrite else "false"}
        return await self._send_file(file, query)

    async def _send_file(self, file: FaqFile, query: dict[str, str]) -> ImportOutcome:
        response = await self._client.send_call(
            "POST",
            "/api/faq/import",
            query=query,
            content=file.content,
            headers={"Content-Type": file.kind},
            read_timeout_s=IMPORT_TIMEOUT_S,
        )
        return parse(response.content, ImportOutcome)

    async def follow_import(self, import_id: str) -> AsyncGenerator[ImportJob, None]:
        """How far an import is, until it is done; a broken connection is taken up again."""
        failures = 0
        while True:
            path = f"/api/faq/imports/{import_id}/events"
            try:
                async with aclosing(self._client.messages(path, "")) as messages:
                    async for message in messages:
                        if message is None:
                            continue
                        failures, job = 0, parse(message.data, ImportJob)
                        yield job
                        if job.state == "done":
                            return
            except SluiceError as error:
                passing = error.code in ("unavailable", "overloaded", "internal")
                if not passing or error.reason == BAD_ANSWER or failures >= RECONNECTS_MAX:
                    raise
            failures += 1
            await self._client.pause(backoff_s(failures))

    def export(self, form: str) -> AsyncGenerator[bytes, None]:
        """Every entry as the pieces of a file. Wrap it in `contextlib.aclosing`."""
        return self._client.download("/api/faq/export", {"format": form})

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
