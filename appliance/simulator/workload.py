"""What a run is made of: a slice of a trace at a chosen rate, and disturbances from a seed.

The seed decides which part of the trace is taken, how wrong predictions are, and which workers
are slower for a while without saying so. Everything is drawn independently of the policy, so
that policies are compared on the very same run.
"""

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol

from appliance.simulator.trace import TraceRequest


@dataclass(frozen=True)
class Disturbance:
    """`noise` is the standard deviation of ln(predicted / true output).

    Each worker spends `slow_share` of the time `slow_factor` times slower, in spells of `slow_s`
    seconds on average; no policy is told.
    """

    noise: float = 0.5
    slow_share: float = 0.05
    slow_factor: float = 2.0
    slow_s: float = 30.0


FLOODER = "flooder"
CALM = Disturbance(noise=0.0, slow_share=0.0)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request of the run. `predicted_tokens` is what policies see of its output."""

    at_s: float
    uid: str
    input_tokens: int
    output_tokens: int
    predicted_tokens: float
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spell:
    """From `at_s` on this worker is so many times slower."""

    at_s: float
    worker: int
    slowness: float


class Source(Protocol):
    """What a world runs through."""

    @property
    def seed(self) -> int: ...

    def arrivals(self) -> Iterator[Arrival]: ...

    def spells(self, workers: int) -> Iterator[Spell]: ...


@dataclass(frozen=True)
class Workload:
    """`count` requests of a trace, from a point the seed chooses unless `start` is given.

    They come `rate` per second on average, as bursty as in the trace.

    A run longer than the trace is several copies of it side by side, each from its own point and
    with prefixes of its own, so that no copy finds another's KV.
    """

    trace: list[TraceRequest]
    count: int
    rate: float
    seed: int
    disturbance: Disturbance = Disturbance()
    start: int | None = None

    def arrivals(self) -> Iterator[Arrival]:
        """In order of time, made as they are asked for."""
        copies = -(-self.count // len(self.trace))
        span = max((block for r in self.trace for block in r.blocks), default=0) + 1
        streams = (self._copy(copy, copies, span) for copy in range(copies))
        return islice(heapq.merge(*streams, key=lambda arrival: arrival.at_s), self.count)

    def _copy(self, copy: int, copies: int, span: int) -> Iterator[Arrival]:
        choices = random.Random(f"arrivals {self.seed} {copy}")
        size, count = len(self.trace), -(-self.count // copies)
        start = choices.randrange(size) if self.start is None else self.start
        picked = [self.trace[(start + index) % size] for index in range(count)]
        usual_s = self.trace[-1].at_s / max(1, size - 1)
        gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(picked)]
        gaps = [gap if gap >= 0 else usual_s for gap in gaps]  # where the trace begins anew
        # Each copy brings its share of the rate; what has no times comes all at once.
        lasts_s = sum(gaps) + usual_s
        scale = count * copies / self.rate / lasts_s if lasts_s else 0.0
        at_s = 0.0
        for request, gap_s in zip(picked, [*gaps, 0.0], strict=True):
            wrong = math.exp(choices.gauss(0.0, self.disturbance.noise))
            yield Arrival(
                at_s,
                f"{request.uid}.{copy}" if copies > 1 else request.uid,
                request.input_tokens,
                request.output_tokens,
                request.output_tokens * wrong,
                tuple(block + copy * span for block in request.blocks) if copy else request.blocks,
            )
            at_s += gap_s * scale

    def spells(self, workers: int) -> Iterator[Spell]:
        """Slow spells of all workers, in order of time, without end."""
        if not self.disturbance.slow_share:
            return iter(())
        streams = (self._spells_of(worker) for worker in range(workers))
        return heapq.merge(*streams, key=lambda spell: spell.at_s)

    def _spells_of(self, worker: int) -> Iterator[Spell]:
        choices = random.Random(f"spells {self.seed} {worker}")
        spell = self.disturbance
        between_s = spell.slow_s * (1 - spell.slow_share) / spell.slow_share
        at_s = 0.0
        while True:
            at_s += choices.expovariate(1 / between_s)
            yield Spell(at_s, worker, spell.slow_factor)
            at_s += choices.expovariate(1 / spell.slow_s)
            yield Spell(at_s, worker, 1.0)


@dataclass(frozen=True)
class Flood:
    """The users of a workload, and one more who sends `flood_rate` requests per second.

    The flooder's requests are drawn from the trace, `size` times as long. Prefixes are left out.
    """

    others: Workload
    flood_rate: float
    size: int
    until_s: float

    @property
    def seed(self) -> int:
        return self.others.seed

    def arrivals(self) -> Iterator[Arrival]:
        return heapq.merge(self.others.arrivals(), self._flood(), key=lambda arrival: arrival.at_s)

    def spells(self, workers: int) -> Iterator[Spell]:
        return self.others.spells(workers)

    def _flood(self) -> Iterator[Arrival]:
        choices = random.Random(f"flood {self.seed}")
        at_s = 0.0
        while self.flood_rate and at_s < self.until_s:
            request = choices.choice(self.others.trace)
            tokens = request.output_tokens * self.size
            wrong = math.exp(choices.gauss(0.0, self.others.disturbance.noise))
            input_tokens = request.input_tokens * self.size
            yield Arrival(at_s, FLOODER, input_tokens, tokens, tokens * wrong, ())
            at_s += choices.expovariate(self.flood_rate)
