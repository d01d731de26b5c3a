"""The work streams: what is bound moves when it must, and nothing is lost between them."""

import asyncio

import pytest

from appliance import keys
from appliance.bus import work
from appliance.bus.client import Bus, connect_blocking
from appliance.bus.work import WorkReader

pytestmark = pytest.mark.integration

POOL = "main"


async def handed(bus: Bus, request_id: str) -> str:
    return (await bus.hget(keys.request(request_id), "handed") or b"").decode()


async def queued(bus: Bus, request_id: str, worker_id: str = "") -> None:
    await bus.hset(keys.request(request_id), mapping={"state": "queued"})
    await work.hand_over(bus, POOL, request_id, b"{}", worker_id)


async def bound(bus: Bus, request_id: str) -> None:
    await queued(bus, request_id, "w.1")


async def names(bus: Bus, worker_id: str) -> list[str]:
    found = await work.own_entries(bus, POOL, worker_id)
    return [entry.fields[b"request_id"].decode() for entry in found]


async def test_a_worker_reads_its_own_stream_before_the_shared_one(
    bus: Bus, valkey_url: str
) -> None:
    blocking = connect_blocking(valkey_url)
    reader = WorkReader(bus, POOL, "w.1")
    await reader.open()
    await queued(bus, "x1-shared")
    await bound(bus, "x2-own")
    assert "/" not in await handed(bus, "x1-shared")
    assert (await handed(bus, "x2-own")).startswith("w.1/")
    order = [entry for _ in range(2) for entry in await reader.read(blocking, 4)]
    assert [entry.fields[b"request_id"] for entry in order] == [b"x2-own", b"x1-shared"]
    for entry in order:
        assert await work.entry(bus, POOL, entry.name) == entry.fields
        await work.acknowledge(bus, POOL, entry.name)
        assert await work.entry(bus, POOL, entry.name) == {}
    assert await work.entry(bus, POOL, "") == {}
    await blocking.aclose()


async def test_what_nobody_has_taken_moves_and_what_runs_stays(bus: Bus, valkey_url: str) -> None:
    blocking = connect_blocking(valkey_url)
    reader = WorkReader(bus, POOL, "w.1")
    await reader.open()
    for number in range(4):
        await bound(bus, f"x{number}-r")
    read, stuck = await reader.read(blocking, 2)  # the second one is read and not taken
    await bus.hset(keys.request("x0-r"), mapping={"state": "running"})
    await bus.hset(keys.request("x3-r"), mapping={"state": "cancelled"})
    assert await work.give_back(bus, POOL, "w.1") == 2
    assert await names(bus, "w.1") == ["x0-r"]
    assert "/" not in await handed(bus, "x1-r")
    other = WorkReader(bus, POOL, "w.2")
    await other.open()
    moved = [entry for _ in range(2) for entry in await other.read(blocking, 2)]
    assert [entry.fields[b"request_id"] for entry in moved] == [b"x1-r", b"x2-r"]
    assert await work.entry(bus, POOL, stuck.name) == {}
    assert not await work.close(bus, POOL, "w.1")  # what it has read is still in there
    await work.acknowledge(bus, POOL, read.name)
    assert await work.close(bus, POOL, "w.1")
    assert await work.bound_workers(bus, POOL) == set()
    await blocking.aclose()


@pytest.mark.parametrize("state", ["", "cancelled"])
async def test_what_has_ended_or_was_erased_is_not_put_before_a_worker(
    bus: Bus, state: str
) -> None:
    if state:
        await bus.hset(keys.request("x1-r"), mapping={"state": state})
    await work.hand_over(bus, POOL, "x1-r", b"{}")
    await work.put(bus, POOL, "x1-r", {"request_id": "x1-r"}, "w.1")  # it ended meanwhile
    assert await bus.xlen(keys.work(POOL)) == 0
    assert await names(bus, "w.1") == []
    assert await handed(bus, "x1-r") == ""
    assert await bus.exists(keys.request("x1-r")) == bool(state)


async def test_more_than_a_page_moves_in_its_order(bus: Bus) -> None:
    count = 2 * work.BATCH + 7
    for number in range(count):
        await bound(bus, f"x{number}-r")
    assert await work.give_back(bus, POOL, "w.1") == count
    rows = await bus.xrange(keys.work(POOL), "-", "+", count)
    assert [fields[b"request_id"].decode() for _, fields in rows] == [
        f"x{number}-r" for number in range(count)
    ]


async def test_work_for_a_worker_whose_stream_was_closed_is_listed_again(bus: Bus) -> None:
    await bound(bus, "x1-r")
    await work.give_back(bus, POOL, "w.1")
    assert await work.close(bus, POOL, "w.1")
    await bound(bus, "x2-r")  # decided before, written after
    assert await work.bound_workers(bus, POOL) == {"w.1"}
    assert await work.give_back(bus, POOL, "w.1") == 1


async def test_a_reader_whose_stream_was_closed_while_it_waited_goes_on(
    bus: Bus, valkey_url: str
) -> None:
    blocking = connect_blocking(valkey_url)
    reader = WorkReader(bus, POOL, "w.1")
    await reader.open()
    reading = asyncio.create_task(reader.read(blocking, 1))
    blocked = "blocked_clients:1"
    while blocked not in (await bus.eval("return redis.call('INFO','clients')", 0)).decode():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await work.close(bus, POOL, "w.1")
    async with asyncio.timeout(20):
        assert await reading == []
        await bound(bus, "x1-r")
        assert [entry.fields[b"request_id"] for entry in await reader.read(blocking, 1)] == [
            b"x1-r"
        ]
    await blocking.aclose()
