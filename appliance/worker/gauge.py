"""What the engine measures of itself: how busy, how fast, how long steps take, where time goes.

A step of n tokens takes about `base_s` + n * `token_s`, but only about: on a CPU few tokens cost
more each than many. So the line is fitted to recent steps only, by least squares with
exponential forgetting, and leans towards a prior slope while all steps have had the same size.
Two such lines are kept, one over small steps (what would one more token cost?) and one over all
(how many tokens fit into the time between two tokens of an answer?). Kernels compute tokens by
twos or fours, so three may cost as much as four: small steps are also averaged by their size.
"""

import time
from dataclasses import dataclass, field

SPEED_WEIGHT = 0.05  # of the newest step in moving averages
FORGET = 0.98  # weight of older steps when a newer one comes: the last 50 count
PRIOR_SLOPE = 0.2  # a further token costs this part of a step with one token (two AVX2 cores, 0.5B)
PRIOR_STRENGTH = 2.0  # squared tokens of evidence that the prior slope is worth
OUTLIER = 4.0  # a step that took this much longer than predicted was disturbed
SMALL_STEP_TOKENS = 40
SIZE_PRIOR = 3.0  # steps of one size that the line counts for
SIZE_FORGET = 0.95
FRESH_STEPS = 100  # of other sizes, after which what was learnt of one is learnt anew


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A snapshot, replaced as a whole when work arrives and after each step.

    `busy` counts occupied slots, `waiting` requests without one, `searching` those looked for on
    disk, `embedding` open embedding jobs; `steps` only those that computed something.
    `last_step_at_s` is on the engine's monotonic clock: an engine that `has_work` and makes no
    `steps` is stuck. `python_share` is the part of the engine thread's busy time outside the
    native library. Of `drafted` tokens so far `confirmed` were right.
    """

    busy: int = 0
    waiting: int = 0
    searching: int = 0
    embedding: int = 0
    steps: int = 0
    tokens_per_s: float = 0.0
    last_step_at_s: float = 0.0
    python_share: float = 0.0
    used_cells: int = 0
    idle_sequences: int = 0
    drafted: int = 0
    confirmed: int = 0
    longest_step_s: float = 0.0

    @property
    def has_work(self) -> bool:
        return bool(self.busy or self.waiting or self.searching or self.embedding)


@dataclass(slots=True)
class StepTimes:
    """A line through recent steps. All sums are weighted, older steps less."""

    _weight: float = 0.0
    _n: float = 0.0
    _s: float = 0.0
    _nn: float = 0.0
    _ns: float = 0.0

    def note(self, tokens: int, seconds: float) -> None:
        """A step of so many tokens took so long."""
        if self._weight >= 1:
            seconds = min(seconds, OUTLIER * self.predict(tokens))
        self._weight = self._weight * FORGET + 1
        self._n = self._n * FORGET + tokens
        self._s = self._s * FORGET + seconds
        self._nn = self._nn * FORGET + tokens * tokens
        self._ns = self._ns * FORGET + tokens * seconds

    def predict(self, tokens: int) -> float:
        """Seconds of a step with so many tokens; proportional to them before the first step."""
        base_s, token_s = self._line()
        return base_s + token_s * tokens

    def fitting(self, seconds: float) -> int | None:
        """How many tokens a step of so long has at most; None before the first step."""
        base_s, token_s = self._line()
        if not self._weight or token_s <= 0:
            return None
        return max(0, int((seconds - base_s) / token_s))

    def _line(self) -> tuple[float, float]:
        """Seconds of an empty step, and seconds per token."""
        if not self._weight:
            return 0.0, 1.0
        n, s = self._n / self._weight, self._s / self._weight
        prior = PRIOR_SLOPE * s / (1 + PRIOR_SLOPE * (n - 1))
        spread = max(0.0, self._nn - n * self._n)
        token_s = (self._ns - s * self._n + PRIOR_STRENGTH * prior) / (spread + PRIOR_STRENGTH)
        token_s = min(max(token_s, 0.0), s / n)
        return s - token_s * n, token_s


@dataclass(slots=True)
class _OneSize:
    """Steps of one size, recent ones; `noted_at` is the number of the last."""

    noted_at: int = 0
    _weight: float = 0.0
    _s: float = 0.0

    def note(self, seconds: float, number: int) -> None:
        self.noted_at = number
        self._weight = self._weight * SIZE_FORGET + 1
        self._s = self._s * SIZE_FORGET + seconds

    def mean(self, by_line_s: float) -> float:
        """Seconds; while they are few, the line counts for some."""
        prior = 0.0 if self.known else SIZE_PRIOR
        return (self._s + prior * by_line_s) / (self._weight + prior)

    @property
    def known(self) -> bool:
        """Whether what was seen weighs more than the line."""
        return self._weight > 2 * SIZE_PRIOR


@dataclass(slots=True)
class SmallStepTimes:
    """Steps of up to SMALL_STEP_TOKENS by their size, and by the line through all where they are
    few or long ago: a machine changes its pace, and nobody noticed for a size that was not seen."""

    _noted: int = 0
    _line: StepTimes = field(default_factory=StepTimes)
    _sizes: dict[int, _OneSize] = field(default_factory=dict)

    def note(self, tokens: int, seconds: float) -> None:
        """A step of so many tokens took so long; larger ones tell nothing of small ones."""
        if tokens > SMALL_STEP_TOKENS:
            return
        self._noted += 1
        if self._line.fitting(seconds) is not None:
            seconds = min(seconds, OUTLIER * self.predict(tokens))
        size = self._sizes[tokens] = self._fresh(tokens) or _OneSize()
        size.note(seconds, self._noted)
        self._line.note(tokens, seconds)

    def knows(self, tokens: int) -> bool:
        """Whether steps of this size were seen often enough, and lately, to go by."""
        size = self._fresh(tokens)
        return size is not None and size.known

    def predict(self, tokens: int) -> float:
        """Seconds of a step with so many tokens."""
        seconds = self._line.predict(tokens)
        size = self._fresh(tokens)
        return size.mean(seconds) if size else seconds

    def _fresh(self, tokens: int) -> _OneSize | None:
        size = self._sizes.get(tokens)
        return size if size and self._noted - size.noted_at <= FRESH_STEPS else None


@dataclass(slots=True)
class Gauge:
    """Counts steps and averages the speed of those that sampled tokens."""

    since_s: float
    sampled: int = 0
    small_steps: SmallStepTimes = field(default_factory=SmallStepTimes)
    all_steps: StepTimes = field(default_factory=StepTimes)
    _steps: int = 0
    _longest_step_s: float = 0.0
    _tokens_per_s: float = 0.0
    _python_share: float = 0.0
    _native_s: float = 0.0
    _awake_at_s: float = field(default_factory=time.perf_counter)

    def woke(self, now_s: float) -> None:
        """Idle time counts for nothing."""
        self.since_s = now_s
        self._awake_at_s = time.perf_counter()
        self._native_s = 0.0

    def native(self, since_s: float) -> float:
        """The library was busy since this reading of `time.perf_counter`. Returns how long."""
        spent_s = time.perf_counter() - since_s
        self._native_s += spent_s
        return spent_s

    def computed(self, tokens: int, seconds: float) -> None:
        """A step's tokens were computed and sampled."""
        self.all_steps.note(tokens, seconds)
        self.small_steps.note(tokens, seconds)

    def stepped(self, now_s: float) -> None:
        elapsed_s = now_s - self.since_s
        if self.sampled and elapsed_s > 0:
            speed = self.sampled / elapsed_s
            weight = SPEED_WEIGHT if self._tokens_per_s else 1.0
            self._tokens_per_s += weight * (speed - self._tokens_per_s)
        awake_s = time.perf_counter() - self._awake_at_s
        if self._native_s and awake_s > 0:
            share = 1 - self._native_s / awake_s
            weight = SPEED_WEIGHT if self._steps else 1.0
            self._python_share += weight * (share - self._python_share)
        self._steps += 1
        self._longest_step_s = max(self._longest_step_s, elapsed_s)
        self.since_s = now_s
        self._awake_at_s += awake_s
        self._native_s = 0.0
        self.sampled = 0

    def status(
        self,
        *,
        busy: int = 0,
        waiting: int = 0,
        searching: int = 0,
        embedding: int = 0,
        used_cells: int = 0,
        idle_sequences: int = 0,
        drafted: int = 0,
        confirmed: int = 0,
    ) -> EngineStatus:
        return EngineStatus(
            busy=busy,
            waiting=waiting,
            searching=searching,
            embedding=embedding,
            steps=self._steps,
            tokens_per_s=self._tokens_per_s,
            last_step_at_s=self.since_s,
            python_share=self._python_share,
            used_cells=used_cells,
            idle_sequences=idle_sequences,
            drafted=drafted,
            confirmed=confirmed,
            longest_step_s=self._longest_step_s,
        )
