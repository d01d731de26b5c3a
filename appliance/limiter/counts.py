"""What each user has running and waiting in all pools together.

A tier's concurrency and the bounds of waiting count a user's requests for every model. Each pool's
limiter writes here what begins and ends in it, as budgets are shared through `tiers`.
"""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Counts:
    """`waiting` by user, and in `total`; a user with nothing running or waiting is in neither."""

    waiting: Counter[str] = field(default_factory=Counter)
    total: int = 0
    _running: dict[str, dict[str, float]] = field(default_factory=dict)

    def queued(self, uid: str) -> None:
        self.waiting[uid] += 1
        self.total += 1

    def left(self, uid: str) -> None:
        """One of those that waited does so no more."""
        self.waiting[uid] -= 1
        self.total -= 1
        if not self.waiting[uid]:
            del self.waiting[uid]

    def began(self, uid: str, request_id: str, end_s: float) -> None:
        """A request has a slot, and is expected to hold it until then."""
        self._running.setdefault(uid, {})[request_id] = end_s

    def ended(self, uid: str, request_id: str) -> None:
        del self._running[uid][request_id]
        if not self._running[uid]:
            del self._running[uid]

    def running(self, uid: str) -> int:
        return len(self._running.get(uid, ()))

    def ends_s(self, uid: str) -> dict[str, float]:
        """When each running request was expected to end as it began."""
        return self._running.get(uid, {})
