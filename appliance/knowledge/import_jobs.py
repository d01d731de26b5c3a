"""Imports of files that are stored and being indexed: how far each is.

The record of an import is written by the script that writes its entries. So it exists exactly
when they do, whatever dies, and its progress needs no bookkeeping: what is left of it are its
entries that the index has not taken up. At the next start the index goes on with those.
"""

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.errors import NotFound
from appliance.knowledge import entry_scripts as scripts
from appliance.knowledge.entries import Job
from appliance.knowledge.index import Index
from appliance.schema.curation import ImportJob
from appliance.schema.faq import ImportReport

TTL_S = 7 * 86_400
LOOK_AGAIN_S = 1.0


class ImportJobs:
    """Reads the records of imports; at most `kept` are remembered."""

    def __init__(self, bus: Bus, index: Index, *, kept: int) -> None:
        self._bus = bus
        self._index = index
        self._kept = kept

    def new(self, form: str, report: ImportReport, entries: int, *, by: str = "") -> Job:
        """The record of an import about to be stored."""
        job = ImportJob(
            id=keys.new_import_id(),
            form=form,
            created_at_ms=now_ms(),
            created=report.created,
            updated=report.updated,
            unchanged=report.unchanged,
            entries=entries,
            by=by,
        )
        body = msgspec.json.encode(job)
        return Job(job.id, body, job.created_at_ms, kept=self._kept, ttl_s=TTL_S)

    async def newest(self) -> tuple[ImportJob, ...]:
        """The last imports, newest first."""
        found = []
        for raw in await self._bus.zrevrange(keys.IMPORTS, 0, self._kept - 1):
            with contextlib.suppress(NotFound):  # its time is over
                found.append(await self.read(raw.decode()))
        return tuple(found)

    async def read(self, job_id: str) -> ImportJob:
        """How far an import is. Raises NotFound."""
        body = await self._bus.get(keys.import_job(job_id))
        if body is None:
            raise NotFound(
                f"no import {job_id}",
                hint="list them with GET /api/faq/imports",
                reason="no_import",
            )
        job = msgspec.json.decode(body, type=ImportJob)
        left = int(
            await scripts.REMAINING.run(
                self._bus, (keys.import_entries(job_id), keys.FAQ_UNINDEXED)
            )
        )
        return msgspec.structs.replace(
            job,
            indexed=job.entries - left,
            state="indexing" if left else "done",
            detail=self._index.degraded if left else "",
            reason=self._index.degraded_reason if left else "",
        )

    async def follow(self, job_id: str) -> AsyncGenerator[ImportJob, None]:
        """Each news of an import, to its end. Raises NotFound, before the first news only."""
        told: ImportJob | None = None
        while told is None or told.state != "done":
            job = await self.read(job_id)
            if job != told:
                yield job
            told = job
            if job.state != "done":
                await self._index.stirred(LOOK_AGAIN_S)
