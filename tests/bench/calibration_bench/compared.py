"""The same arrivals in the simulator, and both side by side as a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.limiter.core import Rules
from appliance.simulator.compare import KEPT_PACE
from appliance.simulator.constants import Constants
from appliance.simulator.trace import TraceRequest
from appliance.simulator.workload import CALM, Arrival, Spell, Workload
from appliance.simulator.world import Scene, World, capacity
from calibration_bench.fit import Fit
from calibration_bench.live import ANSWER_TOKENS, PROMPT_WORDS, Asked

TOKENS_PER_WORD = 2.4
"""Of the run's questions, near enough to choose a load."""


@dataclass(frozen=True)
class Replay:
    """What was asked live, as a workload."""

    asked: Sequence[Asked]
    seed: int = 0

    def arrivals(self) -> Iterator[Arrival]:
        for one in sorted(self.asked, key=lambda asked: asked.at_s):
            tokens = one.output_tokens
            yield Arrival(one.at_s, one.uid, one.fresh_tokens, tokens, float(tokens), ())

    def spells(self, workers: int) -> Iterator[Spell]:
        return iter(())


@dataclass(frozen=True, slots=True)
class Outcome:
    """Tokens per second over the whole run; the rest in seconds."""

    tokens_per_s: float
    first_p50_s: float
    first_p95_s: float
    last_p50_s: float
    last_p95_s: float


def live(asked: Sequence[Asked]) -> Outcome:
    tokens = sum(one.fresh_tokens + one.output_tokens for one in asked)
    over_s = max(one.at_s + one.last_s for one in asked)
    first = np.percentile([one.first_s for one in asked], [50, 95])
    last = np.percentile([one.last_s for one in asked], [50, 95])
    return Outcome(tokens / over_s, *map(float, (*first, *last)))


def simulated(asked: Sequence[Asked], found: Fit) -> Outcome:
    """What the simulator makes of it, with what every first word costs beside the worker."""
    scene = Scene(found.constants, 1, "hybrid", "service", Rules(), KEPT_PACE)
    report = World(scene, Replay(asked)).run().report()
    around_s = found.around_s
    return Outcome(
        report.tokens_per_s,
        report.first.p50 + around_s,
        report.first.p95 + around_s,
        report.last.p50 + around_s,
        report.last.p95 + around_s,
    )


def full_rate(constants: Constants) -> float:
    """Requests per second of the run's mix that the worker can take."""
    mix = [
        TraceRequest(0.0, "u", int(30 + TOKENS_PER_WORD * words), tokens)
        for words in PROMPT_WORDS
        for tokens in ANSWER_TOKENS
    ]
    return capacity(constants, 1, Workload(mix, 20 * len(mix), 1.0, 0, CALM))


ROWS = (
    ("throughput, tokens/s", "tokens_per_s"),
    ("first word p50, s", "first_p50_s"),
    ("first word p95, s", "first_p95_s"),
    ("whole answer p50, s", "last_p50_s"),
    ("whole answer p95, s", "last_p95_s"),
)


def table(found: Outcome, predicted: Outcome) -> list[str]:
    """Markdown."""
    lines = ["| | live | simulated | ratio |", "|---|---|---|---|"]
    for title, name in ROWS:
        real, said = getattr(found, name), getattr(predicted, name)
        lines.append(f"| {title} | {real:.3g} | {said:.3g} | {said / real:.2f} |")
    return lines
