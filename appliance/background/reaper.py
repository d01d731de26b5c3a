"""The reaper: gives back the work of a worker that is gone.

A worker is gone when its process died (the supervisor says so at once) or its heartbeat stopped.
Each request it held is taken back under the lease it held, so a worker that was only slow finds
its lease lost and cannot write any more. The request returns to the work stream and whoever takes
it goes on from the text already emitted. One that killed `requests.attempts` workers
is a dead letter: it fails with its reason instead of killing a third.
"""

import asyncio
import logging

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import AWAY, Bus, ensure_group
from appliance.bus.notices import Notice, notify
from appliance.bus.texts import emitted_text
from appliance.bus.workers import live_worker_ids
from appliance.schema import Cancelled, Event, Failed
from appliance.settings import Settings

log = logging.getLogger(__name__)

BATCH = 100
WORKERS_MOST = 10_000  # one too few here would take work from a living worker


class Reaper:
    """Looks for dead workers. `run` is its task; `lost` tells it of one now."""

    def __init__(self, bus: Bus, settings: Settings, *, pool: str) -> None:
        self._bus = bus
        self._settings = settings
        self._stream = keys.work(pool)
        self._lost: asyncio.Queue[str] = asyncio.Queue()

    def lost(self, worker_name: str) -> None:
        """The process of this worker died; its ids start with its name and a dot."""
        self._lost.put_nowait(worker_name)

    async def run(self) -> None:
        """Reaps what is reported lost, and on a slow beat whatever stopped reporting."""
        beat_s = self._settings.worker.lost_after_s / 2
        while True:
            try:
                await ensure_group(self._bus, self._stream, keys.WORKERS_GROUP)
                await self._reap_silent()
                async with asyncio.timeout(beat_s):
                    while True:
                        await self._reap_named(await self._lost.get())
            except TimeoutError:
                continue
            except AWAY as error:
                log.warning("reaper: store away (%s)", error)
                await asyncio.sleep(1.0)

    async def reap_everybody(self) -> None:
        """At start with an embedded store every known worker is one of an earlier life."""
        await ensure_group(self._bus, self._stream, keys.WORKERS_GROUP)
        for worker_id in await self._consumers():
            await self._reap(worker_id)
        await self._bus.delete(keys.WORKERS)

    async def _reap_silent(self) -> None:
        alive = await live_worker_ids(
            self._bus, self._settings.worker.lost_after_s, most=WORKERS_MOST
        )
        for worker_id in await self._consumers():
            if worker_id not in alive and not await self._bus.exists(keys.worker(worker_id)):
                await self._reap(worker_id)

    async def _reap_named(self, worker_name: str) -> None:
        for worker_id in await self._consumers():
            if worker_id.partition(".")[0] == worker_name:
                await self._reap(worker_id)

    async def _consumers(self) -> list[str]:
        found = await self._bus.xinfo_consumers(self._stream, keys.WORKERS_GROUP)
        return [consumer["name"].decode() for consumer in found]

    async def _reap(self, worker_id: str) -> None:
        """Gives back everything this worker holds, then forgets it."""
        await self._bus.zrem(keys.WORKERS, worker_id)
        await self._bus.delete(keys.worker(worker_id))
        await notify(self._bus, Notice(kind="workers"))
        while True:
            pending = await self._bus.xpending_range(
                self._stream,
                keys.WORKERS_GROUP,
                min="-",
                max="+",
                count=BATCH,
                consumername=worker_id,
            )
            if not pending:
                break
            for entry in pending:
                await self._give_back(worker_id, entry["message_id"])
        await self._bus.xgroup_delconsumer(self._stream, keys.WORKERS_GROUP, worker_id)
        log.warning("worker %s is gone; its work was given back", worker_id)

    async def _give_back(self, worker_id: str, entry_id: bytes) -> None:
        rows = await self._bus.xrange(self._stream, entry_id.decode(), entry_id.decode(), 1)
        if rows:
            fields = {name.decode(): value for name, value in rows[0][1].items()}
            request_id = fields["request_id"].decode()
            if await self._may_run_again(worker_id, request_id):
                await self._bus.xadd(self._stream, fields)
        await self._bus.xack(self._stream, keys.WORKERS_GROUP, entry_id)
        await self._bus.xdel(self._stream, entry_id)

    async def _may_run_again(self, worker_id: str, request_id: str) -> bool:
        record = await self._bus.hgetall(keys.request(request_id))
        held = record.get(b"lease", b"").decode()
        if record.get(b"state") == b"queued":
            return True  # it died between reading the entry and taking the request
        if not held.startswith(f"{worker_id}:"):
            return False  # ended, or another worker's by now
        released = await scripts.release(self._bus, request_id, held)
        if released.outcome != "released":
            return False
        if b"cancel" in record:
            await self._end(request_id, Cancelled(reason="asked"))
            return False
        if released.attempt >= self._settings.requests.attempts:
            await self._end(
                request_id,
                Failed(
                    code="internal",
                    reason="worker_lost",
                    message=f"{released.attempt} workers died while answering this request",
                    hint="ask differently; `sluice doctor` and the log have the details",
                ),
            )
            return False
        return True

    async def _end(self, request_id: str, event: Event) -> None:
        log.error("request %s is given up: %s", request_id, event)
        await scripts.end(
            self._bus,
            request_id,
            event,
            ttl_s=self._settings.requests.reply_ttl_s,
            text=await emitted_text(self._bus, request_id),
        )
        await notify(self._bus, Notice(kind="ended", request_id=request_id))
