"""The limiter loop: reads `admit`, feeds the limiters, pushes verdicts to the reply streams.

Each pool of workers has a `core.Limiter` of its own, for a slot of one model is of no use to those
who wait for another; a user's budgets span them all.

It is alone in its loop and shares nothing with access but Valkey. Messages are nudges: the set
`open` and the request records are the truth, and every few seconds the loop compares them with
what it holds. So a message lost in a crash costs a few seconds, a limiter started anew finds
the queue in the order of acceptance, and nothing waits for ever.
"""

import asyncio
import logging
import time
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.bus import leases, scripts
from appliance.bus.client import AWAY, Bus, Row, connect, connect_blocking, ensure_group
from appliance.bus.notices import Asked, Notice
from appliance.bus.workers import live_workers
from appliance.limiter.core import Limiter
from appliance.limiter.honesty import Honesty
from appliance.limiter.rules import ask_of, rules_of
from appliance.limiter.tiers import Ledgers
from appliance.limiter.verdict import MESSAGES, Action, Expired, Reason, Refuse, Run, Wait
from appliance.limiter.verdict import Usage as Used
from appliance.schema import (
    TERMINAL_STATES,
    Admitted,
    QueueStatus,
    Refused,
    Request,
    Usage,
    Waiting,
)
from appliance.settings import Settings

log = logging.getLogger(__name__)

CONSUMER = "limiter"
BATCH = 256
OPEN_ENTRIES = 20_000
ADOPT_AFTER_MS = 1_000
RETRY_S = 0.2


class LimiterService:
    """One limiter. `run` is its task; everything it decides is in a `core.Limiter` per pool."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._bus = connect(url, connections=4)
        self._url = url
        self._settings = settings
        self._rules = rules_of(settings)
        self._ledgers = Ledgers(self._rules.tiers)
        self._pools: dict[str, Limiter] = {}
        self._honesty = Honesty()
        self._reconcile_at_s = 0.0

    @property
    def status(self) -> QueueStatus:
        pools = self._pools.values()
        return QueueStatus(
            waiting=sum(one.waiting for one in pools),
            running=sum(one.running for one in pools),
            capacity=sum(one.capacity for one in pools),
            bound=self._settings.limiter.queue_bound,
        )

    def busy(self, pool: str) -> int:
        """Requests that wait for or hold a slot of this pool."""
        limiter = self._pools.get(pool)
        return limiter.waiting + limiter.running if limiter else 0

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
                    self._start_over()
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            await blocking.aclose()
            await self._bus.aclose()

    def _start_over(self) -> None:
        """Forgets everything: the records know it better."""
        self._ledgers = Ledgers(self._rules.tiers)
        self._pools, self._reconcile_at_s = {}, 0.0

    async def _turn(self, blocking: Bus) -> None:
        """One round: wait for news or the next due time, decide, act."""
        now_s = time.monotonic()
        if now_s >= self._reconcile_at_s:
            await self._reconcile()
            self._reconcile_at_s = now_s + self._settings.limiter.reconcile_interval_s
        dues_s = [limiter.next_due_s(now_s) for limiter in self._pools.values()]
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
        for limiter in self._pools.values():
            await self._perform(limiter, limiter.tick(time.monotonic()))

    async def _take(self, notice: Notice) -> None:
        now_s = time.monotonic()
        if notice.kind == "arrived":
            remaining_s = (notice.deadline_at_ms - time.time_ns() // 1_000_000) / 1000
            limiter = await self._limiter_of(notice.pool)
            actions = limiter.arrived(ask_of(notice, now_s + remaining_s), now_s)
            await self._perform(limiter, actions)
        elif notice.kind == "ended":
            await self._ended(notice.request_id, _used(notice.usage))
        else:
            await self._count_workers()

    async def _ended(self, request_id: str, used: Used | None) -> None:
        await self._bus.zrem(keys.OPEN, request_id)
        self._honesty.forgot(request_id)
        for limiter in self._pools.values():
            await self._perform(limiter, limiter.ended(request_id, used, time.monotonic()))

    async def _limiter_of(self, pool: str) -> Limiter:
        if pool not in self._pools:
            self._pools[pool] = self._empty()
            await self._count_workers()
        return self._pools[pool]

    def _empty(self) -> Limiter:
        return Limiter(self._rules, time.monotonic(), self._ledgers)

    # -- what was decided

    async def _perform(self, limiter: Limiter, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Run(request_id, waited_s):
                    await self._run(limiter, request_id, waited_s)
                case Wait(request_id, place, eta_s):
                    self._honesty.promised(request_id, eta_s)
                    event = Waiting(place=place, eta_s=None if eta_s is None else round(eta_s, 1))
                    await scripts.tell(self._bus, request_id, event, while_state="waiting")
                case Refuse(request_id, reason, retry_after_s):
                    await self._refuse(request_id, reason, retry_after_s)
                case Expired(request_id):
                    log.warning("request %s: its record is gone, its slot is free", request_id)

    async def _run(self, limiter: Limiter, request_id: str, waited_s: float) -> None:
        event = Admitted(waited_ms=int(1000 * waited_s))
        if await scripts.tell(
            self._bus, request_id, event, while_state="waiting", new_state="queued"
        ):
            self._honesty.ran(request_id, waited_s)
            return
        state = await self._bus.hget(keys.request(request_id), "state")
        if state in (b"queued", b"running"):
            return  # this very verdict, sent twice
        self._honesty.forgot(request_id)  # cancelled in the meantime: its slot goes to the next
        await self._perform(limiter, limiter.ended(request_id, None, time.monotonic()))

    async def _refuse(self, request_id: str, reason: Reason, retry_after_s: float) -> None:
        ever = retry_after_s != float("inf")
        event = Refused(
            reason=reason,
            message=MESSAGES[reason],
            retry_after_s=round(retry_after_s, 1) if ever else None,
        )
        ttl_s = self._settings.requests.reply_ttl_s
        self._honesty.forgot(request_id)
        await scripts.end(self._bus, request_id, event, ttl_s=ttl_s)
        await self._bus.zrem(keys.OPEN, request_id)

    # -- what the records say

    async def _count_workers(self) -> None:
        live = await live_workers(self._bus, self._settings.worker.lost_after_s)
        for pool in {worker.pool for worker in live} - self._pools.keys():
            self._pools[pool] = self._empty()
        for pool, limiter in self._pools.items():
            capacity = sum(worker.slots for worker in live if worker.pool == pool)
            await self._perform(limiter, limiter.workers_changed(capacity, time.monotonic()))

    async def _reconcile(self) -> None:
        """Compares what is held with the records: adopts the unknown, drops the ended."""
        await self._count_workers()
        held = {known for limiter in self._pools.values() for known in limiter.known()}
        before_ms = int(1000 * time.time()) - ADOPT_AFTER_MS
        found = await self._bus.zrangebyscore(
            keys.OPEN, "-inf", before_ms, start=0, num=OPEN_ENTRIES
        )
        ids = [raw.decode() for raw in found]
        pipeline = self._bus.pipeline(transaction=False)
        for request_id in ids:
            pipeline.hmget(keys.request(request_id), ["state", "body", "ask", "usage"])
            pipeline.strlen(keys.tokens(request_id))
        replies = await pipeline.execute()
        for request_id, fields, size in zip(ids, replies[::2], replies[1::2], strict=True):
            record = _Record(request_id, size // leases.TOKEN_BYTES, *fields)
            if record.ended:
                await self._ended(request_id, record.used)
            elif request_id in held:
                for limiter in self._pools.values():
                    limiter.renewed(request_id, record.tokens, time.monotonic())
            elif record.state != b"loading":  # that comes here when its model is loaded
                await self._take_up(record)

    async def _take_up(self, record: "_Record") -> None:
        """A request that another limiter, or an earlier life of this one, had in hand."""
        notice = record.arrival()
        if record.state == b"waiting":
            await self._take(notice)
            return
        limiter = await self._limiter_of(notice.pool)
        now_s = time.monotonic()
        limiter.adopted(record.request_id, notice.uid, now_s, ask_of(notice, now_s))


@dataclass(frozen=True)
class _Record:
    """A request's record as far as the limiter reads it."""

    request_id: str
    tokens: int
    state: bytes | None
    body: bytes
    ask: bytes | None
    usage: bytes | None

    @property
    def ended(self) -> bool:
        return self.state is None or self.state.decode() in TERMINAL_STATES

    @property
    def used(self) -> Used | None:
        return _used(msgspec.json.decode(self.usage, type=Usage | None)) if self.usage else None

    def arrival(self) -> Notice:
        request = msgspec.json.decode(self.body, type=Request)
        return Notice(
            kind="arrived",
            request_id=self.request_id,
            uid=request.uid,
            pool=keys.pool(request.model),
            deadline_at_ms=request.deadline_at_ms,
            asked=msgspec.json.decode(self.ask, type=Asked) if self.ask else Asked(),
        )


def _used(usage: Usage | None) -> Used | None:
    """A worker's count as the limiter's: what was cached is no input that had to be computed."""
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens
    return Used(usage.prompt_tokens - cached, cached, usage.completion_tokens)
