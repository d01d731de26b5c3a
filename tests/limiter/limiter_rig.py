"""A limiter service on a real store, with made-up workers that hold each slot as long as they like.

A request is stored as access stores it, its ends are told as a worker tells them, and every
verdict is read back from the reply streams: nothing here looks into the limiter, so what it says
is waited for by asking the store again.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import msgspec

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.bus.notices import Asked, Notice, arrive, notify
from appliance.limiter.service import LimiterService
from appliance.schema.answers import Timings, Usage
from appliance.schema.events import Cancelled, Done, Received
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling
from appliance.settings import Settings
from appliance.settings.limiter import Limiter, Tier

PATIENCE_S = 90.0
KEPT_S = 600  # records outlive the slowest test
LEASE_S = 60.0  # on a busy machine too, tests are about a change of hands only where they say so


def settings(*tiers: Tier, lease_s: float = LEASE_S, queue_bound: int = 512) -> Settings:
    limits = Limiter(
        tiers=tiers,
        lease_s=lease_s,
        queue_bound=queue_bound,
        queue_bound_per_user=256,
        reconcile_interval_s=0.2,
        news_interval_s=0.05,
    )
    return Settings(limiter=limits)


@contextlib.asynccontextmanager
async def serving(url: str, chosen: Settings) -> AsyncIterator[LimiterService]:
    """A limiter that runs inside; leaving is a crash or an end in order, as the caller likes.

    A limiter that ended by itself is told with its reason, before what came of it.
    """
    service = LimiterService(url, chosen)
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        ended = task.done()
        task.cancel()
        await asyncio.wait([task])
        if ended:
            await task


@dataclass
class Rig:
    bus: Bus
    open: list[str] = field(default_factory=list)

    async def workers(
        self, slots: int, pool: str = keys.MAIN, *, drains: int | None = None
    ) -> None:
        """One worker of the pool; `drains`: it takes nothing new and still runs so many."""
        worker: dict[str, str | int | float] = {
            "id": f"w-{pool}",
            "engine": "fake",
            "model": "m",
            "embedding_model": "",
            "device": "cpu",
            "slots": slots,
            "busy": drains or 0,
            "state": "ready" if drains is None else "draining",
            "context_tokens": 1000,
            "tokens_per_s": 0.0,
            "embedding_size": 0,
            "pid": 1,
            "pool": pool,
        }
        await self.bus.hset(keys.worker(f"w-{pool}"), mapping=worker)
        await self.bus.zadd(keys.WORKERS, {f"w-{pool}": int(1000 * time.time()) + 3_600_000})
        await notify(self.bus, Notice(kind="workers"))

    async def ask(
        self, uid: str = "u", *, tier: str = "standard", tokens: int = 100, model: str = ""
    ) -> str:
        """A request of `tokens` in all at most, half of them input."""
        now_ms = int(1000 * time.time())
        request = Request(
            id=keys.new_request_id(),
            uid=uid,
            model=model,
            text="?",
            sampling=Sampling(),
            created_at_ms=now_ms,
            deadline_at_ms=now_ms + 600_000,
        )
        received = Received(request_id=request.id, session_id="", created_at_ms=now_ms)
        await self.bus.zadd(keys.OPEN, {request.id: now_ms})
        await scripts.submit(self.bus, request, received, turns_kept=1)
        half = tokens // 2
        asked = Asked(tier=tier, input_tokens=half, p50=half / 2, p80=half * 0.8, most=half)
        await arrive(
            self.bus,
            Notice(
                kind="arrived",
                request_id=request.id,
                uid=uid,
                pool=keys.pool(model),
                deadline_at_ms=request.deadline_at_ms,
                asked=asked,
            ),
        )
        self.open.append(request.id)
        return request.id

    async def end(self, request_id: str, tokens: int = 100, *, told: bool = True) -> None:
        """A worker ends it, having used this much; `told` False loses the notice."""
        usage = Usage(prompt_tokens=tokens // 2, completion_tokens=tokens // 2)
        done = Done(finish_reason="stop", model="m", usage=usage, timings=Timings())
        await scripts.end(self.bus, request_id, done, ttl_s=KEPT_S, usage=usage)
        if told:
            await notify(self.bus, Notice(kind="ended", request_id=request_id, usage=usage))

    async def vanish(self, request_id: str) -> None:
        """Its client went away while it waited or ran, and nothing had been computed."""
        cancelled = Cancelled(reason="asked")
        await scripts.end(self.bus, request_id, cancelled, ttl_s=KEPT_S)
        await notify(self.bus, Notice(kind="ended", request_id=request_id))

    async def state(self, request_id: str) -> str:
        return ((await self.bus.hget(keys.request(request_id), "state")) or b"gone").decode()

    async def events(self, request_id: str) -> list[str]:
        rows = await self.bus.xrange(keys.reply(request_id), "-", "+", 1000)
        return [fields[b"event"].decode() for _, fields in rows]

    async def reason(self, request_id: str) -> str:
        """Why it was refused."""
        rows = await self.bus.xrevrange(keys.reply(request_id), count=1)
        return str(msgspec.json.decode(rows[0][1][b"data"]).get("reason", ""))

    async def decided(self, ids: list[str]) -> dict[str, list[str]]:
        """Requests by state, once the limiter has said something to each of them."""
        async with asyncio.timeout(PATIENCE_S):
            while min([len(await self.events(one)) for one in ids]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        by_state: dict[str, list[str]] = {}
        for one in ids:
            by_state.setdefault(await self.state(one), []).append(one)
        return by_state

    async def in_state(self, ids: list[str], state: str) -> list[str]:
        return [one for one in ids if await self.state(one) == state]

    async def let_in(self, ids: list[str]) -> list[str]:
        """Those of them that hold a slot, once there are any."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := await self.in_state(ids, "queued")):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return found

    async def settled(self) -> None:
        """Returns once nothing is open any more."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.bus.zcard(keys.OPEN):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
