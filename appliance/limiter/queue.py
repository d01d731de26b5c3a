"""The fair queue: a pure state machine from arrivals, ends and time to verdicts.

Capacity is the sum of all workers' slots. While it lasts, requests run at once; then they wait,
and users take turns: each user has a queue of their own, and the next free slot goes to the user
whose turn it is (round robin), so one user's hundred requests do not delay another's first.

A waiting request knows its place (1 is next) in exactly the order in which slots will be given,
and an estimate of the wait from the mean time a request has held a slot (exponentially weighted).
What cannot start before its deadline is refused on arrival rather than after the wait.
Both queues are bounded. Times are monotonic seconds; the caller owns the clock.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

PRIOR_SERVICE_S = 10.0
SERVICE_WEIGHT = 0.2


@dataclass(frozen=True)
class Admit:
    request_id: str
    waited_s: float


@dataclass(frozen=True)
class Wait:
    """`place` counts from 1; `eta_s` is None while there is no worker at all."""

    request_id: str
    place: int
    eta_s: float | None


@dataclass(frozen=True)
class Refuse:
    """`reason`: queue_full, user_queue_full, deadline, no_worker."""

    request_id: str
    reason: str
    retry_after_s: float


Action: TypeAlias = Admit | Wait | Refuse


@dataclass
class _Ticket:
    request_id: str
    uid: str
    arrived_s: float
    deadline_s: float
    told_place: int = 0
    told_s: float = float("-inf")


@dataclass
class FairQueue:
    """Owns who waits and who runs. Every method returns the actions it calls for."""

    bound: int
    bound_per_user: int
    news_interval_s: float
    no_worker_after_s: float
    now_s: float
    capacity: int = 0
    service_s: float = PRIOR_SERVICE_S
    _waiting: OrderedDict[str, deque[_Ticket]] = field(default_factory=OrderedDict)
    _running: dict[str, float] = field(default_factory=dict)
    _alone_since_s: float = 0.0

    def __post_init__(self) -> None:
        self._alone_since_s = self.now_s

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def running(self) -> int:
        return len(self._running)

    def known(self) -> list[str]:
        """Every request this queue holds, waiting ones in order."""
        return [ticket.request_id for ticket in self._order()] + list(self._running)

    def arrived(
        self, request_id: str, uid: str, *, deadline_s: float, now_s: float
    ) -> list[Action]:
        """A new request; one that is known already changes nothing."""
        if request_id in self.known():
            return []
        reason = self._refusal(uid, deadline_s, now_s)
        if reason:
            return [Refuse(request_id, reason, self._retry_after_s())]
        queue = self._waiting.setdefault(uid, deque())
        queue.append(_Ticket(request_id, uid, now_s, deadline_s))
        return self._settle(now_s)

    def adopted(self, request_id: str, *, now_s: float) -> None:
        """A request found running, admitted before this limiter started."""
        self._running.setdefault(request_id, now_s)

    def ended(self, request_id: str, *, now_s: float) -> list[Action]:
        """A request ended, wherever it was."""
        started_s = self._running.pop(request_id, None)
        if started_s is not None:
            held_s = now_s - started_s
            self.service_s += SERVICE_WEIGHT * (held_s - self.service_s)
        else:
            self._drop(request_id)
        return self._settle(now_s)

    def workers_changed(self, capacity: int, *, now_s: float) -> list[Action]:
        """The sum of all live workers' slots."""
        if self.capacity > 0 and capacity == 0:
            self._alone_since_s = now_s
        self.capacity = capacity
        return self._settle(now_s)

    def tick(self, now_s: float) -> list[Action]:
        """Time passed: deadlines fall due, and rate-limited news goes out."""
        return self._settle(now_s)

    def next_due_s(self, now_s: float) -> float:
        """When `tick` has something to do, if nothing else happens; infinity when never."""
        due = float("inf")
        for place, ticket in enumerate(self._order(), start=1):
            due = min(due, ticket.deadline_s)
            if ticket.told_place != place:
                due = min(due, ticket.told_s + self.news_interval_s)
        if due != float("inf") and self.capacity == 0:
            due = min(due, self._alone_since_s + self.no_worker_after_s)
        return max(due, now_s)

    # Below: helpers in call order.

    def _refusal(self, uid: str, deadline_s: float, now_s: float) -> str:
        if self._deserted(now_s):
            return "no_worker"
        if self.waiting >= self.bound:
            return "queue_full"
        if len(self._waiting.get(uid, ())) >= self.bound_per_user:
            return "user_queue_full"
        if deadline_s <= now_s:
            return "deadline"
        free = self.capacity - len(self._running) > 0 and not self._waiting
        eta_s = 0.0 if free else self._eta_s(self.waiting + 1) or 0.0
        return "deadline" if now_s + eta_s > deadline_s else ""

    def _deserted(self, now_s: float) -> bool:
        return self.capacity == 0 and now_s - self._alone_since_s >= self.no_worker_after_s

    def _retry_after_s(self) -> float:
        return max(1.0, self._eta_s(max(1, self.waiting)) or self.no_worker_after_s)

    def _eta_s(self, place: int) -> float | None:
        """Slots free up every `service_s / capacity` seconds on average."""
        return place * self.service_s / self.capacity if self.capacity else None

    def _drop(self, request_id: str) -> None:
        for uid, queue in self._waiting.items():
            for ticket in queue:
                if ticket.request_id == request_id:
                    queue.remove(ticket)
                    if not queue:
                        del self._waiting[uid]
                    return

    def _settle(self, now_s: float) -> list[Action]:
        actions = self._expire(now_s)
        while self._waiting and len(self._running) < self.capacity:
            ticket = self._next()
            self._running[ticket.request_id] = now_s
            actions.append(Admit(ticket.request_id, now_s - ticket.arrived_s))
        return actions + self._news(now_s)

    def _expire(self, now_s: float) -> list[Action]:
        deserted = self._deserted(now_s)
        late = [t for t in self._order() if deserted or t.deadline_s <= now_s]
        for ticket in late:
            self._drop(ticket.request_id)
        reason = "no_worker" if deserted else "deadline"
        return [Refuse(ticket.request_id, reason, self._retry_after_s()) for ticket in late]

    def _next(self) -> _Ticket:
        uid, queue = next(iter(self._waiting.items()))
        ticket = queue.popleft()
        if queue:
            self._waiting.move_to_end(uid)
        else:
            del self._waiting[uid]
        return ticket

    def _order(self) -> Iterator[_Ticket]:
        """Waiting requests in the order in which slots will be given."""
        turn = [iter(queue) for queue in self._waiting.values()]
        while turn:
            rest = []
            for queue in turn:
                ticket = next(queue, None)
                if ticket is not None:
                    yield ticket
                    rest.append(queue)
            turn = rest

    def _news(self, now_s: float) -> list[Action]:
        actions: list[Action] = []
        for place, ticket in enumerate(self._order(), start=1):
            due = now_s - ticket.told_s >= self.news_interval_s
            if due and ticket.told_place != place:
                ticket.told_place, ticket.told_s = place, now_s
                actions.append(Wait(ticket.request_id, place, self._eta_s(place)))
        return actions
