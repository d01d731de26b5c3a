"""The log of an outage: one line when the store goes, one when it is back; and a full store."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
import redis.asyncio as redis

from appliance import keys
from appliance.bus import gates
from appliance.bus.client import AWAY, FULL, PASSING, Bus, check_layout, ensure_group
from appliance.bus.connection import connection_class
from appliance.bus.outage import Outage, takes_writes, told
from appliance.bus.room import room
from appliance.bus.script import Call, run_all


class Store:
    """Answers a ping, in its own time, unless it is away."""

    is_away = True

    async def ping(self) -> bool:
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError("refused")
        return True


@pytest.mark.unit
async def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = Store()
    bus = cast(Bus, store)
    outage = Outage(logging.getLogger("test"), "admitting nobody")
    await outage.over(bus)  # nothing was away: nobody is asked
    for _ in range(2):
        store.is_away = True
        for _ in range(5):
            outage.met(ConnectionError("refused"))
            with pytest.raises(ConnectionError):
                await outage.over(bus)
        store.is_away = False
        await asyncio.gather(*(outage.over(bus) for _ in range(4)))
    said = ["the store is away, admitting nobody: refused", "the store answers again"]
    assert [record.message for record in caplog.records] == 2 * said


@pytest.fixture
async def full(bus: Bus, valkey_url: str) -> AsyncIterator[Callable[[bool], Awaitable[None]]]:
    """Fills the store, or makes room in it."""
    async with redis.from_url(valkey_url) as operator:

        async def fill(is_full: bool) -> None:
            await operator.config_set("maxmemory", 1 if is_full else 0)

        yield fill
        await fill(False)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("reply", "passes", "status"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", False, 507),
        ("MISCONF Errors writing to the AOF file: No space left on device", False, 507),
        ("READONLY You can't write against a read only replica.", True, 503),
        ("BUSY Valkey is busy running a script.", True, 503),
        ("NOREPLICAS Not enough good replicas to write.", True, 503),
        ("LOADING Valkey is loading the dataset in memory", True, 503),
        ("CLUSTERDOWN The cluster is down", True, 503),
    ],
)
async def test_a_refusal_that_is_the_stores_own_is_an_outage(
    valkey_url: str, reply: str, passes: bool, status: int
) -> None:
    client = cast(Bus, redis.from_url(valkey_url, retry=None))
    client.connection_pool.connection_class = connection_class(valkey_url)
    with pytest.raises(AWAY) as met:
        await client.eval("return redis.error_reply(ARGV[1])", 0, reply)
    assert isinstance(met.value, PASSING) is passes
    assert told(met.value).http_status == status
    await client.aclose()


@pytest.mark.integration
async def test_a_full_store_is_read_and_started_with(
    bus: Bus, full: Callable[[bool], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    await check_layout(bus)
    await ensure_group(bus, "stream", "group")
    await full(True)
    await check_layout(bus)
    assert (await room(bus)).is_full
    for write in (
        ensure_group(bus, "stream", "group"),
        gates.take(bus, "u", 1),
        run_all(bus, [Call(gates.WINDOW, (keys.window("u"),), (1, 60))]),
        takes_writes(bus),
    ):
        with pytest.raises(FULL):
            await write
    outage = Outage(logging.getLogger("test"), "admitting nobody")
    outage.met(FULL[0]("no room"))
    with pytest.raises(FULL):
        await outage.over(bus)
    await full(False)
    await outage.over(bus)
    assert not (await room(bus)).is_scarce
    assert await gates.take(bus, "u", 1) == 0
    assert caplog.records[0].message == "the store is full, admitting nobody: no room"
