"""`make bench-engine`: builds the peer, plays the rounds, prints the table, draws the chart."""

import argparse
import platform
import signal
import subprocess
import sys
from pathlib import Path

import platformdirs
import psutil

from engine_bench import report, rounds, workloads
from engine_bench.build import BuildError, llama_server
from engine_bench.load import AskError
from engine_bench.measures import Round
from engine_bench.peers import ROOT, Machine, StartError, default_threads
from engine_bench.workloads import UnknownWorkload

OUTPUT = ROOT / "build" / "bench-engine"
BUSY_PERCENT = 10.0
QUICK_WORKLOADS = "raw-1,raw-4,shared-8"


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers are stopped then too
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        say("stopped; finished rounds are kept")
        return 130
    except (BuildError, StartError, AskError, UnknownWorkload, TimeoutError) as error:
        say(f"{type(error).__name__}: {error or 'a turn took too long'}")
        return 1


def _run(arguments: argparse.Namespace) -> int:
    wanted = arguments.only or (QUICK_WORKLOADS if arguments.quick else "")
    names = workloads.chosen(wanted, arguments.users)
    machine = Machine(
        llama_server=llama_server(say),
        models=platformdirs.user_cache_path("sluice", appauthor=False) / "models",
        threads=arguments.threads or default_threads(),
        logs=OUTPUT,
        shares_libraries=arguments.shared_libraries,
    )
    busy = psutil.cpu_percent(interval=1)
    if busy > BUSY_PERCENT:
        say(f"the machine is {busy:.0f} % busy with other things: the times will be noisy")
    name = "quick" if arguments.quick else "results"
    kept = OUTPUT / f"{name}{'-shared' if arguments.shared_libraries else ''}.json"
    for workload in names:
        _measure(workload, arguments, machine, kept)
    results = report.load(kept)
    text = report.markdown(results, workloads.names())
    kept.with_suffix(".md").write_text(text, encoding="utf-8")
    chart = report.chart(results, workloads.names())
    charted = kept.with_suffix(".svg")
    charted.write_text(chart, encoding="utf-8")
    if arguments.chart:
        arguments.chart.write_text(chart, encoding="utf-8")
    sys.stdout.write(text)
    say(f"kept in {kept}, {kept.with_suffix('.md').name} and {charted.name}")
    return 0


def _measure(name: str, arguments: argparse.Namespace, machine: Machine, kept: Path) -> None:
    """Plays one workload and keeps what came of it after each round."""
    sides = rounds.sides(name, passive=arguments.passive)
    size = workloads.QUICK if arguments.quick else workloads.WHOLE
    count = 1 if arguments.quick else arguments.pairs
    played: list[Round] = []
    for one, commands in rounds.play(name, sides=sides, rounds=count, size=size, machine=machine):
        played.append(one)
        speeds = ", ".join(f"{side} {m.tokens_per_s:.1f}" for side, m in one.sides.items())
        say(f"{name}, round {len(played)} of {count}, tokens/s: {speeds}")
        result = report.Result(
            commit=_commit(),
            threads=machine.threads,
            commands={side: commands[side] for side in sides},
            rounds=played,
        )
        report.save(kept, report.load(kept).replaced(name, result, machine=_machine()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-engine", description=__doc__)
    parser.add_argument("--pairs", type=_positive, default=5, help="rounds per workload")
    parser.add_argument(
        "--only", default="", help="raw, shared, chat, faq, neighbour, or raw-8 ..."
    )
    parser.add_argument("--users", type=_positive, help="only raw and shared with this many users")
    parser.add_argument("--threads", type=_positive, help="compute threads; default: the cores")
    parser.add_argument("--passive", action="store_true", help="the third thread setting always")
    parser.add_argument(
        "--shared-libraries", action="store_true", help="give llama-server our llama.cpp"
    )
    parser.add_argument("--quick", action="store_true", help="one small round of a few workloads")
    parser.add_argument("--chart", type=Path, help="write the chart here too")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def say(line: str) -> None:
    """A line of progress for a person."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _commit() -> str:
    """The commit measured, marked when files differ from it."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "?"


def _machine() -> str:
    memory_gb = psutil.virtual_memory().total / 2**30
    return f"{_processor()}, {psutil.cpu_count(logical=False)} cores, {memory_gb:.0f} GB"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
