"""Budgets over sliding windows: reserve before, settle after, refund on failure.

A budget allows `limit` units in any window of `period_s`. What is reserved counts until it is
settled, what was used counts for a whole period from the moment of settling; so at no time do
the two together exceed the limit as long as nobody uses more than was reserved. Usage is kept in
60 parts of the period (a part counts until all of it is old), so a budget is a short list of
numbers whatever the traffic.
"""

from collections import deque
from dataclasses import dataclass, field

PARTS = 60


@dataclass
class Budget:
    """One limit of one user. Amounts are requests or tokens; never negative."""

    limit: int
    period_s: float
    reserved: int = 0
    _used: deque["_Part"] = field(default_factory=deque)
    _sum: int = 0

    def left(self, now_s: float) -> int:
        """What may still be reserved now; negative only if a settlement passed its reservation."""
        self._forget(now_s)
        return self.limit - self.reserved - self._sum

    def used(self, now_s: float) -> int:
        """What the last period used, settled only."""
        self._forget(now_s)
        return self._sum

    def reserve(self, amount: int, now_s: float) -> bool:
        """Takes `amount` out of what is left; False, and nothing taken, when it does not fit."""
        if amount > self.left(now_s):
            return False
        self.reserved += amount
        return True

    def settle(self, reserved: int, used: int, now_s: float) -> None:
        """Turns a reservation into what was really used; the difference is free again."""
        assert reserved <= self.reserved
        self._forget(now_s)
        self.reserved -= reserved
        if used <= 0:
            return
        part = int(now_s * PARTS // self.period_s)
        if self._used and self._used[-1].number >= part:  # the clock may step back
            self._used[-1].amount += used
        else:
            self._used.append(_Part(part, used))
        self._sum += used

    def refund(self, reserved: int) -> None:
        """Gives a reservation back whole."""
        assert reserved <= self.reserved
        self.reserved -= reserved

    def retry_after_s(self, amount: int, now_s: float) -> float:
        """Seconds until `amount` fits if nothing more is reserved; infinity when it never will.

        Reservations are counted as if they were used now, which is the latest they can be.
        """
        if amount > self.limit:
            return float("inf")
        missing = amount - self.left(now_s)
        if missing <= 0:
            return 0.0
        for part in self._used:
            missing -= part.amount
            if missing <= 0:
                return (part.number + 1) * self.period_s / PARTS + self.period_s - now_s
        return self.period_s

    def _forget(self, now_s: float) -> None:
        while self._used and (self._used[0].number + 1 + PARTS) * self.period_s / PARTS <= now_s:
            self._sum -= self._used.popleft().amount


@dataclass(slots=True)
class _Part:
    number: int
    amount: int
