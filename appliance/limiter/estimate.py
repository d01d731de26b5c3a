"""How long things will take: the time a request holds its slot, and who gets which slot when.

A request's output length is taken as log-normal through its predicted median and 80 % quantile,
so a request that already runs longer than expected is expected to go on for a while, rather than
to end at once. Seconds per token, which grow with the requests side by side, are learned from
those that finished. The expected wait is found by giving slots to the waiting line in its order,
each slot at the time it is expected to fall free; the line then honours what was told (`line`).
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple

from appliance.limiter.verdict import Ask, Forecast, Usage

BELIEF = 3.0  # observations that what is assumed at the start counts for
PACE_FADE = 0.97  # what an observation weighs after each later one
ENDED_KEPT = 32
PACE_MOST = 50.0
RATIO_MOST = 4.0
SPREAD_LEAST = 0.2
SLOTS_SAMPLED = 256
Z80 = 0.8416  # the 80 % quantile of the standard normal distribution
LEAST_SPREAD = 0.05
SQRT_2 = math.sqrt(2)

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
    log_median, spread, mean = _log_normal(forecast.p50, forecast.p80)
    if done <= 0:
        return min(mean, float(forecast.most))
    z = (math.log(done) - log_median) / spread
    beyond = _upper_tail(z)
    if beyond < 1e-9:  # far outside what was predicted: as much again as a tenth of it
        rest = 0.1 * done
    else:
        rest = max(0.0, mean * _upper_tail(z - spread) / beyond - done)
    return min(rest, max(0.0, forecast.most - done))


@lru_cache(maxsize=4096)  # asked of all that runs whenever somebody is told a time
def _log_normal(p50: float, p80: float) -> tuple[float, float, float]:
    """Mean and standard deviation of the logarithm, and the mean."""
    spread = max(LEAST_SPREAD, math.log(max(1.0, p80 / p50)) / Z80)
    return math.log(p50), spread, p50 * math.exp(spread * spread / 2)


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / SQRT_2)


@dataclass
class Pace:
    """Seconds per token while holding a slot, beside how many others it is held.

    `at` gives the pace beside so many; what is asked of it is then true there. Two things are
    learned from requests that ended: how their time grows with those that ran beside them, and by
    how much what was predicted of their lengths is wrong in the mean. The second is what the last
    ones took in all against what is said of them now, so that nothing is corrected twice: not what
    has been learned of the first since they ended.
    """

    input_s: float
    output_s: float
    _beside: "_Beside" = field(default_factory=lambda: _Beside())
    _ended: deque["_Ended"] = field(default_factory=lambda: deque(maxlen=ENDED_KEPT))
    _length: float = 1.0

    def at(self, running: float) -> "Pace":
        """The pace while so many run, this one included."""
        factor = self._beside.factor(running) * self._length
        return Pace(self.input_s * factor, self.output_s * factor)

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

    def learn(self, ask: Ask, usage: Usage, held_s: float, running: float) -> None:
        """A request ended, which had `running` in all beside itself in the mean."""
        used_s = self.input_s * usage.input_tokens + self.output_s * usage.output_tokens
        if used_s <= 0 or held_s <= 0:
            return
        self._beside.learn(running, _bounded(held_s / used_s))
        self._ended.append(_Ended(Pace(self.input_s, self.output_s).hold_s(ask), running, held_s))
        said_s = [one.said_s * self._beside.factor(one.running) for one in self._ended]
        took_s = [
            min(RATIO_MOST * said, one.held_s)
            for one, said in zip(self._ended, said_s, strict=True)
        ]
        prior_s = BELIEF * max(1e-9, sum(said_s) / len(said_s))
        self._length = (sum(took_s) + prior_s) / (sum(said_s) + prior_s)


class _Ended(NamedTuple):
    """A request that ended: what was said of it for one that runs alone, and what it took."""

    said_s: float
    running: float
    held_s: float


@dataclass
class _Beside:
    """A line through times by concurrency: least squares with weights that fade.

    It begins with `BELIEF` made-up observations, so that it does not follow the first one alone.
    """

    _weight: float = BELIEF
    _x: float = BELIEF
    _y: float = BELIEF
    _xx: float = 2 * BELIEF
    _xy: float = BELIEF

    def learn(self, running: float, ratio: float) -> None:
        self._weight = PACE_FADE * self._weight + 1.0
        self._x = PACE_FADE * self._x + running
        self._y = PACE_FADE * self._y + ratio
        self._xx = PACE_FADE * self._xx + running * running
        self._xy = PACE_FADE * self._xy + running * ratio

    def factor(self, running: float) -> float:
        """Between no slower beside others, and so much slower that nothing is won by them.

        Fewer than one (all workers are gone) is as one: the line may reach zero below it.
        """
        mean_x, mean_y = self._x / self._weight, self._y / self._weight
        spread = self._xx / self._weight - mean_x * mean_x
        slope = (self._xy / self._weight - mean_x * mean_y) / (spread + SPREAD_LEAST)
        slope = min(mean_y / max(1.0, mean_x), max(0.0, slope))
        return mean_y + slope * (max(1.0, running) - mean_x)


def _bounded(ratio: float) -> float:
    return min(PACE_MOST, max(1 / PACE_MOST, ratio))


class Starts:
    """Gives slots to a line one after the other, each at the time it is expected to fall free.

    `remaining_s`: expected, of each running request. The first of many slots falls free long
    before the least of the expected times, because each may end early: so ends are drawn around
    what is expected, evenly over the distribution, and the mean of a few such draws is the answer.
    Beyond 256 slots every n-th slot and every n-th request stand for n of them.
    """

    def __init__(self, capacity: int, remaining_s: Iterable[float]) -> None:
        running = sorted(remaining_s)
        # Slots above the capacity (a worker was lost) end without being given again.
        running = running[max(0, len(running) - capacity) :]
        slots = running + [0.0] * max(0, capacity - len(running))
        self._stride = max(1, -(-len(slots) // SLOTS_SAMPLED))
        sample = slots[self._stride // 2 :: self._stride] or slots[:1]
        self._draws = [
            [time_s * FACTORS[slot % 32][draw] for slot, time_s in enumerate(sample)]
            for draw in range(DRAWS)
        ]
        for free in self._draws:
            heapq.heapify(free)
        self._given = 0

    def __bool__(self) -> bool:
        """Whether there are any slots."""
        return bool(self._draws[0])

    def next_s(self) -> float:
        """Seconds from now until the next slot; 0 when there are none at all."""
        return sum(free[0] for free in self._draws) / DRAWS if self else 0.0

    def give(self, hold_s: float, not_before_s: float = 0.0) -> float:
        """The next slot goes to a request that will hold it for so long; returns when."""
        start_s = max(self.next_s(), not_before_s)
        if self and self._given % self._stride == 0:  # one of the sample stands for others too
            for free in self._draws:
                heapq.heapreplace(free, max(free[0], not_before_s) + hold_s)
        self._given += 1
        return start_s
