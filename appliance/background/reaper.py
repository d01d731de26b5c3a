"""The reaper: gives back the work of a worker that is gone, and what a living one has lost.

A worker is gone when its process died (the supervisor says so at once) or its heartbeat stopped;
in the second case only leases that are over are taken back. Leases that end while their worker
lives (it was paused, or cut off from the store) are found in `leases:POOL`. The request returns to
the work stream and whoever takes it goes on from the text already emitted. One that is guilty of
its workers' deaths (`bus.leases`) becomes a dead letter and fails with its reason. What waits in
the own stream of one that is gone returns likewise.

Every step may be repeated. A request's entry in the stream is acknowledged last, so what a crash
interrupts here is found again at the next look.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.background.contact import Contact
from appliance.bus import leases, scripts, work
from appliance.bus.client import AWAY, Bus, ensure_group
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.leases import Holder, Released
from appliance.bus.notices import Notice, notify
from appliance.bus.texts import emitted_text
from appliance.bus.workers import drop_others, live_worker_ids
from appliance.clock import now_ms
from appliance.schema.events import Cancelled, Event, Failed
from appliance.schema.requests import Request
from appliance.schema.status import DeadLetter
from appliance.settings import Settings

log = logging.getLogger(__name__)

BATCH = 100
OPEN_ENTRIES = 20_000
NEVER_MS = 2**63
WORKERS_MOST = 10_000  # one too few here would take work from a living worker
RETRY_S = 1.0
OVERDUE_GRACE_S = 30.0
IN_ORDER = Holder(gone=True, died=False)


@dataclass(frozen=True)
class _Loss:
    """The process of a worker is gone since `at_ms`; `died` unless it was told to end."""

    worker_name: str
    at_ms: int
    died: bool
    words: str


class Reaper:
    """Looks for dead workers. `run` is its task; `lost` tells it of one now.

    `on_silent` gets the name of a worker whose reports stopped, `on_missing` the id of a request
    whose entry is in the work stream no more.
    """

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        dead_letters: DeadLetters,
        *,
        pool: str,
        on_silent: Callable[[str], None],
        on_missing: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._settings = settings
        self._dead_letters = dead_letters
        self._pool = pool
        self._stream = keys.work(pool)
        self._leases = keys.leases(pool)
        self._on_silent = on_silent
        self._on_missing = on_missing
        self._lost: asyncio.Queue[_Loss] = asyncio.Queue()
        self._deadlines: dict[str, int] = {}
        """Of the requests that were open at the last look: each is read once."""

    def lost(self, worker_name: str, *, died: bool, words: str = "") -> None:
        """The process of this worker ended; its ids start with its name and a dot."""
        at_ms = now_ms()
        self._lost.put_nowait(_Loss(worker_name, at_ms, died, words))

    async def run(self) -> None:
        """Reaps what is reported lost, and on a slow beat whatever stopped reporting."""
        worker = self._settings.worker
        beat_s = min(worker.lost_after_s, worker.lease_s) / 2
        contact = Contact(quiet_s=1.5 * beat_s, settle_s=worker.lost_after_s)
        while True:
            try:
                await ensure_group(self._bus, self._stream, keys.WORKERS_GROUP)
                if contact.made(time.monotonic()):
                    await self._reap_silent()
                await self._reap_expired()
                await self._end_overdue()
                until_s = asyncio.get_running_loop().time() + beat_s
                while loss := await self._next_loss(until_s):
                    await self._reap_named(loss)
            except AWAY as error:
                log.debug("reaper: store away (%s)", error)
                contact.broken()
                await asyncio.sleep(RETRY_S)

    async def reap_earlier(self, since_ms: int) -> None:
        """At start with an embedded store: whoever has not reported since is of an earlier life."""
        await ensure_group(self._bus, self._stream, keys.WORKERS_GROUP)
        for worker_id in await work.holders(self._bus, self._pool):
            seen_ms = await self._seen_ms(worker_id)
            if seen_ms < since_ms or seen_ms > await self._store_ms():  # the clock was set back
                await self._reap(worker_id, IN_ORDER, "")
        await drop_others(self._bus, since_ms)

    # -- who is gone

    async def _next_loss(self, until_s: float) -> _Loss | None:
        """None when the beat is over, which cuts short only this waiting."""
        try:
            async with asyncio.timeout_at(until_s):
                return await self._lost.get()
        except TimeoutError:
            return None

    async def _reap_named(self, loss: _Loss) -> None:
        try:
            at_ms = loss.at_ms + await self._store_ahead_ms()
            for worker_id in await work.holders(self._bus, self._pool):
                if worker_id.partition(".")[0] != loss.worker_name:
                    continue
                # What reported since is the process started in its place.
                if await self._seen_ms(worker_id) <= at_ms:
                    await self._reap(worker_id, Holder(gone=True, died=loss.died), loss.words)
        except AWAY:
            self._lost.put_nowait(loss)
            raise

    async def _reap_silent(self) -> None:
        alive = await live_worker_ids(
            self._bus, self._settings.worker.lost_after_s, most=WORKERS_MOST
        )
        names = {worker_id.partition(".")[0] for worker_id in alive}
        for worker_id in await work.holders(self._bus, self._pool):
            if worker_id not in alive and not await self._bus.exists(keys.worker(worker_id)):
                name = worker_id.partition(".")[0]
                if name not in names:
                    self._on_silent(name)
                await self._reap(worker_id, Holder(gone=False, died=True), "it stopped reporting")

    async def _seen_ms(self, worker_id: str) -> float:
        """When it last reported, by the store's clock; 0 for one that is no longer listed."""
        return await self._bus.zscore(keys.WORKERS, worker_id) or 0.0

    async def _store_ahead_ms(self) -> int:
        """By how much the store's clock is ahead of ours, rather too much than too little: a
        process started in a lost one's place needs longer than this to report."""
        before_ms = now_ms()
        return await self._store_ms() - before_ms

    async def _store_ms(self) -> int:
        seconds, microseconds = await self._bus.time()
        return 1000 * seconds + microseconds // 1000

    async def _reap(self, worker_id: str, holder: Holder, words: str) -> None:
        """Gives back what this worker holds and may be taken, then forgets it if that is all."""
        await self._bus.zrem(keys.WORKERS, worker_id)
        await self._bus.delete(keys.worker(worker_id))
        await notify(self._bus, Notice(kind="workers"))
        start = "-"
        kept = 0
        while pending := await self._pending(worker_id, start):
            for entry in pending:
                entry_id = entry["message_id"].decode()
                start = f"({entry_id}"
                if not await self._give_back_entry(worker_id, entry_id, holder, words):
                    kept += 1
        kept += await self._reap_own(worker_id, holder, words)
        if not kept and await work.close(self._bus, self._pool, worker_id):
            await self._bus.xgroup_delconsumer(self._stream, keys.WORKERS_GROUP, worker_id)
            log.warning("worker %s is gone; its work was given back", worker_id)

    async def _reap_own(self, worker_id: str, holder: Holder, words: str) -> int:
        """Gives back its own stream, read or not; returns how many entries must stay."""
        start, kept = "-", 0
        while page := await work.own_entries(self._bus, self._pool, worker_id, start=start):
            start = f"({page[-1].name.rpartition('/')[2]}"
            for entry in page:
                if not await self._give_back_entry(worker_id, entry.name, holder, words):
                    kept += 1
        return kept

    async def _pending(self, worker_id: str, start: str) -> list[dict[str, bytes]]:
        return await self._bus.xpending_range(
            self._stream,
            keys.WORKERS_GROUP,
            min=start,
            max="+",
            count=BATCH,
            consumername=worker_id,
        )

    # -- what becomes of its work

    async def _give_back_entry(self, worker_id: str, name: str, holder: Holder, words: str) -> bool:
        """False while the entry must stay where it is."""
        fields = await self._entry(name)
        if fields:
            request_id = fields["request_id"].decode()
            record = await self._bus.hgetall(keys.request(request_id))
            held = record.get(b"lease", b"").decode()
            if held and not held.startswith(f"{worker_id}:"):
                held = ""  # another worker's by now
            released = await self._release(request_id, held, holder)
            if released.outcome == "running":
                return False
            if released.outcome == "queued":
                await self._settle(request_id, released, fields, words)
        await work.acknowledge(self._bus, self._pool, name)
        return True

    async def _reap_expired(self) -> None:
        """What is listed past its time: given back, put right, or taken off the list."""
        found = await leases.over(self._bus, self._pool, most=BATCH)
        if not found:
            return
        consumers = set(await work.holders(self._bus, self._pool))
        alive = await live_worker_ids(
            self._bus, self._settings.worker.lost_after_s, most=WORKERS_MOST
        )
        for request_id in found:
            held = (await self._bus.hget(keys.request(request_id), "lease") or b"").decode()
            holder_id = held.rpartition(":")[0]
            if holder_id in consumers and holder_id not in alive:
                continue  # `_reap_silent` looks after it, and knows what its death means
            released = await self._release(request_id, held, Holder(gone=False, died=False))
            if released.outcome == "running":
                await self._bus.zadd(self._leases, {request_id: released.until_ms}, xx=True)
                continue
            if released.outcome == "queued" and released.entry:
                if held:  # else it was given back when the death of its holder was told
                    log.warning("request %s: the lease of %s is over", request_id, holder_id)
                await self._settle(request_id, released, await self._entry(released.entry), "")
                await work.acknowledge(self._bus, self._pool, released.entry)
            await self._bus.zrem(self._leases, request_id)

    async def _release(self, request_id: str, held: str, holder: Holder) -> Released:
        return await leases.release(
            self._bus,
            request_id,
            held,
            holder=holder,
            attempts=self._settings.requests.attempts,
        )

    async def _settle(
        self, request_id: str, released: Released, fields: dict[str, bytes], words: str
    ) -> None:
        """What was taken back is ended, or put into the stream again."""
        if released.cancelled:
            await self._end(request_id, Cancelled(reason="asked"))
        elif released.guilty:
            await self._give_up(request_id, released, words)
        elif fields:
            await work.put(self._bus, self._pool, request_id, fields)
        else:
            self._on_missing(request_id)

    async def _give_up(self, request_id: str, released: Released, words: str) -> None:
        body = await self._bus.hget(keys.request(request_id), "body")
        assert body is not None, "only what is recorded can be released"
        request = msgspec.json.decode(body, type=Request)
        reason = f"{released.deaths} workers died while answering this request"
        letter = DeadLetter(
            id=request_id,
            uid=request.uid,
            session_id=request.session_id,
            failed_at_ms=now_ms(),
            attempts=released.attempt,
            deaths=released.deaths,
            reason=reason,
            words=words,
        )
        await self._dead_letters.keep(letter, request)
        hint = "ask differently; the operator finds it under /api/dead-letters"
        await self._end(
            request_id, Failed(code="internal", reason="worker_lost", message=reason, hint=hint)
        )

    async def _end_overdue(self) -> None:
        """Nothing outlives its deadline by much, whatever went wrong with it."""
        for request_id in await self._overdue(now_ms() - int(1000 * OVERDUE_GRACE_S)):
            record = await self._bus.hgetall(keys.request(request_id))
            state = record.get(b"state")
            if state == b"running":
                await self._list_anew(request_id, record)  # its engine ends it, if it lives
            if state not in (b"waiting", b"loading", b"queued"):
                continue
            failed = Failed(
                code="overloaded",
                reason="deadline",
                message="the answer was not finished before its deadline",
                hint="ask again",
            )
            await self._end(request_id, failed)

    async def _overdue(self, before_ms: int) -> list[str]:
        """Open requests whose deadline was earlier, the oldest first."""
        listed = await self._bus.zrangebyscore(
            keys.OPEN, "-inf", "+inf", start=0, num=OPEN_ENTRIES, withscores=True
        )
        opened = {raw.decode(): at_ms for raw, at_ms in listed}
        unread = [request_id for request_id in opened if request_id not in self._deadlines]
        pipeline = self._bus.pipeline(transaction=False)
        for request_id in unread:
            pipeline.hget(keys.request(request_id), "deadline")
        found: list[bytes | None] = await pipeline.execute()
        read = {one: int(ms or NEVER_MS) for one, ms in zip(unread, found, strict=True)}
        known = self._deadlines | read
        self._deadlines = {request_id: known[request_id] for request_id in opened}
        bound_ms = 1000 * self._settings.requests.deadline_s  # whatever its record says
        late = [
            request_id
            for request_id, at_ms in opened.items()
            if min(at_ms + bound_ms, known[request_id]) < before_ms
        ]
        return late[:BATCH]

    async def _list_anew(self, request_id: str, record: dict[bytes, bytes]) -> None:
        """It may have fallen off the list, and then nobody would see that its lease is over."""
        if keys.pool(msgspec.json.decode(record[b"body"], type=Request).model) == self._pool:
            await self._bus.zadd(self._leases, {request_id: int(record[b"until"])}, nx=True)

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

    async def _entry(self, name: str) -> dict[str, bytes]:
        found = await work.entry(self._bus, self._pool, name)
        return {field.decode(): value for field, value in found.items()}
