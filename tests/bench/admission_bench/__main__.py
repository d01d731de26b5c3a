"""Runs the scenes and prints one table. `--quick` is a third of it."""

import argparse
import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import platformdirs
from served import many_asking, served

from admission_bench.load import Answered, Client, backlog, flood, polite

SLOTS = 4
APART = {"polite": "polite", "flooder": "flooder"}
TOGETHER = {"polite": "everybody", "flooder": "everybody"}
SETTINGS = f"""
[models]
directory = "{platformdirs.user_cache_path("sluice") / "models"}"
[worker]
slots = {SLOTS}
draft_tokens = 0
[limiter]
queue_bound_per_user = 400
"""
"""Guessed tokens would make a made-up answer far quicker than its steps say."""
FLOOD_BEFORE_S = 10.0
FLOOD_AT_ONCE = 60
IN_ORDER = 2  # questions behind a whole flood; each waits for minutes
LENGTHS = (20, 60, 150)  # tokens of answers in bursts
LEARNED_FROM = 80  # answers, before bursts
HARDLY_S = 0.05  # ratios of less than this say nothing

Row = tuple[str, str, str]


@asynccontextmanager
async def appliance(uids: dict[str, str], engine: str) -> AsyncIterator[Client]:
    """A fresh one, and a client of it."""
    with served(SETTINGS, engine=engine) as running:
        async with many_asking(running) as http:
            client = Client(http, uids | {"before": "before"}, real=engine == "llama")
            for _ in range(8):  # what answers take is learned before it is promised
                await client.ask("before")
            client.answers.clear()
            yield client


Scene = Callable[[Client], Awaitable[None]]


async def played(scene: Scene, uids: dict[str, str], engine: str = "fake") -> list[Answered]:
    async with appliance(uids, engine) as client:
        await scene(client)
        return client.answers


PARTS: dict[str, Callable[[Answered], float]] = {
    "wait for a slot": lambda one: one.admitted_s - one.asked_s,
    "slot to first word": lambda one: one.first_s - one.admitted_s,
    "first word to end": lambda one: one.ended_s - one.first_s,
    "first word": lambda one: one.first_s - one.asked_s,
    "whole answer": lambda one: one.latency_s,
}
"""What of a latency is waiting for others, and what is sharing the engine with them."""


def p95(answers: list[Answered], part: str) -> float:
    """Of the polite one's answers, in seconds."""
    times = sorted(PARTS[part](one) for one in answers if one.who == "polite" and one.end == "done")
    return times[min(len(times) - 1, int(0.95 * len(times)))]


def jain(answers: list[Answered]) -> float:
    """Over tokens served to each until the first of them has nothing waiting any more."""
    names = sorted({one.who for one in answers})
    until_s = min(max(one.admitted_s for one in answers if one.who == who) for who in names)
    tokens = [
        sum(one.tokens for one in answers if one.who == who and one.admitted_s <= until_s)
        for who in names
    ]
    return sum(tokens) ** 2 / (len(tokens) * sum(count * count for count in tokens))


def honest(answers: list[Answered]) -> float:
    """Share of first promises within 30 % or 2 s of the real wait."""
    promised = [one for one in answers if one.promised_s is not None and one.admitted_s]
    kept = sum(
        abs(one.admitted_s - one.asked_s - one.promised_s) <= max(2.0, 0.3 * one.promised_s)
        for one in promised
        if one.promised_s is not None
    )
    return kept / len(promised) if promised else float("nan")


async def bursts(client: Client, requests: int) -> None:
    """Bursts of questions of unequal length by several people, with pauses between them.

    What came before them, one answer at a time and then slots full of them, has been learned from.
    """
    chance = random.Random(11)
    client.uids |= {f"p{n}": f"p{n}" for n in range(6)}
    for _ in range(LEARNED_FROM // SLOTS):
        lengths = [chance.choice(LENGTHS) for _ in range(SLOTS)]
        await asyncio.gather(*(client.ask(f"p{n}", lengths[n]) for n in range(SLOTS)))
    client.answers.clear()
    asked: list[Awaitable[Answered]] = []
    while len(asked) < requests:
        for _ in range(chance.randint(4, 24)):
            who = f"p{chance.randrange(6)}"
            asked.append(asyncio.ensure_future(client.ask(who, chance.choice(LENGTHS))))
        await asyncio.sleep(chance.uniform(1.0, 8.0))
    await asyncio.gather(*asked)


async def alone(client: Client, asked: int) -> None:
    await polite(client, asked)


async def flooded(client: Client, asked: int) -> None:
    flooding = asyncio.create_task(flood(client, 20 * asked, FLOOD_AT_ONCE))
    await asyncio.sleep(FLOOD_BEFORE_S)
    await polite(client, asked)
    flooding.cancel()
    await asyncio.wait([flooding])


def beside(quiet: list[Answered], others: dict[str, list[Answered]]) -> list[Row]:
    """What the polite one's answers take, alone and flooded."""
    rows: list[Row] = []
    for name in PARTS:
        base = p95(quiet, name)
        rows.append((f"polite p95, {name}, alone", f"{base:.2f} s", ""))
        for how, answers in others.items():
            found = p95(answers, name)
            times = f"{found / base:.2f} x" if base >= HARDLY_S else ""
            target = "at most 1.2 x" if how == "fair" and name == "whole answer" else ""
            rows.append((f"  flooded, {how}", f"{found:.2f} s", f"{times}  {target}"))
    return rows


async def main(scale: int, engine: str) -> int:
    count = 8 * scale
    quiet = await played(lambda client: alone(client, count), APART, engine)
    fair = await played(lambda client: flooded(client, count), APART, engine)
    if engine == "llama":
        show(beside(quiet, {"fair": fair}))
        return 0
    in_order = await played(lambda client: flooded(client, IN_ORDER), TOGETHER)
    even = await played(lambda client: backlog(client, 10 * scale), APART)
    bursty = await played(lambda client: bursts(client, 50 * scale), APART)
    refused = sum(one.end not in ("done", "") for one in [*fair, *even, *bursty])
    rows = [
        *beside(quiet, {"fair": fair, "in order of arrival": in_order}),
        ("Jain's index, both waiting", f"{jain(even):.3f}", "at least 0.95"),
        ("first promises kept, bursty load", f"{honest(bursty):.2f}", "at least 0.80"),
        ("requests told a wait", str(sum(one.promised_s is not None for one in bursty)), ""),
        ("refused", str(refused), ""),
    ]
    show(rows)
    return 0


def show(rows: list[Row]) -> None:
    for name, value, target in rows:
        sys.stdout.write(f"{name:42} {value:>10}  {target}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="admission_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the load")
    parser.add_argument("--engine", choices=["fake", "llama"], default="fake")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(1 if given.quick else 3, given.engine)))
