"""Asks a running appliance and notes when the first word came and what was used."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from calibration_bench.fit import Probes, Prompt

WORDS = (
    *("harbour", "lighthouse", "market", "orchard", "observatory", "canal", "library", "railway"),
    *("quarry", "vineyard", "gardener", "navigator", "clockmaker", "baker", "surveyor", "weaver"),
    *("beekeeper", "printer", "ferryman", "lantern", "compass", "ledger", "kettle", "telescope"),
    *("图书馆", "火车", "河流", "面包", "港口", "灯塔", "市场", "果园"),
)
PROMPT_WORDS = (10, 40, 120)
ANSWER_TOKENS = (8, 24, 64)
DECODED = 64
PROBES = 5


@dataclass(frozen=True, slots=True)
class Asked:
    """One answer. Times are seconds: `at_s` of the run, the others from the question."""

    at_s: float
    uid: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    first_s: float
    last_s: float

    @property
    def fresh_tokens(self) -> int:
        return max(1, self.prompt_tokens - self.cached_tokens)


def question(chance: random.Random, words: int) -> str:
    """One that no cache holds, and that is answered at length."""
    said = " ".join(chance.choice(WORDS) for _ in range(words))
    return f"Case {chance.randrange(10**9)}. Tell a long story about: {said}."


async def ask(http: httpx.AsyncClient, text: str, tokens: int, uid: str, began_s: float) -> Asked:
    """Follows one answer to its end. Raises httpx.HTTPStatusError for any other end."""
    body = {
        "messages": [{"role": "user", "content": text}],
        "user": uid,
        "faq": False,
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    at_s, first_s = time.monotonic(), 0.0
    usage: dict[str, Any] = {}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            if any(choice["delta"].get("content") for choice in chunk["choices"]):
                first_s = first_s or time.monotonic() - at_s
            usage = chunk.get("usage") or usage
    return Asked(
        at_s - began_s,
        uid,
        usage["prompt_tokens"],
        usage["prompt_tokens_details"]["cached_tokens"],
        usage["completion_tokens"],
        first_s,
        time.monotonic() - at_s,
    )


async def probed(http: httpx.AsyncClient, beside: int, seed: int) -> Probes:
    """A few questions to an idle appliance, and the same one by many at once."""
    chance = random.Random(f"probes {seed}")

    async def computed(words: int) -> Prompt:
        one = await ask(http, question(chance, words), 1, "probe", 0.0)
        return Prompt(one.fresh_tokens, one.first_s)

    async def decoding_s(count: int, text: str) -> float:
        """Seconds per token while so many say the same; their prompt is in the cache."""
        many = [ask(http, text, DECODED, "probe", 0.0) for _ in range(count)]
        answers = await asyncio.gather(*many)
        each = [(one.last_s - one.first_s) / max(1, one.output_tokens - 1) for one in answers]
        return sum(each) / len(each)

    await computed(PROMPT_WORDS[0])  # the first one of all also warms up
    text = question(chance, PROMPT_WORDS[1])
    await ask(http, text, 1, "probe", 0.0)
    alone = [await decoding_s(1, text) for _ in range(PROBES)]
    together = await decoding_s(beside, text)
    short = [await computed(PROMPT_WORDS[0]) for _ in range(PROBES)]
    long = [await computed(PROMPT_WORDS[2]) for _ in range(PROBES)]
    return Probes(sorted(alone)[PROBES // 2], together, beside, tuple(short), tuple(long))


@dataclass(frozen=True, slots=True)
class Plan:
    """One question of the run, before it is asked."""

    at_s: float
    uid: str
    text: str
    tokens: int


def planned(rate: float, until_s: float, seed: int) -> list[Plan]:
    """Arrivals at random, `rate` per second in the mean, by four people."""
    chance, plans, at_s = random.Random(f"run {seed}"), list[Plan](), 0.0
    while (at_s := at_s + chance.expovariate(rate)) < until_s:
        text = question(chance, chance.choice(PROMPT_WORDS))
        plans.append(Plan(at_s, f"p{chance.randrange(4)}", text, chance.choice(ANSWER_TOKENS)))
    return plans


async def run(http: httpx.AsyncClient, plans: Sequence[Plan]) -> list[Asked]:
    """Each at its time, whatever became of those before it."""
    began_s = time.monotonic()

    async def one(plan: Plan) -> Asked:
        await asyncio.sleep(max(0.0, plan.at_s - (time.monotonic() - began_s)))
        return await ask(http, plan.text, plan.tokens, plan.uid, began_s)

    return list(await asyncio.gather(*(one(plan) for plan in plans)))
