"""The two older limiter generations: a fixed window and a token bucket with waiters.

Both are right somewhere: the window costs one counter and answers at once, the bucket lets a
caller block until it is its turn. Neither knows users, cost or load; `core` does.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from appliance.limiter.verdict import Action, Refuse, Run


@dataclass
class FixedWindow:
    """At most `limit` takes per key in each aligned window of `period_s` seconds.

    All windows turn together, so that forgetting the old ones is one assignment and no key can
    outlive its window. A clock that goes back stays in the newest window it has seen.
    """

    limit: int
    period_s: float
    _window: int = 0
    _taken: dict[str, int] = field(default_factory=dict)

    def take(self, key: str, now_s: float) -> float:
        """0 when it may pass, else the seconds until the next window."""
        window = max(self._window, int(now_s // self.period_s))
        if window != self._window:
            self._window, self._taken = window, {}
        taken = self._taken.get(key, 0)
        if taken >= self.limit:
            return (window + 1) * self.period_s - now_s
        self._taken[key] = taken + 1
        return 0.0

    def left(self, key: str, now_s: float) -> int:
        """Takes left in this window."""
        if int(now_s // self.period_s) > self._window:
            return self.limit
        return self.limit - self._taken.get(key, 0)


@dataclass
class TokenBucket:
    """Grants come at `refill_per_s` and keep up to `size`; who waits longest is granted first.

    A grant belongs to its request until `used`; a request that is cancelled in between gives it
    back, so no grant is lost with a caller that vanished. At most `waiters` wait.
    """

    size: int
    refill_per_s: float
    waiters: int
    now_s: float
    _tokens: float = field(init=False)
    _waiting: "OrderedDict[str, _Waiter]" = field(default_factory=OrderedDict)
    _granted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._tokens = float(self.size)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def arrived(self, request_id: str, *, deadline_s: float, now_s: float) -> list[Action]:
        """Takes a grant or a place in the line; nothing is returned for who has to wait."""
        if request_id in self._waiting or request_id in self._granted:
            return []
        actions = self.tick(now_s)
        if len(self._waiting) >= self.waiters:
            return [*actions, Refuse(request_id, "queue_full", self._next_s(len(self._waiting)))]
        self._waiting[request_id] = _Waiter(now_s, deadline_s)
        return actions + self._grant()

    def used(self, request_id: str) -> None:
        """The request went on with its grant."""
        self._granted.discard(request_id)

    def cancelled(self, request_id: str, *, now_s: float) -> list[Action]:
        """The caller is gone: its place, or the grant it never used, goes to the next."""
        self._waiting.pop(request_id, None)
        if request_id in self._granted:
            self._granted.discard(request_id)
            self._tokens = min(float(self.size), self._tokens + 1.0)
        return self.tick(now_s)

    def tick(self, now_s: float) -> list[Action]:
        """Refills for the time that passed, refuses who waited out, grants to who can have it."""
        passed_s = max(0.0, now_s - self.now_s)
        self.now_s = max(self.now_s, now_s)
        self._tokens = min(float(self.size), self._tokens + passed_s * self.refill_per_s)
        late = [name for name, waiter in self._waiting.items() if waiter.deadline_s <= self.now_s]
        for name in late:
            del self._waiting[name]
        refused: list[Action] = [Refuse(name, "waited_out", self._next_s(0)) for name in late]
        return refused + self._grant()

    def next_due_s(self) -> float:
        """When `tick` has something to do; infinity when nobody waits."""
        if not self._waiting:
            return float("inf")
        due_s = min(waiter.deadline_s for waiter in self._waiting.values())
        return max(self.now_s, min(due_s, self.now_s + self._next_s(0)))

    def _next_s(self, behind: int) -> float:
        return max(0.0, (1.0 + behind - self._tokens) / self.refill_per_s)

    def _grant(self) -> list[Action]:
        actions: list[Action] = []
        # Refilling by parts of a token must not lose the last one to rounding.
        while self._waiting and self._tokens >= 1.0 - 1e-9:
            name, waiter = self._waiting.popitem(last=False)
            self._tokens = max(0.0, self._tokens - 1.0)
            self._granted.add(name)
            actions.append(Run(name, self.now_s - waiter.arrived_s))
        return actions


@dataclass(frozen=True, slots=True)
class _Waiter:
    arrived_s: float
    deadline_s: float
