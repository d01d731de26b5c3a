"""A worker's heartbeat: what it says of itself, and the renewal of all it holds."""

import contextlib
import os
from typing import Literal

from appliance import keys
from appliance.bus import leases, placing
from appliance.bus.client import AWAY, Bus
from appliance.bus.notices import Notice, notify
from appliance.bus.placing import Told
from appliance.bus.script import run_all
from appliance.bus.workers import report
from appliance.schema.status import WorkerStatus
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Engine
from appliance.worker.held import Job, waiting
from appliance.worker.spinning import Spinning


class Reporting:
    """Writes `worker:ID`, `workers` and the leases of one worker."""

    def __init__(self, bus: Bus, config: WorkerConfig, engine: Engine, worker_id: str) -> None:
        self._bus = bus
        self._config = config
        self._engine = engine
        self._worker_id = worker_id
        self._threads = config.threads
        self._spinning = Spinning()

    async def arrive(self) -> None:
        """The first report, and the news of it."""
        await self.store_status(busy=0)
        await notify(self._bus, Notice(kind="workers"))

    async def leave(self) -> None:
        with contextlib.suppress(*AWAY):
            await self._bus.zrem(keys.WORKERS, self._worker_id)
            await self._bus.delete(keys.worker(self._worker_id))
            await notify(self._bus, Notice(kind="workers"))

    async def store_status(self, *, busy: int, draining: bool = False) -> bytes | None:
        """Returns the threads that this worker may have, None when nobody has shared them out."""
        facts, status = self._engine.facts, self._engine.status
        said = WorkerStatus(
            id=self._worker_id,
            engine=facts.engine,
            model=self._config.model_name or facts.model,
            embedding_model=facts.embedding_model,
            device=facts.device,
            adapters=facts.adapters,
            slots=self._config.slots,
            busy=busy,
            context_tokens=self._config.context_tokens,
            tokens_per_s=round(status.tokens_per_s, 1),
            embedding_size=facts.embedding_size,
            pid=os.getpid(),
            warm=self._engine.warm_sessions,
            pool=self._config.pool,
            threads=self._threads,
            state="draining" if draining else "ready",
            devices=facts.devices,
            alarms=facts.alarms,
            python_share=round(status.python_share, 4),
            cache_tokens=self._config.cache_tokens,
            used_cells=status.used_cells,
            idle_sequences=status.idle_sequences,
            drafted=status.drafted,
            confirmed=status.confirmed,
        )
        return await report(
            self._bus, said, name=self._config.name, lost_after_s=self._config.lost_after_s
        )

    def follow_threads(self, found: bytes | None) -> None:
        """Takes up this worker's share of the threads, which changes as models come and go.

        It is read at each heartbeat instead of being told once: a worker that was away, or has
        just been started again with an old configuration, comes to it all the same.
        """
        if found is not None and int(found) != self._threads:
            self._threads = int(found)
            self._engine.use_threads(self._threads)
        if self._config.engine == "llama":
            self._spinning.look(self._threads, idle=not self._engine.status.has_work)

    async def taken(self, job: Job) -> None:
        """Tells the placement loop that this worker has the request."""
        await self._tell("taken", job)

    async def began(self, job: Job) -> None:
        """Its prompt is computed, and its answer has begun."""
        await self._tell("first", job)

    async def _tell(self, kind: Literal["taken", "first"], job: Job) -> None:
        told = Told(
            kind=kind, request_id=job.request_id, pool=self._config.pool, worker=self._worker_id
        )
        await placing.tell(self._bus, told)

    async def renew(self, held: list[Job]) -> list[Job]:
        """Prolongs the leases of all that is held, in one round trip; returns what was lost.

        Marks as unwanted what was cancelled while nobody told us.
        """
        if not held:
            return []
        waits = waiting(held, self._engine.status)
        found = await run_all(
            self._bus,
            [
                leases.renew(
                    job.request_id,
                    job.held,
                    lease_ms=self._config.lease_ms,
                    waits=job.request_id in waits,
                )
                for job in held
            ],
        )
        ends: dict[str, int] = {}
        lost: list[Job] = []
        for job, (until_ms, cancelled) in zip(held, found, strict=True):
            job.unwanted = job.unwanted or bool(cancelled)
            if until_ms:
                ends[job.request_id] = until_ms
            else:
                lost.append(job)
        if ends:
            # Also what the reaper has just taken off the list, having seen it before it was taken.
            await self._bus.zadd(keys.leases(self._config.pool), ends)
        return lost
