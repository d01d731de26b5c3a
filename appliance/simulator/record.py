"""What is kept of a run: five numbers per request, and what is reported from them."""

from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.limiter.fairness import OUTPUT_WEIGHT
from appliance.simulator.workload import Arrival

NOT_SERVED = -1.0


@dataclass
class Record:
    """Filled by the world. Times are seconds; `first_s` and `last_s` count from the arrival."""

    workers: int
    at_s: "array[float]" = field(default_factory=lambda: array("d"))
    first_s: "array[float]" = field(default_factory=lambda: array("d"))
    last_s: "array[float]" = field(default_factory=lambda: array("d"))
    tokens: "array[int]" = field(default_factory=lambda: array("l"))
    outputs: "array[int]" = field(default_factory=lambda: array("l"))
    users: "array[int]" = field(default_factory=lambda: array("l"))
    names: dict[str, int] = field(default_factory=dict)
    promised_s: "array[float]" = field(default_factory=lambda: array("d"))
    waited_s: "array[float]" = field(default_factory=lambda: array("d"))
    refusals: Counter[str] = field(default_factory=Counter)
    busy_s: list[float] = field(default_factory=list)
    cached_tokens: int = 0
    input_tokens: int = 0
    end_s: float = 0.0

    def arrived(self, number: int, arrival: Arrival) -> None:
        assert number == len(self.at_s)
        self.at_s.append(arrival.at_s)
        self.first_s.append(NOT_SERVED)
        self.last_s.append(NOT_SERVED)
        self.tokens.append(arrival.input_tokens)
        self.outputs.append(arrival.output_tokens)
        self.users.append(self.names.setdefault(arrival.uid, len(self.names)))

    def refused(self, number: int, reason: str) -> None:
        self.refusals[reason] += 1

    def admitted(self, promised_s: float, waited_s: float) -> None:
        """A request that was told a time to wait got its slot."""
        self.promised_s.append(promised_s)
        self.waited_s.append(waited_s)

    def first_token(self, number: int, arrival: Arrival, now_s: float, cached: int) -> None:
        self.first_s[number] = now_s - arrival.at_s
        self.input_tokens += arrival.input_tokens
        self.cached_tokens += cached

    def ended(self, number: int, arrival: Arrival, now_s: float) -> None:
        self.last_s[number] = now_s - arrival.at_s
        self.end_s = max(self.end_s, now_s)

    def report(self) -> "Report":
        last = np.asarray(self.last_s)
        served = last >= 0
        first = np.asarray(self.first_s)[served]
        last = last[served]
        busy = np.asarray(self.busy_s)
        total = int(np.sum(np.asarray(self.tokens)[served] + np.asarray(self.outputs)[served]))
        return Report(
            served=int(served.sum()),
            refused=int((~served).sum()),
            tokens_per_s=total / self.end_s if self.end_s else 0.0,
            first=Spread.of(first),
            last=Spread.of(last),
            hit_rate=self.cached_tokens / self.input_tokens if self.input_tokens else 0.0,
            imbalance=float(busy.max() / busy.mean()) if busy.any() else 1.0,
            jain=self._jain(),
            kept=self._kept(),
            end_s=self.end_s,
        )

    def _kept(self) -> float:
        """Share of first promises within 30 % or 2 seconds of the real wait; 1 without any."""
        if not self.promised_s:
            return 1.0
        promised, waited = np.asarray(self.promised_s), np.asarray(self.waited_s)
        off_s = np.abs(promised - waited)
        return float(np.mean((off_s <= 0.3 * waited) | (off_s <= 2.0)))

    def _jain(self) -> float:
        """Jain's index over users of served weighted tokens per second of their waiting.

        A user's share is what was served of his demand per second of mean latency, so that equal
        service means an index of 1 whatever each user asked for.
        """
        users = np.asarray(self.users)
        last = np.asarray(self.last_s)
        cost = np.asarray(self.tokens) + OUTPUT_WEIGHT * np.asarray(self.outputs)
        served = last >= 0
        count = len(self.names)
        got = np.bincount(users[served], weights=cost[served], minlength=count)
        took = np.bincount(users[served], weights=last[served], minlength=count)
        share = got / np.maximum(took, 1e-9)
        return float(share.sum() ** 2 / (count * (share**2).sum())) if share.any() else 1.0


@dataclass(frozen=True)
class Spread:
    """Seconds."""

    mean: float
    p50: float
    p95: float
    p99: float

    @staticmethod
    def of(values: npt.NDArray[np.float64]) -> "Spread":
        if not len(values):
            return Spread(0.0, 0.0, 0.0, 0.0)
        p50, p95, p99 = np.percentile(values, [50, 95, 99])
        return Spread(float(values.mean()), float(p50), float(p95), float(p99))


@dataclass(frozen=True)
class Report:
    """`imbalance` is the busiest worker's time over the mean; `jain` is 1 when all fare alike.

    `kept` is the share of expected waits that came true.
    """

    served: int
    refused: int
    tokens_per_s: float
    first: Spread
    last: Spread
    hit_rate: float
    imbalance: float
    jain: float
    kept: float
    end_s: float
