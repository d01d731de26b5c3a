"""The comparison: every policy on the same runs, and the two experiments on fairness.

Each finished run is one line of `runs.jsonl` in the output folder, so that a comparison that was
stopped goes on where it was, and the tables (`results`) can be made again from what is there.
Seeds below 1000 are reported; parameters were tuned on seeds from 1000 on only.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import msgspec

from appliance.errors import NotFound
from appliance.limiter.core import Rules
from appliance.limiter.tiers import Tier
from appliance.placement.names import PolicyName
from appliance.simulator.constants import BUILT_IN
from appliance.simulator.fairness import served, service_difference
from appliance.simulator.trace import TraceRequest, read_trace
from appliance.simulator.workload import FLOODER, Disturbance, Flood, Workload
from appliance.simulator.world import LimiterName, Scene, World, capacity

TRACES = {
    "mooncake": "mooncake/conversation_trace.jsonl",
    "azure-conversation": "azure_llm_2023/AzureLLMInferenceTrace_conv.csv",
    "azure-code": "azure_llm_2023/AzureLLMInferenceTrace_code.csv",
}
VTC_TRACE = "vtc_lmsys_trace/lmsys_real_trace.csv"
COMPARED: tuple[PolicyName, ...] = (
    "hybrid",
    "cost",
    "sglang",
    "pull",
    "least_connections",
    "round_robin",
)
LOADS = (0.5, 0.8, 0.95)
SMALL, LARGE = (2, 4, 8), 1000
LARGE_REQUESTS = 50_000
RUNS_NAME = "runs.jsonl"

FLOOD_WORKERS = 4
FLOOD_UNTIL_S = 240.0
FLOOD_WARM_S = 60.0
FLOOD_SIZES = (1, 4)
OTHERS_LOAD, FLOOD_LOAD = 0.25, 3.0
KEPT_PACE = 0.9  # as `worker.kept_pace`


class PlacementRun(msgspec.Struct, frozen=True, tag="placement"):
    """One policy on one workload. Times to first token in seconds."""

    trace: str
    workers: int
    load: float
    seed: int
    policy: PolicyName
    mean_s: float
    p99_s: float
    latency_s: float
    hit_rate: float
    imbalance: float
    refused: int


class FairnessRun(msgspec.Struct, frozen=True, tag="fairness"):
    """The VTC trace through one limiter: the paper's service difference."""

    limiter: LimiterName
    seed: int
    difference: float
    most: float
    tokens_per_s: float
    refused: int


class FloodCase(msgspec.Struct, frozen=True):
    """How a flood is met, or that there is none."""

    limiter: LimiterName
    flooded: bool
    kept_pace: float


FLOOD_CASES = (
    CALM_CASE := FloodCase("none", False, 0.0),
    PLAIN_CASE := FloodCase("none", True, 0.0),
    FloodCase("service", True, 0.0),
    FloodCase("service", True, KEPT_PACE),
)


class FloodRun(msgspec.Struct, frozen=True, tag="flood"):
    """The others' p95 time to first token and to the end, and everybody's tokens."""

    case: FloodCase
    size: int
    seed: int
    others_first_s: float
    others_last_s: float
    tokens: int


Outcome = PlacementRun | FairnessRun | FloodRun


@dataclass(frozen=True)
class Plan:
    """What is compared. Smaller plans are for trying out and for tests."""

    traces: tuple[str, ...] = tuple(TRACES)
    workers: tuple[int, ...] = (*SMALL, LARGE)
    loads: tuple[float, ...] = LOADS
    seeds: int = 10
    requests_per_worker: int = 500
    policies: tuple[PolicyName, ...] = COMPARED
    fairness: bool = True


def compare(plan: Plan, traces: Path, output: Path, told: Callable[[str], None]) -> list[Outcome]:
    """Runs what `output` does not hold yet; returns all outcomes. `told` hears of progress."""
    for name in [
        *(TRACES[trace] for trace in plan.traces),
        *([VTC_TRACE] if plan.fairness else []),
    ]:
        if not (traces / name).is_file():
            raise NotFound(
                f"there is no trace {traces / name}",
                hint="name the folder that holds mooncake/, azure_llm_2023/ and vtc_lmsys_trace/",
            )
    output.mkdir(parents=True, exist_ok=True)
    path = output / RUNS_NAME
    outcomes = read_outcomes(path)
    with path.open("ab") as sink:
        for outcome in _outstanding(plan, traces, outcomes):
            outcomes.append(outcome)
            sink.write(msgspec.json.encode(outcome) + b"\n")
            sink.flush()
            told(str(outcome))
    return outcomes


def read_outcomes(path: Path) -> list[Outcome]:
    """Finished runs; a line cut short by a stop is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [msgspec.json.decode(line, type=Outcome) for line in lines]


# Below: helpers in call order.


def _outstanding(plan: Plan, traces: Path, done: list[Outcome]) -> Iterator[Outcome]:
    if plan.fairness:
        vtc = read_trace(traces / VTC_TRACE)
        yield from _fairness(
            plan, vtc, {(r.limiter, r.seed) for r in done if isinstance(r, FairnessRun)}
        )
        yield from _floods(
            plan, vtc, {(r.case, r.size, r.seed) for r in done if isinstance(r, FloodRun)}
        )
    finished = {
        (r.trace, r.workers, r.load, r.seed, r.policy) for r in done if isinstance(r, PlacementRun)
    }
    for seed in range(plan.seeds):
        for workers in plan.workers:
            for trace in plan.traces if workers < LARGE else plan.traces[:1]:
                yield from _placements(plan, trace, workers, seed, traces, finished)


_Finished = set[tuple[str, int, float, int, PolicyName]]


def _placements(
    plan: Plan, trace: str, workers: int, seed: int, traces: Path, finished: _Finished
) -> Iterator[PlacementRun]:
    """All loads and policies on one slice of one trace."""
    wanted = [
        (load, policy)
        for load in plan.loads
        for policy in plan.policies
        if (trace, workers, load, seed, policy) not in finished
    ]
    if not wanted:
        return
    count = min(LARGE_REQUESTS, plan.requests_per_worker * max(4, workers))
    constants = BUILT_IN["gpu"]
    requests = read_trace(traces / TRACES[trace])
    full = capacity(constants, workers, Workload(requests, count, 1.0, seed))
    for load, policy in wanted:
        workload = Workload(requests, count, load * full, seed)
        report = World(Scene(constants, workers, policy), workload).run().report()
        yield PlacementRun(
            trace,
            workers,
            load,
            seed,
            policy,
            report.first.mean,
            report.first.p99,
            report.last.mean,
            report.hit_rate,
            report.imbalance,
            report.refused,
        )


def _patient(waiting: int) -> Rules:
    """Rules that let everybody wait, so that only the order is compared."""
    return Rules(
        tiers={"standard": Tier(waiting=waiting)}, waiting=waiting, news_interval_s=float("inf")
    )


def _fairness(
    plan: Plan, vtc: list[TraceRequest], done: set[tuple[LimiterName, int]]
) -> Iterator[FairnessRun]:
    rate = len(vtc) / vtc[-1].at_s
    limiters: tuple[LimiterName, ...] = ("none", "service")
    for seed in range(plan.seeds):
        for limiter in limiters:
            if (limiter, seed) in done:
                continue
            # The whole trace in its own order: the seed is in the predictions only.
            workload = Workload(vtc, len(vtc), rate, seed, Disturbance(slow_share=0.0), start=0)
            scene = Scene(BUILT_IN["vtc"], 1, "pull", limiter, _patient(len(vtc)))
            record = World(scene, workload).run()
            found = service_difference(record)
            refused = record.report().refused
            yield FairnessRun(limiter, seed, found.mean, found.most, found.tokens_per_s, refused)


def _floods(
    plan: Plan, vtc: list[TraceRequest], done: set[tuple[FloodCase, int, int]]
) -> Iterator[FloodRun]:
    constants = BUILT_IN["gpu"]
    rules = Rules(waiting=4096, news_interval_s=float("inf"))
    for case, seed, size in product(FLOOD_CASES, range(plan.seeds), FLOOD_SIZES):
        if (case, size, seed) in done:
            continue
        full = capacity(constants, FLOOD_WORKERS, Workload(vtc, len(vtc), 1.0, seed))
        rate = OTHERS_LOAD * full
        others = Workload(vtc, int(rate * FLOOD_UNTIL_S), rate, seed)
        flood_rate = FLOOD_LOAD * full / size if case.flooded else 0.0
        scene = Scene(constants, FLOOD_WORKERS, "hybrid", case.limiter, rules, case.kept_pace)
        record = World(scene, Flood(others, flood_rate, size, FLOOD_UNTIL_S)).run()
        got = served(record, without=FLOODER, from_s=FLOOD_WARM_S, until_s=FLOOD_UNTIL_S)
        yield FloodRun(case, size, seed, got.first_p95_s, got.last_p95_s, got.tokens)
