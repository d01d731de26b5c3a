"""Rounds: in each, every side answers the same new prompts; who goes first alternates."""

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence

from engine_bench import load
from engine_bench.measures import Measure, Round, measure
from engine_bench.peers import BOUNDED, DEFAULT, PASSIVE, SLUICE, Machine, running
from engine_bench.processes import cost
from engine_bench.workloads import Conversation, Size, Workload, make

TURN_TIMEOUT_S = 600.0
WARM_UP = Conversation(user="warm-up", system="Be brief.", questions=("Say hello.",))


def sides(workload: str, *, passive: bool) -> tuple[str, ...]:
    """Who takes part: beside a busy core the passive setting always does."""
    peers = (
        (DEFAULT, BOUNDED, PASSIVE) if passive or workload == "neighbour" else (DEFAULT, BOUNDED)
    )
    return (SLUICE, *peers)


def play(
    name: str, *, sides: Sequence[str], rounds: int, size: Size, machine: Machine
) -> Iterator[tuple[Round, dict[str, str]]]:
    """Rounds of one workload among the named sides, with the command line of each side.

    Raises StartError, AskError and TimeoutError.
    """
    for number in range(rounds):
        workload = make(name, number, size)
        order = sides if number % 2 == 0 else sides[::-1]
        measured: dict[str, Measure] = {}
        commands: dict[str, str] = {}
        for side in order:
            measured[side], commands[side] = turn(side, workload, machine)
        yield Round(seed=number, sides=measured), commands


def turn(side: str, workload: Workload, machine: Machine) -> tuple[Measure, str]:
    """A fresh server answers a workload after one short question that warms it up."""
    warm_up = dataclasses.replace(workload, users=1, conversations=(WARM_UP,), max_tokens=8)
    with running(side, workload, machine) as server:
        asyncio.run(load.run(server.door, warm_up, timeout_s=TURN_TIMEOUT_S))
        before = cost(server.pid)
        brought = asyncio.run(load.run(server.door, workload, timeout_s=TURN_TIMEOUT_S))
        return measure(brought, before, cost(server.pid)), server.command
