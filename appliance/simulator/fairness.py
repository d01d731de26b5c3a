"""How fairly users were served: the VTC paper's measure, and what a flood does to the others.

The service difference follows the paper's artefact (github.com/Ying1123/VTC-artifact): service is
input + 2 x output tokens spread over the time from first token to end, averaged in windows of 60
seconds at 100 points; at each point every user contributes the smaller of what he got less than
the best served user and of what he got less (or more) than he asked for.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance.limiter.fairness import OUTPUT_WEIGHT
from appliance.simulator.record import Record

POINTS = 100
WINDOW_S = 60.0


@dataclass(frozen=True)
class Difference:
    """Weighted tokens per second, summed over users."""

    mean: float
    most: float
    tokens_per_s: float


def service_difference(record: Record) -> Difference:
    """The paper's measure over all requests that were served."""
    at_s = np.asarray(record.at_s)
    last = np.asarray(record.last_s)
    users = np.asarray(record.users)
    outputs = np.asarray(record.outputs)
    cost = np.asarray(record.tokens) + OUTPUT_WEIGHT * outputs
    begin = at_s + np.asarray(record.first_s)
    end = at_s + last
    rate = np.where(end > begin, cost / np.maximum(end - begin, 1e-9), 0.0) * (last >= 0)
    points = np.arange(POINTS) * at_s.max() / POINTS
    sums: list[float] = []
    for point in points:
        low, high = point - WINDOW_S / 2, point + WINDOW_S / 2
        overlap = np.clip(np.minimum(high, end) - np.maximum(low, begin), 0.0, None)
        got = _by_user(users, rate * overlap) / WINDOW_S
        asked = _by_user(users, cost * ((at_s >= low) & (at_s <= high))) / WINDOW_S
        sums.append(float(np.minimum(got.max() - got, np.abs(asked - got)).sum()))
    total = int(np.sum((np.asarray(record.tokens) + outputs)[last >= 0]))
    return Difference(float(np.mean(sums)), max(sums), total / record.end_s)


def _by_user(
    users: npt.NDArray[np.int64], values: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    return np.bincount(users, weights=values).astype(np.float64)


@dataclass(frozen=True)
class Served:
    """What some users got, and how many tokens were computed for everybody."""

    first_p95_s: float
    last_p95_s: float
    tokens: int


def served(record: Record, *, without: str | None, from_s: float, until_s: float) -> Served:
    """p95 times of requests that arrived in the window, and the tokens computed in it.

    Users named `without` count for the tokens only. A prompt counts when its first token came, and
    an answer evenly from there to its end: what is under way at an edge of the window counts in
    part, for it may be much more under one rule than under another.
    """
    at_s, users = np.asarray(record.at_s), np.asarray(record.users)
    first, last = np.asarray(record.first_s), np.asarray(record.last_s)
    ended = last >= 0
    inside = (at_s >= from_s) & (at_s < until_s) & ended
    if without is not None and without in record.names:
        inside &= users != record.names[without]
    begin, end = at_s + first, at_s + last
    prompts = ended & (begin >= from_s) & (begin < until_s)
    over_s = np.clip(np.minimum(end, until_s) - np.maximum(begin, from_s), 0.0, None)
    part = np.where(end > begin, over_s / np.maximum(end - begin, 1e-9), prompts)
    outputs = (np.asarray(record.outputs) * part)[ended].sum()
    tokens = int(np.asarray(record.tokens)[prompts].sum() + outputs)
    return Served(_p95(first[inside]), _p95(last[inside]), tokens)


def _p95(values: npt.NDArray[np.float64]) -> float:
    return float(np.percentile(values, 95)) if len(values) else 0.0
