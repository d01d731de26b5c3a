"""How long things will take: the time a request holds its slot, and who gets which slot when.

A request's output length is taken as log-normal through its predicted median and 80 % quantile,
so a request that already runs longer than expected is expected to go on for a while, rather than
to end at once. Seconds per token are learned from finished requests. The expected wait is found
by giving slots to the waiting line in its order, each slot at the time it is expected to fall
free, and is corrected by how true earlier promises were.
"""

import heapq
import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import NormalDist

from appliance.limiter.verdict import Ask, Forecast

LEARNING = 0.1
SLOTS_SAMPLED = 256
Z80 = 0.8416  # the 80 % quantile of the standard normal distribution
LEAST_SPREAD = 0.05
PROMISE_MOST = 3.0
USERS_REMEMBERED = 4096
PROMISE_LEAST_S = 2.0  # shorter promises say little about the estimate


DRAWS = 4
SCATTER = 0.8  # standard deviation of ln(remaining time / expected remaining time)


def _draws() -> tuple[tuple[float, ...], ...]:
    """For each of 32 slots, a few factors of mean 1, evenly over the log-normal distribution."""
    table = []
    for slot in range(32):
        places = [(7 * slot + 32 // DRAWS * draw) % 32 for draw in range(DRAWS)]
        factors = [math.exp(SCATTER * NormalDist().inv_cdf((n + 0.5) / 32)) for n in places]
        table.append(tuple(factor * DRAWS / sum(factors) for factor in factors))
    return tuple(table)


FACTORS = _draws()


def mean_output(forecast: Forecast, done: float = 0.0) -> float:
    """Expected tokens still to come of an output that has reached `done` tokens."""
    if forecast.p50 <= 0:
        return 0.0
    spread = max(LEAST_SPREAD, math.log(max(1.0, forecast.p80 / forecast.p50)) / Z80)
    if done <= 0:
        mean = forecast.p50 * math.exp(spread * spread / 2)
        return min(mean, float(forecast.most))
    z = (math.log(done) - math.log(forecast.p50)) / spread
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
    _promises: OrderedDict[str, float] = field(default_factory=OrderedDict)

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

    def promise(self, uid: str) -> float:
        """How much longer than estimated this user waits: others may come and be served first."""
        return self._promises.get(uid, 1.0)

    def kept(self, uid: str, promised_s: float, waited_s: float) -> None:
        """A waiting request was let in: how the first promise compares with the truth."""
        if promised_s < PROMISE_LEAST_S:
            return
        ratio = min(PROMISE_MOST, max(1 / PROMISE_MOST, waited_s / promised_s))
        learned = self.promise(uid) * ratio**LEARNING
        self._promises[uid] = min(PROMISE_MOST, max(1 / PROMISE_MOST, learned))
        self._promises.move_to_end(uid)
        if len(self._promises) > USERS_REMEMBERED:
            self._promises.popitem(last=False)


def starts_s(capacity: int, remaining_s: Iterable[float], line_s: Iterable[float]) -> list[float]:
    """When each request of the line is expected to get a slot, in seconds from now.

    `remaining_s`: expected, of each running request; `line_s`: how long each waiting one will
    hold its slot, in order. The first of many slots falls free long before the least of the
    expected times, because each may end early: so ends are drawn around what is expected, evenly
    over the distribution, and the mean of a few such draws is the answer. Beyond 256 slots every
    n-th slot and every n-th request stand for n of them.
    """
    running = sorted(remaining_s)
    # Slots above the capacity (a worker was lost) end without being given again.
    running = running[max(0, len(running) - capacity) :]
    slots = running + [0.0] * max(0, capacity - len(running))
    if not slots:
        return []
    stride = -(-len(slots) // SLOTS_SAMPLED)
    sample = slots[stride // 2 :: stride] or slots[:1]
    line = list(line_s)
    sums = [0.0] * len(line)
    for draw in range(DRAWS):
        free = [time_s * FACTORS[slot % 32][draw] for slot, time_s in enumerate(sample)]
        heapq.heapify(free)
        start_s = 0.0
        for place, hold_s in enumerate(line):
            if place % stride == 0:  # one of the sample stands for those after it
                start_s = free[0]
                heapq.heapreplace(free, start_s + hold_s)
            sums[place] += start_s
    return [total / DRAWS for total in sums]
