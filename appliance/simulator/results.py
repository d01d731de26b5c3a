"""The comparison's outcomes as a Markdown page and charts. It computes means, no verdicts."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from statistics import fmean

from appliance.placement.names import PolicyName
from appliance.simulator.charts import Panel, chart
from appliance.simulator.compare import (
    CALM_CASE,
    FLOOD_CASES,
    PLAIN_CASE,
    FairnessRun,
    FloodCase,
    FloodRun,
    Outcome,
    PlacementRun,
)
from appliance.simulator.world import CAPACITY_WORKERS

PAGE_NAME = "RESULTS.md"
ORDER: tuple[PolicyName, ...] = (
    "hybrid",
    "cost",
    "sglang",
    "pull",
    "least_connections",
    "weighted_round_robin",
    "round_robin",
)
TITLES: dict[PolicyName, str] = {
    "hybrid": "hybrid",
    "sglang": "SGLang-like",
    "pull": "pull",
    "cost": "cost + affinity",
    "least_connections": "least connections",
    "weighted_round_robin": "weighted round robin",
    "round_robin": "round robin",
}
LEAST_S = 1e-4  # what a logarithmic axis can show

HEAD = f"""# Scheduling, simulated

Made by `make bench-scheduling`; the numbers are means over seeds of a simulation, not
measurements of a machine. A seed chooses the slice of the trace, how wrong output predictions are
(log-normal, standard deviation 0.5), and when which worker is twice as slow without saying so (5 %
of the time). All policies see the same. Load 1 is the rate at which the same slice is served when
all of it waits from the start and workers pull; for more than {CAPACITY_WORKERS} workers as many
times as much as for {CAPACITY_WORKERS}. Parameters are the same for all traces, and were tuned on
other seeds. Worker model: an 8B model on one GPU (`constants.py`, "gpu").
"""


def write_results(outcomes: list[Outcome], folder: Path) -> Path:
    """Writes the page and its charts; returns the page's path."""
    placements = [run for run in outcomes if isinstance(run, PlacementRun)]
    parts = [HEAD]
    for trace in dict.fromkeys(run.trace for run in placements):
        mine = [run for run in placements if run.trace == trace]
        parts += ["", f"## Time to first token: {trace}", "", *_placement_table(mine), ""]
        for workers in sorted({run.workers for run in mine}):
            drawn = _chart([run for run in mine if run.workers == workers], trace, workers)
            if drawn:
                name = f"{trace}-{workers}.svg"
                (folder / name).write_text(drawn, encoding="utf-8")
                parts.append(f"![{trace}, {workers} workers]({name})")
    parts += _fairness([run for run in outcomes if isinstance(run, FairnessRun)])
    parts += _flood([run for run in outcomes if isinstance(run, FloodRun)])
    page = folder / PAGE_NAME
    page.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    return page


def _policies(runs: Iterable[PlacementRun]) -> list[PolicyName]:
    found = {run.policy for run in runs}
    return [policy for policy in ORDER if policy in found]


def _placement_table(runs: list[PlacementRun]) -> list[str]:
    policies = _policies(runs)
    lines = [
        "Mean / p99 in seconds, the least as printed in bold; refused requests, if any, in "
        "brackets.",
        "",
        "| workers | load | seeds | " + " | ".join(TITLES[p] for p in policies) + " |",
        "|---" * (3 + len(policies)) + "|",
    ]
    for workers, load in sorted({(run.workers, run.load) for run in runs}):
        cell = [run for run in runs if (run.workers, run.load) == (workers, load)]
        by = {policy: [run for run in cell if run.policy == policy] for policy in policies}
        seeds = set.intersection(*({run.seed for run in by[policy]} for policy in policies))
        if not seeds:
            continue
        kept = {policy: [run for run in by[policy] if run.seed in seeds] for policy in policies}
        mean = {policy: fmean(run.mean_s for run in kept[policy]) for policy in policies}
        p99 = {policy: fmean(run.p99_s for run in kept[policy]) for policy in policies}
        texts = []
        for policy in policies:
            refused = sum(run.refused for run in kept[policy])
            text = f"{_bold(mean, policy)} / {_bold(p99, policy)}"
            texts.append(f"{text} ({refused})" if refused else text)
        lines.append(f"| {workers} | {load} | {len(seeds)} | " + " | ".join(texts) + " |")
    return lines


def _bold(values: dict[PolicyName, float], policy: PolicyName) -> str:
    text = _seconds(values[policy])
    return f"**{text}**" if text == _seconds(min(values.values())) else text


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _chart(runs: list[PlacementRun], trace: str, workers: int) -> str:
    loads = sorted({run.load for run in runs})
    lines: dict[str, dict[str, list[float]]] = {"mean": {}, "p99": {}}
    for policy in _policies(runs):
        cells = [[r for r in runs if (r.policy, r.load) == (policy, load)] for load in loads]
        if not all(cells):
            return ""
        title = TITLES[policy]
        lines["mean"][title] = [max(LEAST_S, fmean(r.mean_s for r in cell)) for cell in cells]
        lines["p99"][title] = [max(LEAST_S, fmean(r.p99_s for r in cell)) for cell in cells]
    ticks = tuple(f"load {load}" for load in loads)
    panels = [
        Panel(f"{measure} time to first token", ticks, lines[measure], "s") for measure in lines
    ]
    return chart(f"{trace}, {workers} workers", panels)


def _fairness(runs: list[FairnessRun]) -> list[str]:
    if not runs:
        return []
    lines = [
        "",
        "## Fairness on the VTC trace",
        "",
        "Difference in weighted service between users (tokens/s, summed over users, mean over "
        "time), as the paper computes it. Published: first come first served 433, VTC 252, at 777 "
        "and 779 tokens/s.",
        "",
        "| limiter | seeds | mean difference | largest | tokens/s | refused |",
        "|---|---|---|---|---|---|",
    ]
    for limiter, title in (("none", "first come first served"), ("service", "limiter service")):
        mine = [run for run in runs if run.limiter == limiter]
        if mine:
            lines.append(
                f"| {title} | {len(mine)} | {fmean(r.difference for r in mine):.0f} "
                f"| {fmean(r.most for r in mine):.0f} | {fmean(r.tokens_per_s for r in mine):.0f} "
                f"| {sum(r.refused for r in mine)} |"
            )
    return lines


def _flood(runs: list[FloodRun]) -> list[str]:
    found = {(run.case, run.size, run.seed): run for run in runs}
    if not found:
        return []
    lines = [
        "",
        "## A flood",
        "",
        "The users of the VTC trace at a quarter of the load four workers can take, and one more "
        "who sends three times what they can take. p95 times of the others to their first token "
        "and to the end, in seconds and against those without a flood; and the tokens computed for "
        "all, against first come first served.",
        "",
        "Kept pace: `worker.kept_pace` is on, so what whoever has used more asked for may sit out "
        "steps, though not where those who go first bring less than half of the tokens per second "
        "of all: few of 64 do, for a step with one answer takes a third as long as one with all.",
        "",
        "| flooder's requests | limiter | seeds | first token p95, s | × no flood "
        "| whole answer p95, s | × no flood | throughput |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for size, case in product(sorted({run.size for run in runs}), FLOOD_CASES[1:]):
        # Compared over the seeds that all three have.
        seeds = {run.seed for run in runs}
        for needed in (CALM_CASE, PLAIN_CASE, case):
            seeds &= {seed for seed in seeds if (needed, size, seed) in found}
        if not seeds:
            continue
        calm, plain, hit = (
            [found[(one, size, seed)] for seed in sorted(seeds)]
            for one in (CALM_CASE, PLAIN_CASE, case)
        )
        first_s, last_s = (
            fmean(run.others_first_s for run in hit),
            fmean(run.others_last_s for run in hit),
        )
        title = "like the others'" if size == 1 else f"{size} times as long"
        lines.append(
            f"| {title} | {_met(case)} | {len(seeds)} "
            f"| {first_s:.3f} | {first_s / fmean(run.others_first_s for run in calm):.2f} "
            f"| {last_s:.1f} | {last_s / fmean(run.others_last_s for run in calm):.2f} "
            f"| {fmean(run.tokens for run in hit) / fmean(run.tokens for run in plain):.3f} |"
        )
    return lines


def _met(case: FloodCase) -> str:
    if case.limiter == "none":
        return "first come first served"
    return "limiter service" + (f", kept pace {case.kept_pace}" if case.kept_pace else "")
