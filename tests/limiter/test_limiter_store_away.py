"""The store is killed, or full, in the middle of admission: nothing is admitted twice."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from limiter_rig import PATIENCE_S, Rig, serving, settings

from appliance.bus.client import connect
from appliance.supervisor.valkey import find_binary

pytestmark = pytest.mark.integration


class Store:
    """A Valkey that keeps what it was told and can be killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder / 'valkey.sock'}"

    def start(self) -> None:
        kept = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        command = [str(find_binary()), "--port", "0", "--unixsocket", self.url[7:], *kept]
        self._process = subprocess.Popen(command, cwd=self._folder, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    made.start()
    yield made
    made.kill()


async def test_a_store_that_was_away_has_nobody_admitted_twice(store: Store) -> None:
    bus = connect(store.url)
    rig = Rig(bus)
    async with serving(store.url, settings(lease_s=1.0)):
        await rig.workers(2)
        ids = [await rig.ask(f"u{n}") for n in range(8)]
        found = await rig.decided(ids)
        assert len(found["queued"]) == 2
        for _ in range(3):
            store.kill()
            store.start()
            assert len(await rig.in_state(ids, "queued")) == 2
        left = list(ids)
        async with asyncio.timeout(PATIENCE_S):
            while left:
                running = await rig.in_state(left, "queued")
                assert len(running) <= 2
                for one in running:
                    await rig.end(one)
                    left.remove(one)
        await rig.settled()
        for one in ids:
            events = await rig.events(one)
            assert (events.count("admitted"), events[-1]) == (1, "done")
    await bus.aclose()


async def test_while_the_store_is_full_the_limiter_waits_for_room(store: Store) -> None:
    bus = connect(store.url)
    rig = Rig(bus)
    async with redis.from_url(store.url) as operator, serving(store.url, settings()) as service:
        await rig.workers(1)
        first, second = await rig.ask("a"), await rig.ask("b")
        await rig.decided([first, second])
        await operator.config_set("maxmemory", 1)
        async with asyncio.timeout(PATIENCE_S):
            while service.leads:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await operator.config_set("maxmemory", 0)
        await rig.end(first)
        assert await rig.let_in([second]) == [second]
        await rig.end(second)
        await rig.settled()
    await bus.aclose()
