"""Warm sessions as the bus sees them: taken from `warm:POOL`, and forgotten when deleted.

Warming never delays anybody: a worker takes one session at a time and only while it has no
request, and gives it up as soon as one comes. What was computed until then is kept.

A deletion is told to all workers. Whoever did not hear of it, because the store was away or the
worker not there, finds out by asking which of its sessions still exist.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from appliance import keys
from appliance.bus import warming
from appliance.bus.client import Bus, ensure_group, hear
from appliance.schema.requests import Warming
from appliance.schema.sampling import Sampling
from appliance.worker import jobs
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Engine
from appliance.worker.snapshots import Snapshots

log = logging.getLogger(__name__)

BLOCK_MS = 10_000
ASKED_AT_ONCE = 500
PREFIX = "warm:"
NOTHING_NEW = Sampling(temperature=0, max_tokens=1)


class Warmup:
    """`is_idle` says whether the worker has no request; `changed` is to be called when it may
    have become so."""

    def __init__(
        self, bus: Bus, config: WorkerConfig, engine: Engine, *, is_idle: Callable[[], bool]
    ) -> None:
        self._bus = bus
        self._config = config
        self._engine = engine
        self._is_idle = is_idle
        self._session_id = ""  # the one that is being warmed
        self._news = asyncio.Event()

    def changed(self) -> None:
        self._news.set()

    async def take(self, blocking: Bus) -> None:
        """Warms one session after the other while the worker is idle, until cancelled."""
        stream = keys.warm(self._config.pool)
        await ensure_group(self._bus, stream, keys.WORKERS_GROUP)
        while True:
            while self._session_id or not self._is_idle():
                self._news.clear()
                await self._news.wait()
            rows = await hear(
                blocking, stream, keys.WORKERS_GROUP, self._config.name, count=1, block_ms=BLOCK_MS
            )
            for row_id, fields in rows:
                await self._bus.xdel(stream, row_id)
                await self._begin(msgspec.json.decode(fields[b"warming"], type=Warming))

    async def _begin(self, wanted: Warming) -> None:
        if not self._is_idle() or wanted.session_id in self._engine.warm_sessions:
            await warming.done(self._bus, wanted.session_id)
            return
        self._session_id = wanted.session_id
        self._engine.submit(
            jobs.Generation(
                request_id=PREFIX + wanted.session_id,
                messages=wanted.messages,
                sampling=NOTHING_NEW,
                scope=keys.scope(wanted.uid),
                session_id=wanted.session_id,
                prefill_only=True,
            )
        )

    def give_way(self) -> None:
        """A request comes: what is being warmed stays as far as it got."""
        if self._session_id:
            self._engine.cancel(PREFIX + self._session_id)

    async def ended(self, engine_id: str) -> bool:
        """Whether an end was that of a warming, which is then noted."""
        if not engine_id.startswith(PREFIX):
            return False
        await warming.done(self._bus, engine_id.removeprefix(PREFIX))
        self._session_id = ""
        self._news.set()
        return True

    async def forget_deleted(self) -> None:
        """Forget every session, in the cache or on disk, that does not exist any more."""
        held = set(self._engine.warm_sessions)
        if self._config.snapshot_directory:
            held |= await asyncio.to_thread(self._on_disk)
        ordered = sorted(held)
        for start in range(0, len(ordered), ASKED_AT_ONCE):
            batch = ordered[start : start + ASKED_AT_ONCE]
            pipeline = self._bus.pipeline(transaction=False)
            for session_id in batch:
                pipeline.exists(keys.session(session_id))
            for session_id, exists in zip(batch, await pipeline.execute(), strict=True):
                if not exists:
                    self._engine.forget(session_id)

    def _on_disk(self) -> set[str]:
        directory = Path(self._config.snapshot_directory)
        stamp = self._engine.facts.cache_stamp
        return Snapshots(directory, bound_bytes=0, stamp=stamp).session_ids()
