"""What a limiter does while it decides, in one epoch: a `core.Limiter` per pool, and verdicts.

Each pool of workers has a limiter of its own, for a slot of one model is of no use to those who
wait for another; a user's limits and budgets span them all.

Messages are nudges: the set `open` and the request records are the truth, and every few seconds
the desk compares them with what it holds. A desk is made anew for each epoch and after each loss
of the store, and begins by claiming every open request: it finds the queue in the order of
acceptance, and budgets as far as they were used.

Whatever is written carries the epoch. `Deposed` leaves the desk when a newer one has taken over,
before the request is taken off the list: it is for the newer one to settle.
"""

import logging
import time
from collections import Counter

import msgspec

from appliance import keys
from appliance.bus import budgets, leadership, leases, scripts
from appliance.bus.client import Bus
from appliance.bus.leadership import Claimed
from appliance.bus.notices import Asked, Notice
from appliance.bus.workers import live_workers
from appliance.clock import now_ms
from appliance.limiter.core import Limiter
from appliance.limiter.estimate import Pace
from appliance.limiter.honesty import Honesty
from appliance.limiter.rule_process import OperatorRule
from appliance.limiter.rules import ask_of, rules_of
from appliance.limiter.ruling import ruled
from appliance.limiter.tiers import Ledgers
from appliance.limiter.tiers import Used as UsedBefore
from appliance.limiter.verdict import MESSAGES, Action, Ask, Expired, Refuse, Run, Wait
from appliance.limiter.verdict import Usage as Used
from appliance.schema.answers import Usage
from appliance.schema.events import Admitted, Refused, Waiting
from appliance.schema.requests import TERMINAL_STATES, Request
from appliance.schema.status import QueueStatus, QueueUser, WorkerStatus
from appliance.settings import Settings

log = logging.getLogger(__name__)

OPEN_ENTRIES = 20_000
ADOPT_AFTER_MS = 1_000
WRITTEN_AFTER_MS = 60_000  # whoever lists a request writes its record within this time
USERS_SHOWN = 20


class Desk:
    """Decides. It has no task of its own: `service` tells it what happened."""

    def __init__(
        self,
        bus: Bus,
        settings: Settings,
        epoch: int,
        honesty: Honesty,
        rule: OperatorRule | None = None,
        paces: dict[str, Pace] | None = None,
    ) -> None:
        """`honesty` and `paces` (by pool) outlive the desk, and go on with what is in them."""
        self._bus = bus
        self._rule = rule
        self._settings = settings
        self._epoch = epoch
        self._honesty = honesty
        self._paces = {} if paces is None else paces
        self._rules = rules_of(settings)
        self._ledgers = Ledgers(self._rules.tiers)
        self._pools: dict[str, Limiter] = {}
        self._limited: dict[str, Ask] = {}
        """What has a reservation in Valkey, by request."""
        self._has_begun = False

    def status(self) -> QueueStatus:
        pools = self._pools.values()
        waiting = [ask for one in pools for ask in one.asks()]
        by_user = Counter(ask.uid for ask in waiting)
        by_class = Counter[str](ask.priority for ask in waiting)
        running = Counter[str]()
        for one in pools:
            running.update(one.running_users())
        shown = (by_user + running).most_common(USERS_SHOWN)
        return QueueStatus(
            waiting=len(waiting),
            running=sum(one.running for one in pools),
            capacity=sum(one.capacity for one in pools),
            bound=self._settings.limiter.queue_bound,
            users=tuple(
                QueueUser(uid=uid, waiting=by_user[uid], running=running[uid]) for uid, _ in shown
            ),
            classes=dict(by_class),
            pools={name: self.busy(name) for name in self._pools},
            promises=self._honesty.told,
            promises_kept=self._honesty.kept,
            rule=self._rule.status if self._rule else None,
        )

    def busy(self, pool: str) -> int:
        """Requests that wait for or hold a slot of this pool."""
        one = self._pools.get(pool)
        return one.waiting + one.running if one else 0

    def next_due_s(self, now_s: float) -> float:
        return min((one.next_due_s(now_s) for one in self._pools.values()), default=float("inf"))

    async def tick(self) -> None:
        for limiter in self._pools.values():
            await self._perform(limiter, limiter.tick(time.monotonic()))

    async def take(self, notice: Notice) -> None:
        """Something was told on `admit`."""
        if notice.kind == "arrived":
            await self._arrived(notice)
        elif notice.kind == "ended":
            await self._told_of_end(notice)
        else:
            await self._count_workers()

    async def reconcile(self) -> None:
        """Compares what is held with the records: adopts the unknown, drops the ended."""
        await self._count_workers()
        held = {known for limiter in self._pools.values() for known in limiter.known()}
        listed_at_ms = await self._open()
        ids = list(listed_at_ms)
        asked_at_ms = now_ms()
        sizes = self._bus.pipeline(transaction=False)
        for request_id in ids:
            sizes.strlen(keys.tokens(request_id))
        records = await leadership.claim(self._bus, ids, self._epoch)
        found = list(zip(records, await sizes.execute(), strict=True))
        # What runs is counted before anybody who waits is let in: it may be the younger one.
        found.sort(key=lambda one: one[0].state == "waiting")
        for record, size in found:
            age_ms = asked_at_ms - listed_at_ms[record.request_id]
            if not record.state and age_ms <= WRITTEN_AFTER_MS:
                continue  # listed a moment before its record is written
            if record.state == "waiting" and not record.ask:
                continue  # what it asks for is on its way; of window and bucket nothing ever comes
            if not record.state or record.state in TERMINAL_STATES:
                await self._ended_before(record)
            elif record.request_id in held:
                for limiter in self._pools.values():
                    tokens = size // leases.TOKEN_BYTES
                    limiter.renewed(record.request_id, tokens, time.monotonic())
            elif record.state == "loading":
                continue  # it comes here when its model is loaded
            elif not self._has_begun or age_ms > ADOPT_AFTER_MS:
                # A successor takes up everything at once; later, a notice may be on its way.
                await self._take_up(record)
        if len(ids) < OPEN_ENTRIES:
            await self._find(held.difference(ids))
        self._has_begun = True

    # Below: helpers in call order.

    async def _open(self) -> dict[str, float]:
        """When each open request was listed, oldest first."""
        found = await self._bus.zrangebyscore(
            keys.OPEN, "-inf", "+inf", start=0, num=OPEN_ENTRIES, withscores=True
        )
        return {raw.decode(): at_ms for raw, at_ms in found}

    async def _find(self, unlisted: set[str]) -> None:
        """What is held and not listed any more: mostly ended, by one who was deposed meanwhile."""
        for record in await leadership.claim(self._bus, sorted(unlisted), self._epoch):
            log.warning("request %s is not listed any more: %s", record.request_id, record.state)
            if record.state and record.state not in TERMINAL_STATES:
                await self._bus.zadd(keys.OPEN, {record.request_id: now_ms()})
            else:
                await self._ended_before(record)

    async def _arrived(self, notice: Notice) -> None:
        limiter = await self._limiter_of(notice.pool)
        if limiter.holds(notice.request_id):
            return
        remaining_s = (notice.deadline_at_ms - now_ms()) / 1000
        found = await ruled(self._bus, self._rule, limiter, notice, remaining_s)
        if isinstance(found, Refuse):
            await self._perform(limiter, [found])
            return
        ask = ask_of(found, time.monotonic() + remaining_s)
        await self._remember(ask)
        actions = limiter.arrived(ask, time.monotonic())
        if limiter.holds(notice.request_id):
            await self._reserve(ask)
        await self._perform(limiter, actions)

    async def _remember(self, ask: Ask) -> None:
        """Reads what a user has used before this desk, once."""
        if self._ledgers.knows(ask.uid) or not self._ledgers.is_limited(ask.tier):
            return
        account = await budgets.claim(self._bus, ask.uid, epoch=self._epoch)
        used = [
            *(UsedBefore("requests_per_minute", one.amount, one.ago_s) for one in account.requests),
            *(UsedBefore("tokens_per_minute", one.amount, one.ago_s) for one in account.tokens),
            *(UsedBefore("tokens_per_day", one.amount, one.ago_s) for one in account.day),
        ]
        used.sort(key=lambda one: -one.ago_s)
        self._ledgers.restore(ask.uid, ask.tier, used, time.monotonic())

    async def _reserve(self, ask: Ask) -> None:
        if not self._ledgers.is_limited(ask.tier):
            return
        self._limited[ask.request_id] = ask
        tokens = ask.input_tokens + ask.output.most
        await budgets.reserve(self._bus, ask.uid, ask.request_id, tokens, epoch=self._epoch)

    async def _settle(self, request_id: str, used: Used | None) -> None:
        ask = self._limited.pop(request_id, None)
        if ask is None:
            return
        if used is None:
            await budgets.refund(self._bus, ask.uid, request_id, epoch=self._epoch)
            return
        tokens = used.input_tokens + used.output_tokens
        await budgets.settle(self._bus, ask.uid, request_id, tokens, epoch=self._epoch)

    async def _ended(self, request_id: str, used: Used | None) -> None:
        """Settled first, then off the list of open ones: a crash between them settles once."""
        await self._settle(request_id, used)
        await self._bus.zrem(keys.OPEN, request_id)
        self._honesty.forgot(request_id)
        # Whoever held it comes first: in another pool its user may have waited for its end.
        for limiter in sorted(self._pools.values(), key=lambda one: not one.holds(request_id)):
            await self._perform(limiter, limiter.ended(request_id, used, time.monotonic()))

    async def _told_of_end(self, notice: Notice) -> None:
        """The record decides, if it is still there."""
        (record,) = await leadership.claim(self._bus, [notice.request_id], self._epoch)
        if not record.state:
            await self._ended(notice.request_id, _used(notice.usage))
        elif record.state in TERMINAL_STATES:
            await self._ended_before(record)

    async def _ended_before(self, record: Claimed) -> None:
        """It has ended, maybe while nobody listened: what it used stands in its record."""
        if record.body and record.request_id not in self._limited:
            ask = ask_of(_arrival(record), 0.0)
            if self._ledgers.is_limited(ask.tier):
                self._limited[record.request_id] = ask
        usage = msgspec.json.decode(record.usage, type=Usage | None) if record.usage else None
        await self._ended(record.request_id, _used(usage))

    async def _take_up(self, record: Claimed) -> None:
        """A request that another limiter, or an earlier life of this one, had in hand."""
        notice = _arrival(record)
        if record.state == "waiting":
            await self._arrived(notice)
            return
        limiter = await self._limiter_of(notice.pool)
        ask = ask_of(notice, time.monotonic())
        await self._remember(ask)
        if not self._ledgers.is_limited(ask.tier):
            limiter.adopted(ask.request_id, ask.uid, time.monotonic(), ask)
        elif await budgets.holds(self._bus, ask.uid, ask.request_id, epoch=self._epoch):
            limiter.adopted(ask.request_id, ask.uid, time.monotonic(), ask)
            self._limited[ask.request_id] = ask
        else:  # it ended a moment ago and was settled, which its account says
            limiter.adopted(ask.request_id, ask.uid, time.monotonic())

    async def _limiter_of(self, pool: str) -> Limiter:
        if pool not in self._pools:
            self._pools[pool] = self._empty(pool)
            await self._count_workers()
        return self._pools[pool]

    def _empty(self, pool: str) -> Limiter:
        made = Limiter(self._rules, time.monotonic(), self._ledgers, self._paces.get(pool))
        self._paces[pool] = made.pace
        return made

    async def _count_workers(self) -> None:
        live = await live_workers(self._bus, self._settings.worker.lost_after_s)
        for pool in {worker.pool for worker in live} - self._pools.keys():
            self._pools[pool] = self._empty(pool)
        for pool, limiter in self._pools.items():
            capacity = sum(_slots(worker) for worker in live if worker.pool == pool)
            await self._perform(limiter, limiter.workers_changed(capacity, time.monotonic()))

    async def _perform(self, limiter: Limiter, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Run(request_id, waited_s):
                    await self._run(limiter, request_id, waited_s)
                case Wait(request_id, place, eta_s):
                    self._honesty.promised(request_id, eta_s)
                    event = Waiting(place=place, eta_s=None if eta_s is None else round(eta_s, 1))
                    await leadership.verdict(self._bus, request_id, event, epoch=self._epoch)
                case Refuse():
                    await self._refuse(action)
                case Expired(request_id):
                    await self._settle(request_id, None)

    async def _run(self, limiter: Limiter, request_id: str, waited_s: float) -> None:
        event = Admitted(waited_ms=int(1000 * waited_s))
        if await leadership.verdict(
            self._bus, request_id, event, epoch=self._epoch, new_state="queued"
        ):
            self._honesty.ran(request_id, waited_s)
            return
        state = await self._bus.hget(keys.request(request_id), "state")
        if state in (b"queued", b"running"):
            return  # this very verdict, sent twice
        await self._settle(request_id, None)  # cancelled in the meantime: its slot goes on
        self._honesty.forgot(request_id)
        await self._perform(limiter, limiter.ended(request_id, None, time.monotonic()))

    async def _refuse(self, verdict: Refuse) -> None:
        request_id = verdict.request_id
        ever = verdict.retry_after_s != float("inf")
        event = Refused(
            reason=verdict.reason,
            message=verdict.message or MESSAGES[verdict.reason],
            retry_after_s=round(verdict.retry_after_s, 1) if ever else None,
        )
        self._honesty.forgot(request_id)
        ttl_s = self._settings.requests.reply_ttl_s
        if not await scripts.end(self._bus, request_id, event, ttl_s=ttl_s, epoch=self._epoch):
            (record,) = await leadership.claim(self._bus, [request_id], self._epoch)
            if record.state and record.state not in TERMINAL_STATES:
                raise leadership.Deposed
        await self._settle(request_id, None)
        await self._bus.zrem(keys.OPEN, request_id)


def _arrival(record: Claimed) -> Notice:
    request = msgspec.json.decode(record.body, type=Request)
    return Notice(
        kind="arrived",
        request_id=record.request_id,
        uid=request.uid,
        pool=keys.pool(request.model),
        deadline_at_ms=request.deadline_at_ms,
        asked=msgspec.json.decode(record.ask, type=Asked) if record.ask else Asked(),
    )


def _slots(worker: WorkerStatus) -> int:
    """A worker that takes nothing new has slots only for what it still runs."""
    return min(worker.busy, worker.slots) if worker.state == "draining" else worker.slots


def _used(usage: Usage | None) -> Used | None:
    """A worker's count as the limiter's: what was cached is no input that had to be computed."""
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens
    return Used(usage.prompt_tokens - cached, cached, usage.completion_tokens)
