"""The waiting line: who is next among users, classes and one user's own requests.

The highest class goes first; a request that has waited rises by one class per `age_s`, so a
background task is served in the end, whatever people do. Within a class the user with the lowest
counter is next (`fairness`), and of one user's requests the oldest, or the shortest predicted
one unless the oldest has waited for `patience_s`.

A promise is kept: whoever was told a time goes before the others of his class when it is due, for
those who came later and were served less would make it untrue. So protected are only a user's first
few waiting requests (`PROMISED_DEPTH`), or twice as many as others have if that is more: where all
have long lines all are told the truth, and a flooder's line is not protected from the others.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median_low
from typing import NamedTuple

from appliance.limiter.counts import Counts
from appliance.limiter.estimate import mean_output
from appliance.limiter.fairness import FairShare, cost
from appliance.limiter.honesty import WITHIN_S, WITHIN_SHARE
from appliance.limiter.tiers import Hold
from appliance.limiter.verdict import Ask

PROMISED_DEPTH = 6


@dataclass(slots=True)
class Ticket:
    """A request that waits. `cost` is its predicted weighted tokens; `depth` counts its user's
    requests that waited when it came, itself included."""

    ask: Ask
    hold: Hold
    weight: float
    arrived_s: float
    number: int
    cost: float = 0.0
    depth: int = 1
    promised_s: float | None = None
    told_place: int = 0
    told_s: float = float("-inf")

    def __post_init__(self) -> None:
        ask = self.ask
        self.cost = cost(ask.input_tokens, ask.cached_tokens, mean_output(ask.output))


class _Turn(NamedTuple):
    """What decides who is next; the smallest is. What is not free is due by a promise."""

    rank: int
    is_free: bool
    level: float
    number: int


class _Place(NamedTuple):
    """The head of a queue in an order to come: by level, or by when its promise is due."""

    rank: int
    turn: float
    number: int
    key: tuple[str, int]


@dataclass
class Line:
    """Owns the order of waiting requests; counts nothing that runs."""

    fair: FairShare
    age_s: float
    patience_s: float
    shortest_first: bool
    counts: Counts = field(default_factory=Counts)
    _queues: dict[tuple[str, int], deque[Ticket]] = field(default_factory=dict)
    _tickets: dict[str, Ticket] = field(default_factory=dict)
    _waiting: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._tickets

    def of_user(self, uid: str) -> int:
        return self._waiting.get(uid, 0)

    def users(self) -> int:
        return len(self._waiting)

    def tickets(self) -> Iterator[Ticket]:
        """In order of arrival."""
        return iter(self._tickets.values())

    def add(self, ticket: Ticket) -> None:
        uid = ticket.ask.uid
        if uid not in self._waiting:
            self.fair.entered(uid, self._waiting)
        self.counts.queued(uid)
        ticket.depth = self._waiting[uid] = self._waiting.get(uid, 0) + 1
        key = (uid, ticket.ask.rank)
        self._queues.setdefault(key, deque()).append(ticket)
        self._tickets[ticket.ask.request_id] = ticket

    def drop(self, request_id: str) -> Ticket | None:
        """Takes a request out of the line without its being served."""
        return self._remove(request_id)

    def serve(self, request_id: str, now_s: float) -> Ticket:
        """Takes a request out and charges its predicted cost to its user."""
        ticket = self._remove(request_id)
        assert ticket is not None
        self.fair.charge(ticket.ask.uid, ticket.cost, weight=ticket.weight, now_s=now_s)
        if not self.of_user(ticket.ask.uid):
            self.fair.left(ticket.ask.uid)
        return ticket

    def next(self, now_s: float, allowed: Callable[[Ticket], bool]) -> Ticket | None:
        """Who is to be served now, of those `allowed` says may be."""
        best: Ticket | None = None
        least: _Turn | None = None
        depth = self._promised_depth()
        for (uid, _), queue in self._queues.items():
            ticket = self._first(queue, now_s)
            turn = self._turn(queue[0], self.fair.level(uid), now_s, depth)
            if (least is None or turn < least) and allowed(ticket):
                best, least = ticket, turn
        return best

    def order(self, now_s: float, next_s: Callable[[], float] = lambda: 0.0) -> Iterator[Ticket]:
        """The whole line as it would be served, each predicted cost charged in turn.

        `next_s`: in how many seconds the next slot falls free, asked before each is given. What
        is due by then goes first, as it will when the time has come.
        Users' limits of concurrency are not looked at: `expected` passes over whom they hold back.
        """
        levels = {uid: self.fair.level(uid) for uid in self._waiting}
        scale = self.fair.scale(now_s)
        queues = {key: self._own_order(queue, now_s) for key, queue in self._queues.items()}
        heads = dict.fromkeys(queues, 0)
        depth = self._promised_depth()
        promised: list[_Place] = []
        free: list[_Place] = []

        def enter(key: tuple[str, int]) -> None:
            head = queues[key][heads[key]]
            rank = self._rank(head, now_s)
            heapq.heappush(free, _Place(rank, levels[key[0]], head.number, key))
            due_s = _due_s(head, depth)
            if due_s < float("inf"):
                heapq.heappush(promised, _Place(rank, due_s, head.number, key))

        def first(places: list[_Place]) -> _Place | None:
            while places:
                place = places[0]
                at = heads[place.key]
                gone = at == len(queues[place.key]) or queues[place.key][at].number != place.number
                if not gone and (places is promised or levels[place.key[0]] == place.turn):
                    return place
                heapq.heappop(places)
                if not gone:  # its user was served from another queue: levels only rise
                    heapq.heappush(free, place._replace(turn=levels[place.key[0]]))
            return None

        for key in queues:
            enter(key)
        while True:
            place, due = first(free), first(promised)
            if place is None:
                return
            if due and due.rank <= place.rank and due.turn <= now_s + next_s():
                place = due
            ticket = queues[place.key][heads[place.key]]
            heads[place.key] += 1
            levels[ticket.ask.uid] += ticket.cost / ticket.weight * scale
            if heads[place.key] < len(queues[place.key]):
                enter(place.key)
            yield ticket

    def lowest(self, above: int) -> Ticket | None:
        """The newest request of the lowest class, if that class is below `above`."""
        worst = max((rank for _, rank in self._queues), default=0)
        if worst <= above:
            return None
        return max(
            (queue[-1] for (_, rank), queue in self._queues.items() if rank == worst),
            key=lambda ticket: ticket.number,
        )

    # Below: helpers.

    def _promised_depth(self) -> int:
        """How many waiting requests of a user keep the time they were told."""
        return max(PROMISED_DEPTH, 2 * median_low(self._waiting.values() or [0]))

    def _turn(self, head: Ticket, level: float, now_s: float, depth: int) -> _Turn:
        """What is due comes before all that is not, in the order in which it fell due."""
        due_s = _due_s(head, depth)
        key = due_s if due_s <= now_s else level
        return _Turn(self._rank(head, now_s), due_s > now_s, key, head.number)

    def _rank(self, ticket: Ticket, now_s: float) -> int:
        waited_s = max(0.0, now_s - ticket.arrived_s)
        rank = ticket.ask.rank
        return min(rank, max(0, rank - int(waited_s // self.age_s)))

    def _first(self, queue: deque[Ticket], now_s: float) -> Ticket:
        if not self.shortest_first or now_s - queue[0].arrived_s >= self.patience_s:
            return queue[0]
        return min(queue, key=lambda ticket: (ticket.cost, ticket.number))

    def _own_order(self, queue: deque[Ticket], now_s: float) -> list[Ticket]:
        if not self.shortest_first:
            return list(queue)
        late = [ticket for ticket in queue if now_s - ticket.arrived_s >= self.patience_s]
        rest = sorted(list(queue)[len(late) :], key=lambda ticket: (ticket.cost, ticket.number))
        return late + rest

    def _remove(self, request_id: str) -> Ticket | None:
        ticket = self._tickets.pop(request_id, None)
        if ticket is None:
            return None
        uid = ticket.ask.uid
        key = (uid, ticket.ask.rank)
        queue = self._queues[key]
        if queue[0] is ticket:
            queue.popleft()
        else:
            queue.remove(ticket)
        if not queue:
            del self._queues[key]
        self.counts.left(uid)
        self._waiting[uid] -= 1
        if not self._waiting[uid]:
            del self._waiting[uid]
        return ticket


def _due_s(ticket: Ticket, depth: int) -> float:
    """When a promise must be kept: before its tolerance is used up, for a slot must fall free."""
    if ticket.promised_s is None or ticket.depth > depth:
        return float("inf")
    early_s = max(WITHIN_S, WITHIN_SHARE * ticket.promised_s) / 2
    return ticket.arrived_s + ticket.promised_s - early_s
