"""Runs the scenes and prints one table. `--quick` is a third of it."""

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from admission_bench.load import Answered, Client, backlog, flood, polite

SLOTS = 4
APART = {"polite": "polite", "flooder": "flooder"}
TOGETHER = {"polite": "everybody", "flooder": "everybody"}
SETTINGS = f"""
[worker]
slots = {SLOTS}
draft_tokens = 0
[limiter]
queue_bound_per_user = 400
"""
"""Guessed tokens would make a made-up answer far quicker than its steps say."""
READY_TIMEOUT_S = 180.0


@asynccontextmanager
async def appliance(uids: dict[str, str]) -> AsyncIterator[Client]:
    """A fresh one with the fake engine, and a client of it."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data = Path(folder)
        data.chmod(0o700)
        (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
        command = [sys.executable, "-m", "appliance", "serve", "--port", "0", "--data", folder]
        process = await asyncio.create_subprocess_exec(
            *command, "--engine", "fake", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            assert process.stdout is not None
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = (await process.stdout.readline()).decode()
            key = (data / "admin.key").read_text().strip()
            async with httpx.AsyncClient(
                base_url=line.split()[1],
                headers={"Authorization": f"Bearer {key}"},
                timeout=600.0,
                limits=httpx.Limits(max_connections=1000),
            ) as http:
                client = Client(http, uids)
                for _ in range(8):  # what answers take is learned before it is promised
                    await client.ask("polite")
                client.answers.clear()
                yield client
        finally:
            process.terminate()
            await process.wait()


Scene = Callable[[Client], Awaitable[None]]


async def played(scene: Scene, uids: dict[str, str]) -> list[Answered]:
    async with appliance(uids) as client:
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
    """Bursts of questions of unequal length by several people, with pauses between them."""
    chance = random.Random(11)
    client.uids |= {f"p{n}": f"p{n}" for n in range(6)}
    asked: list[Awaitable[Answered]] = []
    while len(asked) < requests:
        for _ in range(chance.randint(4, 24)):
            who = f"p{chance.randrange(6)}"
            asked.append(asyncio.ensure_future(client.ask(who, chance.choice((20, 60, 150)))))
        await asyncio.sleep(chance.uniform(1.0, 8.0))
    await asyncio.gather(*asked)


async def main(scale: int) -> int:
    count = 5 * scale

    async def alone(client: Client) -> None:
        await polite(client, count, 0.2)

    async def flooded(client: Client) -> None:
        await asyncio.gather(polite(client, count, 0.2), flood(client, 20 * count, 60))

    async def both(client: Client) -> None:
        await backlog(client, 10 * scale)

    quiet = await played(alone, APART)
    fair, in_order = await played(flooded, APART), await played(flooded, TOGETHER)
    even = await played(both, APART)
    bursty = await played(lambda client: bursts(client, 50 * scale), APART)
    rows = []
    for name in PARTS:
        base = p95(quiet, name)
        rows.append((f"polite p95, {name}, alone", f"{base:.2f} s", ""))
        for how, answers in (("fair", fair), ("in order of arrival", in_order)):
            found = p95(answers, name)
            times = f"{found / base:.2f} x"
            target = "at most 1.2 x" if how == "fair" and name == "whole answer" else ""
            rows.append((f"  flooded, {how}", f"{found:.2f} s", f"{times}  {target}"))
    rows += [
        ("Jain's index, both waiting", f"{jain(even):.3f}", "at least 0.95"),
        ("first promises kept, bursty load", f"{honest(bursty):.2f}", "at least 0.80"),
        ("requests told a wait", str(sum(one.promised_s is not None for one in bursty)), ""),
        ("refused", str(sum(one.end != "done" for one in [*fair, *even, *bursty])), ""),
    ]
    for name, value, target in rows:
        sys.stdout.write(f"{name:42} {value:>10}  {target}\n")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="admission_bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a third of the load")
    sys.exit(asyncio.run(main(1 if parser.parse_args().quick else 3)))
