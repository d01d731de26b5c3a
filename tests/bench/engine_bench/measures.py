"""Numbers from loads, and ratios from pairs. Pure: no clock, no server.

A ratio is always ours / theirs of the same round, so what the machine did in that round touches
both; the result is the median over the rounds. Of several settings of the other server the one
that does better over all rounds counts.
"""

import itertools
import statistics
from collections.abc import Sequence

import msgspec

from engine_bench.load import Load
from engine_bench.processes import Cost

MEGABYTE = 2**20


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """One workload on one server. Times in milliseconds; `cpu_ms_by_part` is per token too.

    `others_cores` is what neither server nor client used of the machine: above 0.1 the times are
    not to be trusted, unless a busy neighbour was meant.
    """

    tokens_per_s: float
    first_ms_p50: float
    first_ms_p95: float
    gap_ms_p50: float
    gap_ms_p99: float
    tokens_per_chunk: float
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    wall_s: float
    peak_mb: float
    proportional_mb: float
    cpu_ms_per_token: float
    cpu_ms_by_part: dict[str, float]
    client_cores: float
    others_cores: float


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What each side did with the same prompts; sides by name."""

    seed: int
    sides: dict[str, Measure]


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """Ours / theirs: the median over the rounds and the range; `ours`, `theirs` are medians."""

    median: float
    lowest: float
    highest: float
    ours: float
    theirs: float
    peer: str


def measure(load: Load, before: Cost, after: Cost) -> Measure:
    """The numbers of one load; `before` and `after` are the server's costs around it."""
    answers = load.answers
    tokens = sum(answer.completion_tokens for answer in answers)
    first_ms = [1000 * (a.text_at_s[0] - a.asked_at_s) for a in answers if a.text_at_s]
    gaps_ms = [
        1000 * (later - earlier)
        for answer in answers
        for earlier, later in itertools.pairwise(answer.text_at_s)
    ]
    used_s = {name: after.cpu_s[name] - before.cpu_s.get(name, 0.0) for name in after.cpu_s}
    machine_s = after.machine_cpu_s - before.machine_cpu_s
    others_s = machine_s - sum(used_s.values()) - load.client_cpu_s
    return Measure(
        tokens_per_s=tokens / load.wall_s,
        first_ms_p50=percentile(first_ms, 50),
        first_ms_p95=percentile(first_ms, 95),
        gap_ms_p50=percentile(gaps_ms, 50),
        gap_ms_p99=percentile(gaps_ms, 99),
        tokens_per_chunk=tokens / max(1, sum(len(answer.text_at_s) for answer in answers)),
        tokens=tokens,
        prompt_tokens=sum(answer.prompt_tokens for answer in answers),
        cached_tokens=sum(answer.cached_tokens for answer in answers),
        wall_s=load.wall_s,
        peak_mb=after.peak_bytes / MEGABYTE,
        proportional_mb=after.proportional_bytes / MEGABYTE,
        cpu_ms_per_token=1000 * sum(used_s.values()) / max(1, tokens),
        cpu_ms_by_part={name: 1000 * s / max(1, tokens) for name, s in used_s.items()},
        client_cores=load.client_cpu_s / load.wall_s,
        others_cores=max(0.0, others_s) / load.wall_s,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of them lie, between neighbours linearly; 0 of none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def ratio(
    rounds: Sequence[Round], name: str, *, ours: str, peers: Sequence[str], higher: bool
) -> Ratio:
    """Of one measure, against whichever peer has the better median of it (`higher` is better).

    Peers that were not in every round do not count; there must be one that was.
    """
    whole = [peer for peer in peers if all(peer in one.sides for one in rounds)]
    medians = {peer: statistics.median(_value(one, peer, name) for one in rounds) for peer in whole}
    best = (max if higher else min)(medians, key=lambda peer: medians[peer])
    ratios = [_divided(_value(one, ours, name), _value(one, best, name)) for one in rounds]
    return Ratio(
        median=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        ours=statistics.median(_value(one, ours, name) for one in rounds),
        theirs=medians[best],
        peer=best,
    )


def _value(one: Round, side: str, name: str) -> float:
    return float(getattr(one.sides[side], name))


def _divided(ours: float, theirs: float) -> float:
    return ours / theirs if theirs else 0.0
