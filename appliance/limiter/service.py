"""The limiter loop: reads `admit`, feeds the fair queues, pushes verdicts to the reply streams.

Each pool of workers has a queue of its own, for a slot of one model is of no use to those who
wait for another.

It is alone in its loop and shares nothing with access but Valkey. Messages are nudges: the set
`open` and the request records are the truth, and every few seconds the loop compares them with
what it holds. So a message lost in a crash costs a few seconds, a limiter started anew finds
the queue in the order of acceptance, and nothing waits for ever.
"""

import asyncio
import logging
import time

import msgspec

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import AWAY, Bus, Row, connect, connect_blocking, ensure_group
from appliance.bus.notices import Notice
from appliance.bus.workers import live_workers
from appliance.limiter.queue import Action, Admit, FairQueue, Refuse, Wait
from appliance.schema import TERMINAL_STATES, Admitted, QueueStatus, Refused, Request, Waiting
from appliance.settings import Settings

log = logging.getLogger(__name__)

CONSUMER = "limiter"
BATCH = 256
OPEN_ENTRIES = 20_000
ADOPT_AFTER_MS = 1_000
RETRY_S = 0.2

REFUSALS = {
    "queue_full": "too many requests are waiting",
    "user_queue_full": "you have too many requests waiting",
    "deadline": "the answer could not start before its deadline",
    "no_worker": "no inference worker is running",
}


class LimiterService:
    """One limiter. `run` is its task; everything it decides is in a `FairQueue` per pool."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._bus = connect(url, connections=4)
        self._url = url
        self._settings = settings
        self._queues: dict[str, FairQueue] = {}
        self._reconcile_at_s = 0.0

    @property
    def status(self) -> QueueStatus:
        queues = self._queues.values()
        return QueueStatus(
            waiting=sum(queue.waiting for queue in queues),
            running=sum(queue.running for queue in queues),
            capacity=sum(queue.capacity for queue in queues),
            bound=self._settings.limiter.queue_bound,
        )

    def busy(self, pool: str) -> int:
        """Requests that wait for or hold a slot of this pool."""
        queue = self._queues.get(pool)
        return queue.waiting + queue.running if queue else 0

    async def run(self) -> None:
        """Runs until cancelled; while Valkey is away it admits nobody."""
        blocking = connect_blocking(self._url)
        try:
            while True:
                try:
                    await ensure_group(self._bus, keys.ADMIT, keys.ADMIT_GROUP)
                    while True:
                        await self._turn(blocking)
                except AWAY as error:
                    log.warning("limiter: server away (%s), admitting nobody", error)
                    # A verdict may be half told: the records know, so start over from them.
                    self._queues, self._reconcile_at_s = {}, 0.0
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            await blocking.aclose()
            await self._bus.aclose()

    def _empty_queue(self) -> FairQueue:
        limits = self._settings.limiter
        return FairQueue(
            bound=limits.queue_bound,
            bound_per_user=limits.queue_bound_per_user,
            news_interval_s=limits.news_interval_s,
            no_worker_after_s=limits.no_worker_after_s,
            now_s=time.monotonic(),
        )

    async def _turn(self, blocking: Bus) -> None:
        """One round: wait for news or the next due time, decide, act."""
        now_s = time.monotonic()
        if now_s >= self._reconcile_at_s:
            await self._reconcile()
            self._reconcile_at_s = now_s + self._settings.limiter.reconcile_interval_s
        dues_s = [queue.next_due_s(now_s) for queue in self._queues.values()]
        due_s = min(*dues_s, self._reconcile_at_s) if dues_s else self._reconcile_at_s
        found = await blocking.xreadgroup(
            keys.ADMIT_GROUP,
            CONSUMER,
            {keys.ADMIT: ">"},
            count=BATCH,
            block=max(1, int(1000 * (due_s - now_s))),
            noack=True,
        )
        rows: list[Row] = found[0][1] if found else []
        for _, fields in rows:
            await self._take(msgspec.json.decode(fields[b"notice"], type=Notice))
        if rows:
            await self._bus.xdel(keys.ADMIT, *(row_id for row_id, _ in rows))
        for queue in self._queues.values():
            await self._perform(queue, queue.tick(time.monotonic()))

    async def _take(self, notice: Notice) -> None:
        now_s = time.monotonic()
        if notice.kind == "arrived":
            remaining_s = (notice.deadline_at_ms - time.time_ns() // 1_000_000) / 1000
            queue = await self._queue_of(notice.pool)
            await self._perform(
                queue,
                queue.arrived(
                    notice.request_id, notice.uid, deadline_s=now_s + remaining_s, now_s=now_s
                ),
            )
        elif notice.kind == "ended":
            await self._bus.zrem(keys.OPEN, notice.request_id)
            for queue in self._queues.values():
                await self._perform(queue, queue.ended(notice.request_id, now_s=now_s))
        else:
            await self._count_workers()

    async def _queue_of(self, pool: str) -> FairQueue:
        if pool not in self._queues:
            self._queues[pool] = self._empty_queue()
            await self._count_workers()
        return self._queues[pool]

    async def _perform(self, queue: FairQueue, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Admit(request_id, waited_s):
                    event = Admitted(waited_ms=int(1000 * waited_s))
                    told = await scripts.tell(
                        self._bus, request_id, event, while_state="waiting", new_state="queued"
                    )
                    if not told:  # cancelled in the meantime: its slot goes to the next
                        await self._perform(queue, queue.ended(request_id, now_s=time.monotonic()))
                case Wait(request_id, place, eta_s):
                    await scripts.tell(
                        self._bus,
                        request_id,
                        Waiting(place=place, eta_s=None if eta_s is None else round(eta_s, 1)),
                        while_state="waiting",
                    )
                case Refuse(request_id, reason, retry_after_s):
                    await self._refuse(request_id, reason, retry_after_s)

    async def _refuse(self, request_id: str, reason: str, retry_after_s: float) -> None:
        await scripts.end(
            self._bus,
            request_id,
            Refused(
                reason=reason,
                message=REFUSALS[reason],
                retry_after_s=round(retry_after_s, 1),
            ),
            ttl_s=self._settings.requests.reply_ttl_s,
        )
        await self._bus.zrem(keys.OPEN, request_id)

    async def _count_workers(self) -> None:
        live = await live_workers(self._bus, self._settings.worker.lost_after_s)
        for pool in {worker.pool for worker in live} - self._queues.keys():
            self._queues[pool] = self._empty_queue()
        for pool, queue in self._queues.items():
            capacity = sum(worker.slots for worker in live if worker.pool == pool)
            await self._perform(queue, queue.workers_changed(capacity, now_s=time.monotonic()))

    async def _reconcile(self) -> None:
        """Compares what is held with the records: adopts the unknown, drops the ended."""
        await self._count_workers()
        known = {held for queue in self._queues.values() for held in queue.known()}
        before_ms = int(1000 * time.time()) - ADOPT_AFTER_MS
        found = await self._bus.zrangebyscore(
            keys.OPEN, "-inf", before_ms, start=0, num=OPEN_ENTRIES
        )
        ids = [raw.decode() for raw in found]
        pipeline = self._bus.pipeline(transaction=False)
        for request_id in ids:
            pipeline.hmget(keys.request(request_id), ["state", "body"])
        for request_id, (state, body) in zip(ids, await pipeline.execute(), strict=True):
            if state is None or state.decode() in TERMINAL_STATES:
                await self._take(Notice(kind="ended", request_id=request_id))
                continue
            if request_id in known or state == b"loading":
                continue  # what waits for its model comes here when that is loaded
            request = msgspec.json.decode(body, type=Request)
            pool = keys.pool(request.model)
            if state == b"waiting":
                await self._take(
                    Notice(
                        kind="arrived",
                        request_id=request_id,
                        uid=request.uid,
                        pool=pool,
                        deadline_at_ms=request.deadline_at_ms,
                    )
                )
            else:
                (await self._queue_of(pool)).adopted(request_id, now_s=time.monotonic())
