"""When each request of a waiting line gets a slot, and so its place.

The line's order is followed slot by slot (`estimate.Starts`). Who already has as many running as
his tier allows is passed over, and takes the first slot after one of his own has ended: what he is
told is that time, and those behind him are not told to wait for slots that he cannot take.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from appliance.limiter.estimate import Starts
from appliance.limiter.line import Ticket
from appliance.limiter.verdict import Ask

SAME_S = 1e-6  # a slot that falls free as one's own request ends is that request's


class Expected(NamedTuple):
    """A waiting request and the seconds until it gets a slot, None without any worker."""

    ticket: Ticket
    eta_s: float | None


@dataclass
class Walk:
    """Gives the slots to a line. `own_s` are the times at which a user's limit lets one more begin,
    earliest first and as many as his limit; None for a user without one."""

    slots: Starts
    hold_s: Callable[[Ask], float]
    own_s: Callable[[Ask], list[float] | None]
    _users: dict[str, "_User | None"] = field(default_factory=dict)
    _passed: list["_Passed"] = field(default_factory=list)
    _found: list[Expected] = field(default_factory=list)

    def expected(self, order: Iterator[Ticket]) -> list[Expected]:
        """In the order in which they begin. `order` may look at the slots between two requests."""
        while True:
            while self._passed and self._is_due(self._passed[0].free_s):
                self._take_up()
            ticket = next(order, None)
            if ticket is None:
                break
            self._next(ticket)
        while self._passed:
            self._take_up()
        return self._found

    def _next(self, ticket: Ticket) -> None:
        uid = ticket.ask.uid
        if uid not in self._users:
            own_s = self.own_s(ticket.ask)
            self._users[uid] = None if own_s is None else _User(own_s)
        user = self._users[uid]
        if user is None:
            self._give(ticket, 0.0)
        elif user.passed:
            user.passed.append(ticket)
        elif self._is_due(user.own_s[0]):
            heapq.heapreplace(user.own_s, self._give(ticket, user.own_s[0]))
        else:
            user.passed.append(ticket)
            heapq.heappush(self._passed, _Passed(user.own_s[0], ticket.number, uid))

    def _take_up(self) -> None:
        """The user who is passed over and free first gets the next slot from then on."""
        free_s, _, uid = heapq.heappop(self._passed)
        user = self._users[uid]
        assert user is not None
        heapq.heapreplace(user.own_s, self._give(user.passed.popleft(), free_s))
        if user.passed:
            again = _Passed(user.own_s[0], user.passed[0].number, uid)
            heapq.heappush(self._passed, again)

    def _is_due(self, free_s: float) -> bool:
        return free_s <= self.slots.next_s() + SAME_S

    def _give(self, ticket: Ticket, not_before_s: float) -> float:
        """Returns when its slot falls free again."""
        hold_s = self.hold_s(ticket.ask)
        start_s = self.slots.give(hold_s, not_before_s)
        self._found.append(Expected(ticket, start_s))
        return start_s + hold_s


@dataclass
class _User:
    own_s: list[float]
    passed: deque[Ticket] = field(default_factory=deque)


class _Passed(NamedTuple):
    free_s: float
    number: int
    uid: str
