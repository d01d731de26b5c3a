"""Asks over HTTP and notes when what happened."""

import asyncio
import json
import time
from dataclasses import dataclass, field

import httpx

QUESTION_TOKENS = 60
FLOOD_TOKENS = 300
STEP_MS = 13
ANSWER_MS = 14
BATCH_MS = 4
READING_S = 10.0
"""In the flood a step of the fake engine is as long as the starter model's on two cores: 27 ms with
one answer, 69 with four, whoever they are for. Elsewhere each adds a little. READING_S is how long
a person reads an answer (some 45 words, at 240 a minute) before the next question; one who asks
again at once would have half of a slow machine, and be nobody who asks little."""
LIKE_A_MODEL = f"#step={STEP_MS} #slow={ANSWER_MS}"
ENDS = ("151643", "151645")  # of the starter model's answers, which would be short
STORY = "Tell me a long story, with many details, about number"


@dataclass
class Answered:
    """One request. Times are seconds of one monotonic clock, 0 for what never came."""

    who: str
    asked_s: float
    admitted_s: float = 0.0
    first_s: float = 0.0
    ended_s: float = 0.0
    promised_s: float | None = None
    tokens: int = 0
    end: str = ""

    @property
    def latency_s(self) -> float:
        return self.ended_s - self.asked_s


@dataclass
class Client:
    """`uids` maps a role to the user it asks as; with a `real` model steps last as they do."""

    http: httpx.AsyncClient
    uids: dict[str, str]
    real: bool = False
    sessions: dict[str, str] = field(default_factory=dict)
    answers: list[Answered] = field(default_factory=list)

    async def ask(
        self, who: str, tokens: int = QUESTION_TOKENS, steps: str = f"#slow={BATCH_MS}"
    ) -> Answered:
        """Asks in a new session and follows the answer to its end."""
        made = await self.http.post("/api/sessions", json={"uid": self.uids[who]})
        one = Answered(who, time.monotonic())
        self.answers.append(one)
        text = f"#tokens={tokens} {steps} tell me about it"
        body = {"text": text, "faq": False, "max_tokens": 512}
        if self.real:
            text = f"{STORY} {len(self.answers)}."
            body |= {"text": text, "max_tokens": tokens, "logit_bias": dict.fromkeys(ENDS, -100)}
        accepted = await self.http.post(f"/api/sessions/{made.json()['id']}/messages", json=body)
        async with self.http.stream("GET", accepted.json()["events"]) as stream:
            name = ""
            async for line in stream.aiter_lines():
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    _note(one, name, json.loads(line.removeprefix("data: ")))
        return one


def _note(one: Answered, name: str, fields: dict[str, object]) -> None:
    now_s = time.monotonic()
    if name == "waiting" and one.promised_s is None:
        eta_s = fields["eta_s"]
        one.promised_s = float(eta_s) if isinstance(eta_s, int | float) else None
    elif name == "admitted":
        one.admitted_s = now_s
    elif name == "delta":
        one.first_s = one.first_s or now_s
    elif name in ("done", "failed", "refused", "cancelled"):
        one.end, one.ended_s = name, now_s
        usage = fields.get("usage")
        one.tokens = usage["completion_tokens"] if isinstance(usage, dict) else 0


async def polite(client: Client, requests: int) -> None:
    """One question after the other, as a person asks."""
    for _ in range(requests):
        await client.ask("polite", QUESTION_TOKENS, LIKE_A_MODEL)
        await asyncio.sleep(READING_S)


async def flood(client: Client, requests: int, at_once: int) -> None:
    """Many questions, at most `at_once` open."""
    room = asyncio.Semaphore(at_once)

    async def ask() -> None:
        async with room:
            await client.ask("flooder", FLOOD_TOKENS, LIKE_A_MODEL)

    await asyncio.gather(*(ask() for _ in range(requests)))


async def backlog(client: Client, requests: int) -> None:
    """Both have `requests` open at the same moment."""
    names = ("polite", "flooder")
    await asyncio.gather(*(client.ask(who) for _ in range(requests) for who in names))
