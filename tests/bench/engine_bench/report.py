"""The table and the chart from measured rounds, and the file that keeps them.

A run of some workloads replaces those in the file and leaves the others; each says at which
commit it was measured.
"""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from engine_bench.chart import Bar, svg
from engine_bench.measures import Ratio, Round, ratio
from engine_bench.peers import BOUNDED, DEFAULT, PASSIVE, PEERS, SLUICE


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Rounds of one workload, with the circumstances."""

    commit: str
    threads: int
    commands: dict[str, str]
    rounds: list[Round]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything measured on this machine, by workload."""

    machine: str = ""
    workloads: dict[str, Result] = {}

    def replaced(self, workload: str, result: Result, *, machine: str) -> "Results":
        return Results(machine=machine, workloads=self.workloads | {workload: result})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A measure with its goal: `higher` is whether more is better."""

    measure: str
    title: str
    higher: bool
    goal: float | None = None
    peers: tuple[str, ...] = PEERS
    drawn: bool = False

    def met(self, value: float) -> bool:
        """Whether a ratio reaches the goal; without one always."""
        if self.goal is None:
            return True
        return value >= self.goal if self.higher else value <= self.goal


SPEED = Row(measure="tokens_per_s", title="tokens/s", higher=True, goal=1.0, drawn=True)
FIRST = Row(measure="first_ms_p95", title="first token p95, ms", higher=False, goal=1.0, drawn=True)
FIRST_MIDDLE = Row(measure="first_ms_p50", title="first token p50, ms", higher=False)
GAPS = (
    Row(measure="gap_ms_p50", title="gap p50, ms", higher=False),
    Row(measure="gap_ms_p99", title="gap p99, ms", higher=False),
)
CPU = Row(measure="cpu_ms_per_token", title="CPU per token, ms", higher=False)
MEMORY = Row(measure="peak_mb", title="peak memory, MB", higher=False)
TUNED = (BOUNDED, PASSIVE)


def rows(workload: str) -> tuple[Row, ...]:
    """What is compared of a workload."""
    kind = workload.partition("-")[0]
    if kind == "shared":
        goal = msgspec.structs.replace(FIRST, goal=0.3)
        return (goal, msgspec.structs.replace(FIRST_MIDDLE, goal=0.3), _without_goal(SPEED))
    if kind in ("chat", "faq"):
        return (msgspec.structs.replace(SPEED, goal=1.2), _without_goal(FIRST), CPU, MEMORY)
    if kind == "neighbour":
        default = msgspec.structs.replace(
            SPEED, title="tokens/s, its default", goal=2.5, peers=(DEFAULT,)
        )
        return (default, msgspec.structs.replace(SPEED, title="tokens/s, its tuned", peers=TUNED))
    return (SPEED, FIRST_MIDDLE, FIRST, *GAPS, CPU, MEMORY)


def _without_goal(row: Row) -> Row:
    return msgspec.structs.replace(row, goal=None, drawn=False)


def load(path: Path) -> Results:
    """The kept results; none where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=Results) if path.exists() else Results()


def save(path: Path, results: Results) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results)))


def markdown(results: Results, order: Sequence[str]) -> str:
    """The table of ratios, what each side was started with, and where the CPU time went."""
    lines = [
        f"Sluice beside llama-server on {results.machine}. Ratio: ours / theirs per round, median "
        "(lowest to highest); theirs with the better of its thread settings.",
        "",
        "| workload | measure | ours | theirs | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    measured = [name for name in order if name in results.workloads]
    for name in measured:
        result = results.workloads[name]
        lines += [_line(name, row, _ratio(result, row)) for row in rows(name)]
    lines += [
        "",
        "| workload | side | rounds | tokens | prompt | cached | per chunk | CPU ms/token |",
    ]
    lines.append("|---|---|---|---|---|---|---|---|")
    for name in measured:
        lines += _costs(name, results.workloads[name])
    lines += ["", *_circumstances(results, measured)]
    return "\n".join(lines) + "\n"


def chart(results: Results, order: Sequence[str]) -> str:
    """The measures with goals as bars: how many times better than llama-server."""
    bars = []
    for name in order:
        result = results.workloads.get(name)
        for row in rows(name) if result else ():
            if result and row.drawn:
                found = _ratio(result, row).median
                factor = found if row.higher else 1 / found if found else 0.0
                bars.append(Bar(f"{described(name)}: {row.title.removesuffix(', ms')}", factor))
    return svg(
        bars,
        title="Sluice beside llama-server: how many times better",
        note=f"same llama.cpp release, model, prompts, threads; {results.machine}",
    )


def described(workload: str) -> str:
    """A workload in words."""
    kind, _, users = workload.partition("-")
    people = f"{users} user{'s' if users != '1' else ''}"
    words = {"raw": people, "shared": f"shared prefix, {people}", "neighbour": "busy core"}
    return words.get(kind, kind)


def _ratio(result: Result, row: Row) -> Ratio:
    return ratio(result.rounds, row.measure, ours=SLUICE, peers=row.peers, higher=row.higher)


def _line(name: str, row: Row, found: Ratio) -> str:
    goal = "" if row.goal is None else f"{'≥' if row.higher else '≤'} {row.goal}"
    mark = "" if row.goal is None else "met" if row.met(found.median) else "**missed**"
    peer = "" if found.peer == DEFAULT else f" ({found.peer.partition(', ')[2]})"
    return (
        f"| {described(name)} | {row.title} | {found.ours:.1f} | {found.theirs:.1f}{peer} | "
        f"{found.median:.2f} ({found.lowest:.2f} to {found.highest:.2f}) | {goal} | {mark} |"
    )


def _costs(name: str, result: Result) -> list[str]:
    lines = []
    for side in result.commands:
        all_of = [one.sides[side] for one in result.rounds]
        last = all_of[-1]
        cpu = ", ".join(f"{part} {ms:.2f}" for part, ms in last.cpu_ms_by_part.items())
        lines.append(
            f"| {described(name)} | {side} | {len(all_of)} | {sum(one.tokens for one in all_of)} | "
            f"{sum(one.prompt_tokens for one in all_of)} | "
            f"{sum(one.cached_tokens for one in all_of)} | {last.tokens_per_chunk:.2f} | {cpu} |"
        )
    return lines


def _circumstances(results: Results, measured: Sequence[str]) -> list[str]:
    lines = []
    for name in measured:
        result = results.workloads[name]
        turns = [measure for one in result.rounds for measure in one.sides.values()]
        client = max(measure.client_cores for measure in turns)
        others = max(measure.others_cores for measure in turns)
        lines.append(
            f"- {described(name)}: commit {result.commit}, {result.threads} threads; "
            f"the client used at most {client:.1%} of a core, other processes {others:.1%}"
        )
        lines += [f"  - {side}: `{command}`" for side, command in result.commands.items()]
    return lines
