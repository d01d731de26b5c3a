"""Placement live: affinity, a bound worker that dies, drains or stops, and no loop at all."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from placement_rig import Cluster

from appliance import keys
from appliance.background.reaper import Reaper
from appliance.bus.client import Bus
from appliance.bus.dead_letters import DeadLetters
from appliance.placement.choice import Placements
from appliance.settings import Settings
from appliance.settings.inference import Worker

pytestmark = pytest.mark.integration

TEXT = "Tell me what the handbook says about travel, 请告诉我手册中关于出差的规定, in detail. " * 6
TEXT += "#tokens=40 #slow=50"  # of an answer that outlasts the asking of its group
SLOTS = 4  # of two workers


@pytest.fixture
def cluster(bus: Bus, valkey_url: str, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(bus, valkey_url, tmp_path)
    yield made
    made.stop()


@contextlib.asynccontextmanager
async def reaping(bus: Bus) -> AsyncIterator[Reaper]:
    settings = Settings(worker=Worker(lost_after_s=3.0, lease_s=3.0))
    reaper = Reaper(
        bus,
        settings,
        DeadLetters(bus, kept=10, ttl_s=60),
        pool=keys.MAIN,
        on_silent=lambda name: None,
        on_missing=lambda request_id: None,
    )
    task = asyncio.create_task(reaper.run())
    try:
        yield reaper
    finally:
        task.cancel()
        await asyncio.wait([task])


async def conversations(cluster: Cluster, count: int) -> dict[str, str]:
    """The first turns of some sessions, and which worker answered each.

    They are asked in groups that fill every slot, so that each worker must get some: a lone
    question goes to whichever worker has shown itself faster, and may always find the same.
    """
    hosts: dict[str, str] = {}
    for group in range(0, count, SLOTS):
        asked = {}
        for number in range(group, min(count, group + SLOTS)):
            session = keys.new_session_id()
            asked[session] = await cluster.ask(f"{number} {TEXT}", session_id=session)
        hosts |= {session: await cluster.host(one) for session, one in asked.items()}
        await cluster.ended(*asked.values())
    return hosts


async def next_turn(cluster: Cluster, session: str, number: int, text: str) -> str:
    return await cluster.ask(f"{number} {TEXT}", "An answer.", text, session_id=session)


async def test_a_conversation_stays_with_its_worker_and_a_policy_changes_while_it_runs(
    cluster: Cluster,
) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()
    hosts = await conversations(cluster, 8)
    assert set(hosts.values()) == {"wa", "wb"}
    for number, (session, host) in enumerate(hosts.items()):
        asked = await next_turn(cluster, session, number, "And then?")
        assert await cluster.host(asked) == host
        await cluster.ended(asked)
        assert (await cluster.events(asked)).count("done") == 1
    status = await cluster.status()
    assert (status.policy, status.active, len(status.workers)) == ("hybrid", True, 2)

    placements = Placements(cluster.bus, "hybrid")
    await placements.choose("pull")

    async def pulls() -> bool:
        return (await cluster.status()).policy == "pull"

    await cluster.until(pulls)
    asked = await next_turn(cluster, next(iter(hosts)), 0, "And now?")
    assert await cluster.host(asked) == ""
    await cluster.ended(asked)


async def test_what_waits_for_a_killed_worker_goes_to_the_other(cluster: Cluster) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()
    hosts = await conversations(cluster, 6)
    session, host = next(iter(hosts.items()))
    cluster.kill(host, signal.SIGSTOP)  # so that it reads nothing more
    asked = [await next_turn(cluster, session, 0, f"And {n}?") for n in range(2)]
    there = [one for one in asked if await cluster.host(one) == host]
    assert there  # a second one goes to the other when this one seems far behind
    assert set(there) <= set(await cluster.waiting_of(host))  # maybe beside what it had ended
    cluster.kill(host)
    async with reaping(cluster.bus) as reaper:
        cluster.kill("loop")  # the reaper alone has to see to it
        reaper.lost(host, died=True)
        await cluster.ended(*asked)
    for one in asked:
        assert (await cluster.events(one)).count("done") == 1
    assert await cluster.waiting_of(host) == []


async def test_the_loop_alone_moves_what_waits_for_a_worker_that_stopped_reporting(
    cluster: Cluster,
) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()
    hosts = await conversations(cluster, 4)
    session, host = next(iter(hosts.items()))
    cluster.kill(host, signal.SIGSTOP)
    asked = await next_turn(cluster, session, 0, "And?")
    assert await cluster.waiting_of(host) == [asked]
    await cluster.ended(asked)
    assert await cluster.host(asked) == ""
    assert (await cluster.status()).given_back >= 1
    cluster.kill(host, signal.SIGCONT)  # it comes back and finds that nothing is left to do


async def test_a_worker_that_drains_gives_back_what_waits_and_ends_what_runs(
    cluster: Cluster,
) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()
    hosts = await conversations(cluster, 4)
    session, host = next(iter(hosts.items()))
    running = [
        await next_turn(cluster, session, 0, f"#tokens=200 #slow=30 number {n}") for n in range(2)
    ]
    assert {await cluster.host(one) for one in running} == {host}

    async def both_run() -> bool:
        return [await cluster.state(one) for one in running] == ["running"] * 2

    await cluster.until(both_run)
    cluster.kill(host, signal.SIGTERM)
    waiting = await cluster.ask("hello", session_id=session)
    async with reaping(cluster.bus):
        await cluster.ended(waiting, *running)
    assert cluster.processes[host].wait(60) == 0


async def test_what_nobody_has_room_for_is_held_and_a_dead_loop_holds_nobody(
    cluster: Cluster,
) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()

    async def all_busy() -> list[str]:
        """Requests that fill every slot, and that the loop knows to run."""
        asked = [await cluster.ask(f"{n} {TEXT} #tokens=120 #slow=40") for n in range(SLOTS)]

        async def run() -> bool:
            return sum(one.running for one in (await cluster.status()).workers) == SLOTS

        await cluster.until(run)
        return asked

    async def listed(count: int) -> bool:
        return await cluster.bus.zcard(keys.OPEN) == count

    asked = await all_busy()
    asking = [asyncio.create_task(cluster.ask(f"held {n} {TEXT}")) for n in range(3)]
    held = await asyncio.gather(*asking)
    assert {await cluster.host(one) for one in held} <= {"wa", "wb"}  # once one had room
    await cluster.ended(*asked, *held)

    asked += await all_busy()
    await cluster.until(lambda: listed(SLOTS))
    asking = [asyncio.create_task(cluster.ask(f"held {n} {TEXT}")) for n in range(3)]

    await cluster.until(lambda: listed(SLOTS + 3))
    cluster.kill("loop")
    cluster.settings = Settings().placement
    left = await asyncio.gather(*asking)
    async with reaping(cluster.bus) as reaper:
        cluster.kill("wa")
        reaper.lost("wa", died=True)
        await cluster.ended(*asked, *left)
    for one in (*asked, *held, *left):
        assert (await cluster.events(one)).count("done") == 1


async def test_without_a_loop_workers_pull_and_a_new_loop_takes_up_what_runs(
    cluster: Cluster,
) -> None:
    await cluster.workers("wa", "wb")
    await cluster.loop()
    first = await cluster.ask(TEXT)
    assert await cluster.host(first) in ("wa", "wb")
    cluster.kill("loop")
    cluster.settings = Settings().placement
    asked = [await cluster.ask(f"{n} {TEXT} #tokens=400 #slow=120") for n in range(4)]
    assert [await cluster.host(one) for one in asked] == [""] * 4
    await cluster.loop()

    async def knows_all() -> bool:
        return sum(one.running for one in (await cluster.status()).workers) == 4

    await cluster.until(knows_all)
    await cluster.ended(first, *asked)

    async def knows_of_none() -> bool:
        workers = (await cluster.status()).workers
        return not any(one.running or one.bound for one in workers)

    await cluster.until(knows_of_none)


async def test_a_living_worker_whose_work_was_given_back_takes_it_again(cluster: Cluster) -> None:
    await cluster.workers("wa")
    asked = await cluster.ask("Hello. #tokens=60 #slow=50")

    async def it_writes() -> bool:
        return "delta" in await cluster.events(asked)

    await cluster.until(it_writes)
    async with reaping(cluster.bus) as reaper:
        for _ in range(5):
            reaper.lost("wa", died=False)  # it is not, and reads at once what comes back
            await asyncio.sleep(0.3)
        await cluster.ended(asked)
    assert (await cluster.events(asked)).count("done") == 1

    async def nothing_lies_there() -> bool:
        return await cluster.bus.xlen(keys.work(keys.MAIN)) == 0

    await cluster.until(nothing_lies_there)


async def test_at_the_start_only_workers_of_an_earlier_life_are_reaped(cluster: Cluster) -> None:
    await cluster.workers("wa")
    (worker,) = await cluster.live()
    async with reaping(cluster.bus) as reaper:
        await reaper.reap_earlier(worker_seen_ms := int(await seen_ms(cluster, worker.id)))
        assert await seen_ms(cluster, worker.id) >= worker_seen_ms
        cluster.kill("wa")
        await reaper.reap_earlier(1 + int(await seen_ms(cluster, worker.id)))
        assert await cluster.bus.zscore(keys.WORKERS, worker.id) is None


async def seen_ms(cluster: Cluster, worker_id: str) -> float:
    found = await cluster.bus.zscore(keys.WORKERS, worker_id)
    assert found is not None, f"{worker_id} is not listed"
    return float(found)
