"""Real workers with the fake engine on a real store, and the placement loop in its own process.

Requests are stored as access stores them once they are admitted, and handed over by access's own
step 6. Where an entry stood is read from the request's record.
"""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance import keys
from appliance.access.placing import Placing
from appliance.bus import scripts, work
from appliance.bus.client import Bus
from appliance.bus.workers import live_workers
from appliance.placement.choice import Placements
from appliance.schema.events import Received
from appliance.schema.requests import TERMINAL_STATES, ChatMessage, Request, Work
from appliance.schema.sampling import Sampling
from appliance.schema.status import PlacementStatus, WorkerStatus
from appliance.settings.inference import Placement

PATIENCE_S = 60.0
SETTINGS = """
[worker]
slots = 2
count = 1
lost_after_s = 3.0
lease_s = 3.0
[placement]
lease_s = 1.0
stall_s = 600
"""


@dataclass
class Cluster:
    bus: Bus
    url: str
    folder: Path
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    settings: Placement = field(default_factory=lambda: Placement(answer_timeout_s=5.0))

    def start(self, name: str, *command: str) -> None:
        data = self.folder / name
        data.mkdir(mode=0o700, exist_ok=True)
        (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
        where = ("--redis", self.url, "--data", str(data))
        with (data / "errors.txt").open("ab") as errors:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "appliance", *command, *where], stderr=errors
            )

    async def workers(self, *names: str) -> None:
        for name in names:
            self.start(name, "worker", "--engine", "fake", "--name", name)

        async def all_there() -> bool:
            return {one.id.partition(".")[0] for one in await self.live()} >= set(names)

        await self.until(all_there)

    async def loop(self) -> None:
        """The placement loop, once it leads and knows of two workers."""
        self.start("loop", "limiter")
        await self.until(self.places)

    async def places(self) -> bool:
        return keys.MAIN in (await self.status()).pools

    async def status(self) -> PlacementStatus:
        return await Placements(self.bus, self.settings.policy).told()

    async def live(self) -> tuple[WorkerStatus, ...]:
        return await live_workers(self.bus, 3.0)

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        self.processes[name].send_signal(number)
        if number == signal.SIGKILL:
            self.processes[name].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    async def ask(self, *texts: str, session_id: str = "", uid: str = "u") -> str:
        """Admitted and handed over; `texts` are question, answer, question, ..."""
        now_ms = int(1000 * time.time())
        request = Request(
            id=keys.new_request_id(session_id),
            uid=uid,
            text=texts[-1],
            sampling=Sampling(),
            created_at_ms=now_ms,
            deadline_at_ms=now_ms + 600_000,
        )
        received = Received(request_id=request.id, session_id="", created_at_ms=now_ms)
        await self.bus.zadd(keys.OPEN, {request.id: now_ms})
        await scripts.submit(self.bus, request, received, turns_kept=1)
        await self.bus.hset(keys.request(request.id), mapping={"state": "queued"})
        said = [
            ChatMessage(role="assistant" if number % 2 else "user", content=text)
            for number, text in enumerate(texts)
        ]
        finished = Work(
            request_id=request.id,
            uid=uid,
            session_id=session_id,
            messages=(ChatMessage(role="system", content="Be brief."), *said),
            sampling=Sampling(),
            created_at_ms=now_ms,
            admitted_at_ms=now_ms,
            deadline_at_ms=request.deadline_at_ms,
        )
        await Placing(self.bus, self.settings).hand_over(finished, keys.MAIN)
        return request.id

    async def host(self, request_id: str) -> str:
        """The name of the worker it was put before; "" for any."""
        handed = (await self.bus.hget(keys.request(request_id), "handed") or b"").decode()
        return handed.rpartition("/")[0].partition(".")[0]

    async def state(self, request_id: str) -> str:
        return (await self.bus.hget(keys.request(request_id), "state") or b"").decode()

    async def ended(self, *ids: str) -> None:
        async def all_done() -> bool:
            states = [await self.state(one) for one in ids]
            assert not {"failed", "refused", "cancelled"}.intersection(states), states
            return all(state in TERMINAL_STATES for state in states)

        await self.until(all_done)

    async def events(self, request_id: str) -> list[str]:
        rows = await self.bus.xrange(keys.reply(request_id), "-", "+", 1000)
        return [fields[b"event"].decode() for _, fields in rows]

    async def waiting_of(self, name: str) -> list[str]:
        """Requests in a worker's own stream."""
        bound = await work.bound_workers(self.bus, keys.MAIN)
        return [
            entry.fields[b"request_id"].decode()
            for worker_id in sorted(bound)
            if worker_id.partition(".")[0] == name
            for entry in await work.own_entries(self.bus, keys.MAIN, worker_id)
        ]

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await holds():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
