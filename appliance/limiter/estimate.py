"""How long things will take: the time a request holds its slot, and who gets which slot when.

A request's output length is taken as log-normal through its predicted median and 80 % quantile,
so a request that already runs longer than expected is expected to go on for a while, rather than
to end at once. Seconds per token are learned from finished requests. The expected wait is found
by giving slots to the waiting line in its order, each slot at the time it is expected to fall
free, and is corrected by how true earlier promises were.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from appliance.limiter.verdict import Ask, Forecast

LEARNING = 0.1
SLOTS_SAMPLED = 256
Z80 = 0.8416  # the 80 % quantile of the standard normal distribution
LEAST_SPREAD = 0.05
PROMISE_LEAST_S = 0.5  # shorter promises say little about the estimate


def mean_output(forecast: Forecast, done: float = 0.0) -> float:
    """Expected tokens still to come of an output that has reached `done` tokens."""
    if forecast.p50 <= 0:
        return 0.0
    spread = max(LEAST_SPREAD, math.log(max(1.0, forecast.p80 / forecast.p50)) / Z80)
    if done <= 0:
        mean = forecast.p50 * math.exp(spread * spread / 2)
        return min(mean, float(forecast.most))
    z = math.log(done / forecast.p50) / spread
    beyond = _upper_tail(z)
    if beyond < 1e-9:  # far outside what was predicted: as much again as a tenth of it
        rest = 0.1 * done
    else:
        whole = forecast.p50 * math.exp(spread * spread / 2) * _upper_tail(z - spread)
        rest = max(0.0, whole / beyond - done)
    return min(rest, max(0.0, forecast.most - done))


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))


@dataclass
class Pace:
    """Seconds per token while holding a slot, and how true promises were."""

    input_s: float
    output_s: float
    promise: float = 1.0

    def hold_s(self, ask: Ask) -> float:
        """Expected seconds from admission to the end."""
        return self.input_s * ask.input_tokens + self.output_s * mean_output(ask.output)

    def remaining_s(self, ask: Ask, done_tokens: float, held_s: float) -> float:
        """The same for a request that holds its slot since `held_s`.

        Without news of `done_tokens` (0) the time held stands for them.
        """
        input_s = self.input_s * ask.input_tokens
        done = max(done_tokens, (held_s - input_s) / self.output_s)
        left_s = max(0.0, input_s - held_s) if done_tokens <= 0 else 0.0
        return left_s + self.output_s * mean_output(ask.output, max(0.0, done))

    def learn(self, input_tokens: int, output_tokens: int, held_s: float) -> None:
        """A request ended. Both rates move by what it took against what they said."""
        said_s = self.input_s * input_tokens + self.output_s * output_tokens
        if said_s <= 0 or held_s <= 0:
            return
        ratio = min(4.0, max(0.25, held_s / said_s))
        self.input_s *= ratio**LEARNING
        self.output_s *= ratio**LEARNING

    def kept(self, promised_s: float, waited_s: float) -> None:
        """A waiting request was let in: how the first promise compares with the truth."""
        if promised_s < PROMISE_LEAST_S:
            return
        ratio = min(4.0, max(0.25, waited_s / promised_s))
        self.promise = min(4.0, max(0.25, self.promise * ratio**LEARNING))


def starts_s(
    capacity: int, remaining_s: Iterable[float], line_s: Iterable[float]
) -> Iterator[float]:
    """When each request of the line gets a slot, in seconds from now.

    `remaining_s`: of each running request; `line_s`: how long each waiting one will hold its
    slot, in order. Beyond 256 slots every n-th stands for n of them.
    """
    running = sorted(remaining_s)
    # Slots above the capacity (a worker was lost) end without being given again.
    surplus = max(0, len(running) - capacity)
    slots = running[surplus:] + [0.0] * max(0, capacity - len(running))
    if not slots:
        return
    stride = -(-len(slots) // SLOTS_SAMPLED)
    sample = slots[stride // 2 :: stride] or slots[:1]
    share = len(slots) / len(sample)
    heapq.heapify(sample)
    for hold_s in line_s:
        start_s = heapq.heappop(sample)
        yield start_s
        heapq.heappush(sample, start_s + hold_s / share)
