"""Fixed window and bucket of grants on a real store, under two hundred at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance import keys
from appliance.bus import gates
from appliance.bus.client import Bus
from appliance.bus.gates import Bucket
from appliance.limiter.waiters import Waiters

pytestmark = pytest.mark.integration

CROWD = 200
SLOW = Bucket("slow", size=9, per_minute=1)
QUICK = Bucket("quick", size=5, per_minute=6_000)


@pytest.fixture
async def waiters(bus: Bus, valkey_url: str) -> AsyncIterator[Waiters]:
    made = Waiters(bus, valkey_url, {one.name: one for one in (SLOW, QUICK)})
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


async def test_a_window_lets_in_exactly_its_limit_and_always_ends(bus: Bus) -> None:
    waits = await asyncio.gather(*(gates.take(bus, "u", 23) for _ in range(CROWD)))
    assert sum(wait == 0 for wait in waits) == 23
    assert all(1 <= wait <= gates.WINDOW_S for wait in waits if wait)
    assert 0 < await bus.eval("return redis.call('TTL', KEYS[1])", 1, keys.window("u")) <= 60


async def test_a_window_that_is_over_begins_anew(bus: Bus) -> None:
    assert await gates.take(bus, "u", 1) == 0
    assert await gates.take(bus, "u", 1) > 0
    await bus.eval("return redis.call('PEXPIRE', KEYS[1], 0)", 1, keys.window("u"))
    assert await gates.take(bus, "u", 1) == 0


async def test_a_bucket_grants_its_size_and_then_waits_run_out(waiters: Waiters) -> None:
    granted = await asyncio.gather(*(waiters.grant("slow", "u", 1.0) for _ in range(CROWD)))
    assert sum(granted) == SLOW.size
    assert waiters.waiting("slow") == 0


async def test_grants_go_to_those_who_wait_longest(waiters: Waiters) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await waiters.grant("quick", "u", 30.0)
        order.append(number)

    await asyncio.gather(*(wait(number) for number in range(60)))
    assert order == list(range(60))


async def test_a_cancelled_waiter_loses_no_grant(waiters: Waiters, bus: Bus) -> None:
    for _ in range(SLOW.size):
        assert await waiters.grant("slow", "u", 10.0)
    gone = [asyncio.create_task(waiters.grant("slow", "u", 30.0)) for _ in range(5)]
    stays = asyncio.create_task(waiters.grant("slow", "u", 30.0))
    await asyncio.sleep(0)
    for one in gone:
        one.cancel()
    await asyncio.wait(gone)
    await gates.give_back(bus, SLOW)
    assert await stays
    assert await bus.eval("return redis.call('LLEN', KEYS[1])", 1, keys.grants("slow")) == 0


async def test_what_is_given_back_never_overfills_the_bucket(bus: Bus) -> None:
    await gates.refill(bus, SLOW)
    for _ in range(20):
        await gates.give_back(bus, SLOW)
    length = await bus.eval("return redis.call('LLEN', KEYS[1])", 1, keys.grants("slow"))
    assert length == SLOW.size
