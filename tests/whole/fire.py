"""A crowd that asks over HTTP at the same moment, part of which goes away without a word.

What was let in, refused and served is taken from the answers, the event streams and the quotas
that callers are told; nothing here looks into the appliance.
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from conftest import Event, Running, eventually, parse

CROWD = 200
PATIENCE_S = 90.0
ANSWER_TIMEOUT_S = 300.0
TERMINAL = ("done", "failed", "refused", "cancelled")


@dataclass
class Shot:
    """One request as its caller saw it. `id` is "" for one that was refused."""

    status: int
    headers: httpx.Headers
    vanished: bool
    id: str = ""
    reason: str = ""

    @property
    def let_in(self) -> bool:
        return self.status == 200


@dataclass
class Crowd:
    """`vanishing` of them close their connection at the first sign of an answer."""

    appliance: Running
    uid: str
    text: str = "#tokens=12 #slow=2 so many questions"
    vanishing: float = 0.0
    kills_worker: bool = False
    most_used: dict[str, int] = field(default_factory=dict)
    """The most that was ever used and reserved of each limit, as far as anybody looked."""

    async def asks(self, count: int = CROWD) -> list[Shot]:
        """All at once; returns when the last one has been answered or has gone."""
        chance = random.Random(7)
        leaving = [chance.random() < self.vanishing for _ in range(count)]
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=self.appliance.url,
            headers={"Authorization": f"Bearer {self.appliance.key}"},
            timeout=ANSWER_TIMEOUT_S,
            limits=limits,
        ) as http:
            ended = asyncio.Event()
            looking = asyncio.create_task(self._look(http, ended))
            shots = [asyncio.create_task(self._ask(http, leaves)) for leaves in leaving]
            if self.kills_worker:
                for one in asyncio.as_completed(shots):
                    if (await one).let_in:
                        break
                os.kill(await self._worker(http), signal.SIGKILL)
            found = await asyncio.gather(*shots)
            ended.set()  # a connection that is cancelled while it is made is left open
            await looking
        return found

    async def _ask(self, http: httpx.AsyncClient, leaves: bool) -> Shot:
        body = {
            "messages": [{"role": "user", "content": self.text}],
            "user": self.uid,
            "faq": False,
            "max_tokens": 40,
            "stream": leaves,
        }
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            shot = Shot(answer.status_code, answer.headers, vanished=leaves)
            if not shot.let_in:
                shot.reason = json.loads(await answer.aread())["error"]["reason"]
            elif leaves:
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        shot.id = _request_id(json.loads(line.removeprefix("data: ")))
                        break
            else:
                shot.id = _request_id(json.loads(await answer.aread()))
        return shot

    async def _look(self, http: httpx.AsyncClient, ended: asyncio.Event) -> None:
        """Reads the quota again and again."""
        while not ended.is_set():
            quota = (await http.get(f"/api/users/{self.uid}/quota")).json()
            for limit in quota["limits"]:
                taken = limit["used"] + limit["reserved"]
                before = self.most_used.get(limit["name"], 0)
                self.most_used[limit["name"]] = max(before, taken)

    async def _worker(self, http: httpx.AsyncClient) -> int:
        """The process id of the worker with most to do."""
        workers = (await http.get("/api/status")).json()["workers"]
        return int(max(workers, key=lambda one: one["busy"])["pid"])


def _request_id(answer: dict[str, Any]) -> str:
    return str(answer["id"]).removeprefix("chatcmpl-")


def events_of(appliance: Running, shots: Sequence[Shot]) -> dict[str, list[Event]]:
    """Every event of those that were let in, to the last one."""
    found = {}
    with appliance.client() as client:
        for shot in shots:
            if shot.id:
                with client.stream("GET", f"/api/requests/{shot.id}/events") as stream:
                    found[shot.id] = list(parse(stream.iter_lines()))
    return found


def side_by_side(events: dict[str, list[Event]]) -> int:
    """The most requests that ever held a slot at one time, by the store's own clock."""
    changes = []
    for heard in events.values():
        times = {event.event: int(event.id.partition("-")[0]) for event in heard}
        if "admitted" in times:
            end_ms = max(times[name] for name in TERMINAL if name in times)
            changes += [(times["admitted"], 1), (end_ms, -1)]
    most = now = 0
    for _, change in sorted(changes):  # of one millisecond the ends come first
        now += change
        most = max(most, now)
    return most


def tokens_used(events: dict[str, list[Event]]) -> int:
    """What all of them computed, as their last events say."""
    total = 0
    for heard in events.values():
        usage = heard[-1].data.get("usage", {})
        cached = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
        total += usage.get("prompt_tokens", 0) - cached + usage.get("completion_tokens", 0)
    return total


def quota(appliance: Running, uid: str) -> dict[str, dict[str, Any]]:
    """A user's limits by name."""
    with appliance.client() as client:
        found = client.get(f"/api/users/{uid}/quota").json()
    return {limit["name"]: limit for limit in found["limits"]}


def at_its_start(appliance: Running, *uids: str) -> None:
    """Returns once nothing waits, runs, is bound or reserved any more, and all workers are back."""

    def is_quiet() -> bool:
        status = appliance.status()
        queue, workers = status["queue"], status["workers"]
        placed = status["placement"]["workers"]
        return (
            (queue["waiting"], queue["running"], queue["users"]) == (0, 0, [])
            and [one["busy"] for one in workers] == [0] * len(placed)
            and not any(one["bound"] or one["running"] for one in placed)
            and not any(
                limit["reserved"] for uid in uids for limit in quota(appliance, uid).values()
            )
        )

    eventually(is_quiet, "everything is back at its start", within_s=PATIENCE_S)


def reasons(shots: Sequence[Shot]) -> Counter[tuple[int, str]]:
    """Statuses with their reasons."""
    return Counter((shot.status, shot.reason) for shot in shots)
