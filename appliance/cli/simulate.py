"""`sluice simulate`: a trace on simulated workers through the live policies, or the comparison."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from appliance.errors import EXIT_OK, Invalid
from appliance.placement.names import PolicyName

if TYPE_CHECKING:
    from appliance.simulator.record import Report

WORKERS_MOST = 10_000
REQUESTS_MOST = 5_000_000


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="Mooncake .jsonl, Azure 2023 or VTC/LMSYS .csv"
    )
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="default 4")
    parser.add_argument(
        "--policy", choices=get_args(PolicyName), default="hybrid", help="default hybrid"
    )
    parser.add_argument(
        "--limiter",
        choices=("none", "service"),
        default="none",
        help="who is let in: all in order of arrival (default), or the limiter service's rules",
    )
    parser.add_argument(
        "--load", type=float, metavar="X", help="1 is what the workers can take; default as traced"
    )
    parser.add_argument("--requests", type=int, metavar="N", help="default: the whole trace once")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    parser.add_argument(
        "--noise", type=float, default=0.5, help="standard deviation of ln(predicted/true output)"
    )
    parser.add_argument(
        "--slow", type=float, default=0.05, help="share of time a worker is secretly slower"
    )
    parser.add_argument("--slow-factor", type=float, default=2.0, help="how many times slower")
    parser.add_argument(
        "--kept-pace",
        type=float,
        default=0.0,
        metavar="X",
        help="part of a worker's time for users who have used less, as worker.kept_pace; default 0",
    )
    parser.add_argument(
        "--model", default="gpu", metavar="NAME|FILE", help="worker constants: gpu, cpu or a file"
    )
    parser.add_argument(
        "--compare", type=Path, metavar="FOLDER", help="all policies on the traces in this folder"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where --compare writes")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="of --compare")
    parser.add_argument(
        "--sizes", default="2,4,8,1000", metavar="N,N", help="numbers of workers of --compare"
    )
    parser.set_defaults(run=simulate)


def simulate(arguments: argparse.Namespace) -> int:
    """Runs and prints; raises Invalid for what cannot be simulated."""
    # Vectors on many threads would only take cores from others.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.compare is not None:
        return _compare(arguments)
    _check(arguments)
    from appliance.simulator.constants import read_constants
    from appliance.simulator.trace import read_trace
    from appliance.simulator.workload import Disturbance, Workload
    from appliance.simulator.world import Scene, World, capacity

    constants = read_constants(arguments.model)
    trace = read_trace(arguments.trace)
    count = arguments.requests or len(trace)
    disturbance = Disturbance(
        noise=arguments.noise, slow_share=arguments.slow, slow_factor=arguments.slow_factor
    )
    rate = len(trace) / max(trace[-1].at_s, 1e-9)
    workload = Workload(trace, count, rate, arguments.seed, disturbance)
    if arguments.load is not None:
        rate = arguments.load * capacity(constants, arguments.workers, workload)
        workload = Workload(trace, count, rate, arguments.seed, disturbance)
    scene = Scene(
        constants,
        arguments.workers,
        arguments.policy,
        arguments.limiter,
        kept_pace=arguments.kept_pace,
    )
    record = World(scene, workload).run()
    _print(record.report(), dict(record.refusals), rate)
    return EXIT_OK


def _check(arguments: argparse.Namespace) -> None:
    if arguments.trace is None:
        raise Invalid("no trace was given", hint="name one with --trace, or use --compare")
    if not 1 <= arguments.workers <= WORKERS_MOST:
        raise Invalid(f"--workers must be 1 to {WORKERS_MOST}")
    if arguments.requests is not None and not 1 <= arguments.requests <= REQUESTS_MOST:
        raise Invalid(f"--requests must be 1 to {REQUESTS_MOST}")
    if arguments.load is not None and arguments.load <= 0:
        raise Invalid("--load must be above 0")
    if not (arguments.noise >= 0 and 0 <= arguments.slow < 1 and arguments.slow_factor > 0):
        raise Invalid("--noise must not be negative, --slow below 1, --slow-factor above 0")
    if not 0 <= arguments.kept_pace < 1:
        raise Invalid("--kept-pace must be at least 0 and below 1")


def _print(report: "Report", refusals: dict[str, int], rate: float) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refusals.items()))
    for name, spread in (("time to first token", report.first), ("total latency", report.last)):
        table.add_row(
            name,
            f"mean {spread.mean:.3f}  p50 {spread.p50:.3f}  p95 {spread.p95:.3f}  "
            f"p99 {spread.p99:.3f} s",
        )
    table.add_row("throughput", f"{report.tokens_per_s:,.0f} tokens/s, {report.served:,} requests")
    table.add_row("arrivals", f"{rate:.3f} requests/s, over after {report.end_s:,.0f} s")
    table.add_row("KV hit rate", f"{report.hit_rate:.3f} of prompt tokens")
    table.add_row("load imbalance", f"{report.imbalance:.3f} busiest worker over the mean")
    table.add_row("Jain's index", f"{report.jain:.3f} over users")
    table.add_row("waits as told", f"{report.kept:.3f} within 30 % or 2 s of the first estimate")
    table.add_row("refused", f"{report.refused:,} {reasons}".rstrip())
    Console(width=None if sys.stdout.isatty() else 400).print(table)


def _compare(arguments: argparse.Namespace) -> int:
    from appliance.simulator.compare import Plan, compare
    from appliance.simulator.results import write_results

    try:
        sizes = tuple(int(size) for size in arguments.sizes.split(","))
    except ValueError:
        raise Invalid("--sizes must be numbers with commas between them") from None
    if arguments.output is None or arguments.seeds < 1 or not sizes or min(sizes) < 1:
        raise Invalid("--compare needs --output, at least one seed and sizes above 0")
    plan = Plan(workers=sizes, seeds=arguments.seeds)

    def told(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    outcomes = compare(plan, arguments.compare, arguments.output, told)
    page = write_results(outcomes, arguments.output)
    sys.stdout.write(f"{page}\n")
    return EXIT_OK
