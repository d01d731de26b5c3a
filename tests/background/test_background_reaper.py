"""What the reaper hears is acted upon, and what it may have missed is found again."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from appliance import keys
from appliance.background.reaper import OVERDUE_GRACE_S, Reaper
from appliance.bus import leases, scripts, work
from appliance.bus.client import Bus
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.leases import Holder
from appliance.bus.workers import seen
from appliance.clock import now_ms
from appliance.schema.events import Admitted, Received
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling
from appliance.settings import Settings
from appliance.settings.inference import Worker

pytestmark = pytest.mark.integration

BEAT_S = 0.05
PATIENCE_S = 30.0
SETTINGS = Settings(
    worker=Worker(lost_after_s=2 * BEAT_S, lease_s=2 * BEAT_S, heartbeat_s=BEAT_S / 2)
)


class Slow(Reaper):
    """Needs several beats to give back the work of one worker."""

    def prepare(self) -> None:
        self.reaped = asyncio.Event()

    async def _reap(self, worker_id: str, holder: Holder, words: str) -> None:
        await asyncio.sleep(4 * BEAT_S)
        await super()._reap(worker_id, holder, words)
        self.reaped.set()


def ignore(_: str) -> None:
    pass


@contextlib.asynccontextmanager
async def running(reaper: Reaper) -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE_S):
        task = asyncio.create_task(reaper.run())
        yield
        task.cancel()
        await asyncio.wait([task])


async def test_a_death_is_acted_upon_however_long_that_takes(bus: Bus) -> None:
    reaper = Slow(
        bus,
        SETTINGS,
        DeadLetters(bus, kept=10, ttl_s=60),
        pool=keys.MAIN,
        on_silent=ignore,
        on_missing=ignore,
    )
    reaper.prepare()
    await bus.sadd(keys.bound(keys.MAIN), "w.1")
    await bus.hset(keys.worker("w.1"), mapping={"id": "w.1"})  # it has not been silent for long
    async with running(reaper):
        reaper.lost("w", died=True)
        await reaper.reaped.wait()
    assert not await bus.smembers(keys.bound(keys.MAIN))


async def test_a_death_counts_though_the_store_s_clock_is_ahead(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.background.reaper.now_ms", lambda: now_ms() - 3_600_000)
    reaper = Slow(
        bus,
        SETTINGS,
        DeadLetters(bus, kept=10, ttl_s=60),
        pool=keys.MAIN,
        on_silent=ignore,
        on_missing=ignore,
    )
    reaper.prepare()
    await bus.sadd(keys.bound(keys.MAIN), "w.1")
    await bus.hset(keys.worker("w.1"), mapping={"id": "w.1"})
    await seen(bus, "w.1")
    async with running(reaper):
        reaper.lost("w", died=True)
        await reaper.reaped.wait()
    assert await bus.zscore(keys.WORKERS, "w.1") is None


def make(bus: Bus) -> Reaper:
    letters = DeadLetters(bus, kept=10, ttl_s=60)
    return Reaper(bus, SETTINGS, letters, pool=keys.MAIN, on_silent=ignore, on_missing=ignore)


async def test_a_worker_of_an_earlier_life_is_reaped_though_the_clock_was_set_back(
    bus: Bus,
) -> None:
    since_ms = now_ms() - 60_000
    scores = {"old.1": since_ms - 1, "late.1": now_ms() + 3_600_000}
    await seen(bus, "here.1")
    await bus.zadd(keys.WORKERS, scores)
    await bus.sadd(keys.bound(keys.MAIN), "here.1", *scores)
    await bus.zadd(keys.WORKERS, {"stranger.1": now_ms() + 3_600_000})  # of another pool
    await make(bus).reap_earlier(since_ms)
    assert await bus.smembers(keys.bound(keys.MAIN)) == {b"here.1"}
    assert await bus.zrange(keys.WORKERS, 0, -1) == [b"here.1"]


@pytest.mark.parametrize("state", ["waiting", "loading", "queued"])
async def test_a_deadline_of_the_callers_own_is_kept_whoever_has_forgotten_the_request(
    bus: Bus, state: str
) -> None:
    late = now_ms() - int(1000 * OVERDUE_GRACE_S) - 1
    requests = [
        Request(
            id=keys.new_request_id(),
            uid="u",
            text="why?",
            sampling=Sampling(),
            created_at_ms=now_ms(),
            deadline_at_ms=deadline_ms,
        )
        for deadline_ms in (late, now_ms())
    ]
    for request in requests:
        await bus.zadd(keys.OPEN, {request.id: now_ms()})
        received = Received(request_id=request.id, session_id="", created_at_ms=1)
        await scripts.submit(bus, request, received, turns_kept=1)
        await scripts.tell(bus, request.id, received, while_state="waiting", new_state=state)
    async with running(make(bus)):
        overdue, in_time = (keys.request(request.id) for request in requests)
        while await bus.hget(overdue, "state") != b"failed":  # noqa: ASYNC110
            await asyncio.sleep(BEAT_S)
    assert await bus.hget(in_time, "state") == state.encode()


async def test_a_lease_that_is_over_is_found_though_it_is_not_listed(bus: Bus) -> None:
    request = Request(
        id=keys.new_request_id(),
        uid="u",
        text="why?",
        sampling=Sampling(),
        created_at_ms=1,
        deadline_at_ms=2,
    )
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    await bus.zadd(keys.OPEN, {request.id: 1})
    await scripts.submit(bus, request, received, turns_kept=1)
    admitted = Admitted(waited_ms=0)
    await scripts.tell(bus, request.id, admitted, while_state="waiting", new_state="queued")
    await work.hand_over(bus, keys.MAIN, request.id, b"{}")
    entry = (await bus.hget(keys.request(request.id), "handed") or b"").decode()
    await leases.take(bus, request.id, "w.1", entry=entry, lease_ms=1, model="m")
    async with running(make(bus)):
        ((_, rows),) = await bus.xread({keys.work(keys.MAIN): entry}, block=int(1000 * PATIENCE_S))
    assert [fields[b"request_id"].decode() for _, fields in rows] == [request.id]
    assert await bus.hget(keys.request(request.id), "state") == b"queued"
