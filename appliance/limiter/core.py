"""The limiter's decisions: run, wait with a place and an honest time, or refuse with a reason.

A pure state machine from arrivals, ends, workers and time to actions. A request reserves its
tokens in its user's budgets when it arrives, waits in a line that is fair by served tokens, holds
a slot under a lease while it runs, and is settled by what it really used (or refunded) at its
end. What cannot start before its deadline is refused on arrival, not after the wait.

The last free slots (one, or a small share of many) are kept for people who hold much less than
the largest holder, as long as more than one user is about: a flooder may fill all others, never
those. Background work is last for every slot and never takes the kept ones while people are about.

Times are monotonic seconds; the caller owns the clock. A clock that steps back changes nothing.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from appliance.limiter.estimate import Pace, Starts
from appliance.limiter.expected import Expected, Walk
from appliance.limiter.fairness import FairShare, cost
from appliance.limiter.line import Line, Ticket
from appliance.limiter.tiers import Denied, Hold, Ledgers, Quota, Tier
from appliance.limiter.verdict import (
    Action,
    Ask,
    Expired,
    Reason,
    Refuse,
    Run,
    Usage,
    Wait,
)

ABOUT_S = 60.0  # a user is "about" for this long after the last sign of life
USERS_ABOUT = 4096


@dataclass(frozen=True)
class Rules:
    """The limiter's settings. `kept_share` of all slots, at least one of two, is kept free."""

    tiers: dict[str, Tier] = field(default_factory=lambda: {"standard": Tier()})
    waiting: int = 512
    half_life_s: float = 60.0
    age_s: float = 120.0
    patience_s: float = 60.0
    shortest_first: bool = False
    kept_share: float = 0.03
    lease_s: float = float("inf")
    news_interval_s: float = 1.0
    no_worker_after_s: float = 60.0
    input_s: float = 0.005
    output_s: float = 0.05


@dataclass(slots=True)
class Running:
    """A request that holds a slot. `ask` is None for one that another limiter let in.

    `beside` counts those that ran as it began, itself included.
    """

    uid: str
    ask: Ask | None
    hold: Hold | None
    charged: float
    weight: float
    since_s: float
    lease_until_s: float
    output_tokens: float = 0.0
    beside: int = 1


class Limiter:
    """Owns who waits and who runs. Every method returns the actions it calls for."""

    def __init__(
        self,
        rules: Rules,
        now_s: float,
        ledgers: Ledgers | None = None,
        pace: Pace | None = None,
    ) -> None:
        """`ledgers` may be shared by several limiters: a user's limits then span them all.

        `pace` is what an earlier limiter of the same workers has learned.
        """
        self.rules = rules
        self.capacity = 0
        self.pace = pace or Pace(rules.input_s, rules.output_s)
        self.fair = FairShare(rules.half_life_s, now_s)
        self._ledgers = ledgers or Ledgers(rules.tiers)
        self._counts = self._ledgers.counts
        self._line = Line(
            self.fair, rules.age_s, rules.patience_s, rules.shortest_first, self._counts
        )
        self._running: dict[str, Running] = {}
        self._held: dict[str, int] = {}
        self._about: OrderedDict[str, float] = OrderedDict()
        self._numbers = 0
        self._now_s = now_s
        self._alone_since_s = now_s
        self._news_at_s = float("inf")
        self._retry_asked_s, self._retry_s = float("-inf"), 1.0

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def running(self) -> int:
        return len(self._running)

    def known(self) -> list[str]:
        """Every request held, waiting ones in the order of their turn."""
        line = [ticket.ask.request_id for ticket in self._line.order(self._now_s)]
        return line + list(self._running)

    def holds(self, request_id: str) -> bool:
        """Whether a request waits or runs here."""
        return request_id in self._running or request_id in self._line

    def asks(self) -> list[Ask]:
        """What waits, in order of arrival."""
        return [ticket.ask for ticket in self._line.tickets()]

    def waiting_of(self, uid: str) -> int:
        return self._line.of_user(uid)

    def running_of(self, uid: str) -> int:
        return self._held.get(uid, 0)

    def running_users(self) -> dict[str, int]:
        """How many requests each user has running."""
        return dict(self._held)

    def quotas(self, uid: str, now_s: float) -> list[Quota]:
        """What is left of a user's budgets."""
        return self._ledgers.quotas(uid, self._at(now_s))

    def arrived(self, ask: Ask, now_s: float) -> list[Action]:
        """A new request; one that is known already changes nothing."""
        now_s = self._at(now_s)
        if ask.request_id in self._running or ask.request_id in self._line:
            return []
        actions = self._settle(now_s, news=False)
        shed = None
        reason = self._refusal(ask, now_s)
        if reason == "queue_full":
            shed = self._line.lowest(ask.rank)
            reason = None if shed else reason
        if reason:
            return [*actions, Refuse(ask.request_id, reason, self._retry_after_s(reason, now_s))]
        tier = self._ledgers.tier(ask.tier)
        hold = self._ledgers.reserve(ask, now_s)
        if isinstance(hold, Denied):
            return [*actions, Refuse(ask.request_id, hold.reason, hold.retry_after_s)]
        if shed:
            actions.append(self._turn_away(shed, "shed", now_s))
        self._sign_of_life(ask.uid, now_s)
        self._numbers += 1
        self._line.add(Ticket(ask, hold, tier.weight, now_s, self._numbers))
        return actions + self._first_verdict(ask, now_s)

    def adopted(self, request_id: str, uid: str, now_s: float, ask: Ask | None = None) -> None:
        """A request found running, let in before this limiter started.

        What it asked for, where known, is reserved again as far as its budgets allow.
        """
        if request_id not in self._running and request_id not in self._line:
            now_s = self._at(now_s)
            hold, weight = None, 1.0
            if ask is not None:
                reserved = self._ledgers.reserve(ask, now_s)
                hold = reserved if isinstance(reserved, Hold) else None
                weight = self._ledgers.tier(ask.tier).weight
            lease_s = now_s + self.rules.lease_s
            self._occupy(request_id, Running(uid, ask, hold, 0.0, weight, now_s, lease_s))

    def renewed(self, request_id: str, output_tokens: float, now_s: float) -> None:
        """Whoever runs it is alive and has produced this many tokens so far."""
        running = self._running.get(request_id)
        if running is not None:
            running.lease_until_s = self._at(now_s) + self.rules.lease_s
            running.output_tokens = max(running.output_tokens, output_tokens)

    def ended(self, request_id: str, usage: Usage | None, now_s: float) -> list[Action]:
        """A request ended, wherever it was. Without `usage` it is refunded whole."""
        now_s = self._at(now_s)
        ticket = self._line.drop(request_id)
        if ticket is not None:
            self._ledgers.refund(ticket.hold)
        else:
            self._release(request_id, usage, now_s)
        return self._settle(now_s)

    def workers_changed(self, capacity: int, now_s: float) -> list[Action]:
        """The sum of all live workers' slots."""
        now_s = self._at(now_s)
        if self.capacity > 0 and capacity == 0:
            self._alone_since_s = now_s
        self.capacity = capacity
        return self._settle(now_s)

    def tick(self, now_s: float) -> list[Action]:
        """Time passed: deadlines and leases fall due, and rate-limited news goes out."""
        return self._settle(self._at(now_s))

    def next_due_s(self, now_s: float) -> float:
        """When `tick` has something to do, if nothing else happens; infinity when never."""
        now_s = self._at(now_s)
        due_s = min((held.lease_until_s for held in self._running.values()), default=float("inf"))
        for ticket in self._line.tickets():
            due_s = min(due_s, ticket.ask.deadline_s)
        due_s = min(due_s, self._news_at_s)
        if self._line and self.capacity == 0:
            due_s = min(due_s, self._alone_since_s + self.rules.no_worker_after_s)
        return max(due_s, now_s)

    # Below: helpers in call order.

    def _at(self, now_s: float) -> float:
        self._now_s = max(self._now_s, now_s)
        return self._now_s

    def _refusal(self, ask: Ask, now_s: float) -> Reason | None:
        if self._deserted(now_s):
            return "no_worker"
        if self._counts.waiting[ask.uid] >= self._ledgers.tier(ask.tier).waiting:
            return "user_queue_full"
        if self._counts.total >= self.rules.waiting:
            return "queue_full"
        return "deadline" if ask.deadline_s <= now_s else None

    def _deserted(self, now_s: float) -> bool:
        alone_s = now_s - self._alone_since_s
        return self.capacity == 0 and alone_s >= self.rules.no_worker_after_s

    def _retry_after_s(self, reason: Reason, now_s: float) -> float:
        """When the first of those who wait is expected to have gone in, at least a second.

        Asked anew once a second, for who is refused asks most.
        """
        if reason == "no_worker":
            return self.rules.no_worker_after_s
        if now_s >= self._retry_asked_s + 1:
            slots = Starts(self.capacity, self._remaining_s(now_s).values())
            free_s = slots.next_s() if slots else self.rules.no_worker_after_s
            self._retry_asked_s, self._retry_s = now_s, max(1.0, free_s)
        return self._retry_s

    def _turn_away(self, ticket: Ticket, reason: Reason, now_s: float) -> Action:
        self._line.drop(ticket.ask.request_id)
        self._ledgers.refund(ticket.hold)
        return Refuse(ticket.ask.request_id, reason, self._retry_after_s(reason, now_s))

    def _sign_of_life(self, uid: str, now_s: float) -> None:
        self._about[uid] = now_s
        self._about.move_to_end(uid)
        while self._about:
            oldest = next(iter(self._about))
            if self._about[oldest] > now_s - ABOUT_S and len(self._about) <= USERS_ABOUT:
                return
            del self._about[oldest]

    def _first_verdict(self, ask: Ask, now_s: float) -> list[Action]:
        """Runs it, promises it a time, or refuses what cannot start before its deadline."""
        actions = self._fill(now_s)
        if ask.request_id not in self._line:
            return actions
        expected = self._expected(now_s)
        for place, (ticket, eta_s) in enumerate(expected, start=1):
            if ticket.ask.request_id != ask.request_id:
                continue
            if eta_s is not None and now_s + eta_s > ask.deadline_s:
                return [*actions, self._turn_away(ticket, "deadline", now_s)]
            ticket.promised_s, ticket.told_place, ticket.told_s = eta_s, place, now_s
            if place < len(expected):  # those behind have a new place to hear of
                self._news_at_s = min(self._news_at_s, now_s + self.rules.news_interval_s)
            return [*actions, Wait(ask.request_id, place, eta_s)]
        raise AssertionError("a waiting request is in the line")

    def _expected(self, now_s: float) -> list[Expected]:
        """The line in order, with the time until each gets a slot."""
        remaining_s = self._remaining_s(now_s)
        slots = Starts(self._usable(), remaining_s.values())
        if not slots:
            return [Expected(ticket, None) for ticket in self._line.order(now_s)]

        def own_s(ask: Ask) -> list[float] | None:
            limit = self._ledgers.tier(ask.tier).concurrency
            if not limit:
                return None
            # What runs in another pool goes by what was expected of it as it began.
            ends = self._counts.ends_s(ask.uid).items()
            own = sorted(remaining_s.get(name, max(0.0, end_s - now_s)) for name, end_s in ends)
            return [0.0] * (limit - len(own)) + own[-limit:]

        walk = Walk(slots, self._pace().hold_s, own_s)
        return walk.expected(self._line.order(now_s, slots.next_s))

    def _pace(self) -> Pace:
        """The pace beside what runs: while somebody waits, mostly all slots are taken."""
        return self.pace.at(min(self.capacity, len(self._running)))

    def _usable(self) -> int:
        """Slots that the line will fill: one user alone leaves the kept ones to those about."""
        kept = math.ceil(self.rules.kept_share * self.capacity)
        if self._line.users() > 1 or len(self._about) < 2 or self.capacity < 2 * kept:
            return self.capacity
        return self.capacity - kept

    def _remaining_s(self, now_s: float) -> dict[str, float]:
        pace = self._pace()
        return {
            name: pace.remaining_s(held.ask, held.output_tokens, now_s - held.since_s)
            if held.ask
            else 0.0
            for name, held in self._running.items()
        }

    def _occupy(self, request_id: str, running: Running) -> None:
        self._running[request_id] = running
        running.beside = len(self._running)
        self._held[running.uid] = self._held.get(running.uid, 0) + 1
        hold_s = self._pace().hold_s(running.ask) if running.ask else 0.0
        self._counts.began(running.uid, request_id, running.since_s + hold_s)

    def _release(self, request_id: str, usage: Usage | None, now_s: float) -> None:
        """Frees the slot, corrects the user's counter, and settles or refunds the budgets."""
        held = self._running.pop(request_id, None)
        if held is None:
            return
        self._counts.ended(held.uid, request_id)
        self._held[held.uid] -= 1
        if not self._held[held.uid]:
            del self._held[held.uid]
        real = cost(usage.input_tokens, usage.cached_tokens, usage.output_tokens) if usage else 0.0
        self.fair.charge(held.uid, real - held.charged, weight=held.weight, now_s=now_s)
        if held.hold is None:
            return
        if usage is None:
            self._ledgers.refund(held.hold)
        else:
            self._ledgers.settle(held.hold, usage, now_s)
            if held.ask is not None:
                beside = (held.beside + len(self._running) + 1) / 2
                self.pace.learn(held.ask, usage, now_s - held.since_s, beside)

    def _settle(self, now_s: float, *, news: bool = True) -> list[Action]:
        actions = self._expire(now_s) + self._fill(now_s)
        return actions + self._news(now_s) if news else actions

    def _expire(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        if self.rules.lease_s != float("inf"):
            for name in [n for n, r in self._running.items() if r.lease_until_s <= now_s]:
                self._release(name, None, now_s)
                actions.append(Expired(name))
        deserted = self._deserted(now_s)
        reason: Reason = "no_worker" if deserted else "waited_out"
        late = [t for t in self._line.tickets() if deserted or t.ask.deadline_s <= now_s]
        return actions + [self._turn_away(ticket, reason, now_s) for ticket in late]

    def _fill(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        while self._line and len(self._running) < self.capacity:
            ticket = self._line.next(now_s, self._may_run)
            if ticket is None:
                break
            actions.append(self._run(ticket, now_s))
        return actions

    def _run(self, ticket: Ticket, now_s: float) -> Action:
        ask, waited_s = ticket.ask, now_s - ticket.arrived_s
        self._line.serve(ask.request_id, now_s)
        lease_s = now_s + self.rules.lease_s
        running = Running(ask.uid, ask, ticket.hold, ticket.cost, ticket.weight, now_s, lease_s)
        self._occupy(ask.request_id, running)
        return Run(ask.request_id, waited_s)

    def _may_run(self, ticket: Ticket) -> bool:
        ask = ticket.ask
        held = self._held.get(ask.uid, 0)
        concurrency = self._ledgers.tier(ask.tier).concurrency
        if concurrency and self._counts.running(ask.uid) >= concurrency:
            return False
        free = self.capacity - len(self._running)
        others = len(self._about) - (ask.uid in self._about)
        kept = math.ceil(self.rules.kept_share * self.capacity)
        if free > kept or not others or self.capacity < 2 * kept:
            return True
        # Kept from whoever holds more than half of what the largest holder does. An equal share
        # would be too strict: most users never claim theirs. Holding one or two is no flood.
        fair = max(min(2, self.capacity // 2), max(self._held.values(), default=0) / 2)
        return ask.is_ahead or (ask.priority == "person" and held < fair)

    def _news(self, now_s: float) -> list[Action]:
        """Whoever's place changed, unless he heard of one just now."""
        self._news_at_s = float("inf")
        if self.rules.news_interval_s == float("inf"):
            return []
        actions: list[Action] = []
        for place, (ticket, eta_s) in enumerate(self._expected(now_s), start=1):
            if ticket.told_place == place:
                continue
            at_s = ticket.told_s + self.rules.news_interval_s
            if at_s <= now_s:
                ticket.told_place, ticket.told_s = place, now_s
                actions.append(Wait(ticket.ask.request_id, place, eta_s))
            else:
                self._news_at_s = min(self._news_at_s, at_s)
        return actions
