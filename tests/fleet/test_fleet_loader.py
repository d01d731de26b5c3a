"""The loader beside a tree of children that start and end when the test says so."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from appliance.bus.client import Bus
from appliance.fleet.loader import Hooks, Loader
from appliance.fleet.record import ChatPool, Wish
from appliance.fleet.shelf import Shelf, Weights
from appliance.schema.status import ChildStatus
from appliance.settings import Settings
from appliance.settings.inference import Models, Worker
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.tree import Tree

pytestmark = pytest.mark.unit

SETTINGS = Settings(
    worker=Worker(engine="fake"),
    models=Models(chat="chat", more=("b#memory=300", "c#memory=300"), memory_bound_mb=500),
)
WAIT_S = 20.0


@dataclass
class Children:
    """What the loader asked of the tree; a removed child is gone at once."""

    there: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, spec: ChildSpec) -> None:
        self.there.append(spec.name)
        self._tell(f"add {spec.command[0]}")

    async def remove(self, name: str, timeout_s: float) -> None:
        self.there.remove(name)
        self._tell(f"remove {name}")

    def statuses(self) -> tuple[ChildStatus, ...]:
        return ()

    def _tell(self, what: str) -> None:
        self.told.append(what)
        self.changed.set()

    async def until_told(self, count: int) -> None:
        while len(self.told) < count:
            self.changed.clear()
            await self.changed.wait()


@dataclass
class Rig:
    loader: Loader
    children: Children

    def status(self, child: str, state: str, percent: int = 0) -> None:
        self.loader.child_changed(
            ChildStatus(
                name=child,
                state=state,
                pid=1,
                restarts=0,
                uptime_s=0,
                detail="",
                rss_bytes=0,
                percent=percent,
            )
        )


@pytest.fixture
async def rig(bus: Bus, tmp_path: Path) -> AsyncIterator[Rig]:
    children = Children()

    def child(weights: Weights, number: int, threads: int) -> ChildSpec:
        return ChildSpec(name=f"worker-{number}", command=(weights.name,), directory=tmp_path)

    loader = Loader(
        bus,
        Shelf(SETTINGS, ""),
        cast("Tree", children),
        Hooks(child=child, busy=lambda pool: 0, pool_opened=lambda pool: None),
        settings=SETTINGS,
        chat=ChatPool(workers=("worker-0",), threads=4, memory_bytes=0),
    )
    async with asyncio.timeout(WAIT_S):
        running = asyncio.create_task(loader.run())
        yield Rig(loader, children)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def wish(request_id: str, model: str, deadline_s: float = 60.0) -> Wish:
    return Wish(
        request_id=request_id, uid="u", model=model, deadline_s=time.monotonic() + deadline_s
    )


async def hear_nothing(percent: int) -> None:
    pass


async def use(loader: Loader, wanted: Wish) -> bool:
    async with loader.held(wanted, hear_nothing) as loaded:
        return loaded


async def test_a_request_that_was_taken_up_twice_waits_as_long_as_one_of_them_does(
    rig: Rig,
) -> None:
    heard = asyncio.Event()

    async def hear(percent: int) -> None:
        heard.set()

    async def wait() -> bool:
        async with rig.loader.held(wish("r", "b"), hear) as loaded:
            return loaded

    first = asyncio.create_task(wait())
    await heard.wait()
    second = asyncio.create_task(use(rig.loader, wish("r", "b")))
    await rig.children.until_told(1)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    rig.status("worker-1", "failed")
    with pytest.raises(Exception, match="it stopped"):
        await second


async def test_a_model_stays_until_the_slowest_of_those_who_waited_has_come_in(rig: Rig) -> None:
    telling, told = asyncio.Event(), asyncio.Event()

    async def hear_slowly(percent: int) -> None:
        if percent:
            telling.set()
            await told.wait()

    async def slow() -> bool:
        async with rig.loader.held(wish("slow", "b"), hear_slowly) as loaded:
            return loaded

    first = asyncio.create_task(slow())
    await rig.children.until_told(1)
    second = asyncio.create_task(use(rig.loader, wish("other", "c")))
    rig.status("worker-1", "starting", percent=50)
    await telling.wait()
    rig.status("worker-1", "ready")
    await rig.loader.statuses()  # the loop has had its turns
    await rig.loader.statuses()
    assert rig.children.told == ["add b"]
    told.set()
    assert await first
    await rig.children.until_told(3)
    assert rig.children.told == ["add b", "remove worker-1", "add c"]
    rig.status("worker-1", "ready")
    assert await second
