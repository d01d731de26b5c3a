"""What the engine says of itself: how busy, how fast, and when it last got something done."""

from dataclasses import dataclass

SPEED_WEIGHT = 0.05  # of the newest step in the moving average of tokens per second


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A snapshot, replaced as a whole when work arrives and after each step.

    `busy` counts occupied slots, `waiting` requests without one, `embedding` open embedding
    jobs. `last_step_at_s` is on the engine's monotonic clock: an engine that `has_work` and does
    not move it is stuck.
    """

    busy: int = 0
    waiting: int = 0
    embedding: int = 0
    steps: int = 0
    tokens_per_s: float = 0.0
    last_step_at_s: float = 0.0

    @property
    def has_work(self) -> bool:
        return bool(self.busy or self.waiting or self.embedding)


class Gauge:
    """Counts steps and averages the speed of those that sampled tokens."""

    def __init__(self, now_s: float) -> None:
        self.sampled = 0
        self._steps = 0
        self._tokens_per_s = 0.0
        self._since_s = now_s

    def woke(self, now_s: float) -> None:
        """Idle time counts for nothing."""
        self._since_s = now_s

    def stepped(self, now_s: float) -> None:
        elapsed_s = now_s - self._since_s
        if self.sampled and elapsed_s > 0:
            speed = self.sampled / elapsed_s
            weight = SPEED_WEIGHT if self._tokens_per_s else 1.0
            self._tokens_per_s += weight * (speed - self._tokens_per_s)
        self._steps += 1
        self._since_s = now_s
        self.sampled = 0

    def status(self, *, busy: int, waiting: int, embedding: int) -> EngineStatus:
        return EngineStatus(
            busy=busy,
            waiting=waiting,
            embedding=embedding,
            steps=self._steps,
            tokens_per_s=self._tokens_per_s,
            last_step_at_s=self._since_s,
        )
