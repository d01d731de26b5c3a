"""What is accepted is walked, whatever happens to the store in between."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import cast

import pytest

from appliance import keys
from appliance.access.answering import Answering
from appliance.access.cancelling import Cancelling
from appliance.access.earlier import EarlierTurns
from appliance.access.flow import Flow, People
from appliance.access.forecast import Forecasts
from appliance.access.generations import Gates
from appliance.access.placing import Placing
from appliance.access.presence import Presence
from appliance.access.profile import Profiles
from appliance.bus import leases, scripts
from appliance.bus.client import AWAY, Bus
from appliance.bus.replies import ReplyReader
from appliance.fleet.loader import Loader, Told
from appliance.fleet.record import Wish
from appliance.knowledge.questions import Questions
from appliance.knowledge.retrieval import Retrieval
from appliance.people.sessions import Sessions
from appliance.people.turns import Turns
from appliance.people.users import Users
from appliance.schema.events import Admitted, Loading, Received
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling
from appliance.settings import Settings

pytestmark = pytest.mark.integration

PATIENCE_S = 30.0


class Counted(Presence):
    asked = 0

    async def expect(self, request: Request) -> None:
        self.asked += 1
        await super().expect(request)


class Flaky(Counted):
    """The store goes away when it is first asked."""

    async def expect(self, request: Request) -> None:
        if not self.asked:
            self.asked = 1
            raise AWAY[0]
        await super().expect(request)


class Walked(Flow):
    """Gets no further than to the beginning of a walk."""

    begun: asyncio.Event
    kept: asyncio.Event

    async def _see_through(self, request: Request) -> None:
        self.kept.set()
        raise AWAY[0]

    def _question(self, request: Request) -> None:
        self.begun.set()
        raise AWAY[0]


class Loaded:
    """A loader whose models are there."""

    @contextlib.asynccontextmanager
    async def held(self, wish: Wish, told: Told) -> AsyncIterator[bool]:
        yield True


def flow_of(bus: Bus, people: People, presence: Presence) -> Walked:
    flow = Walked(
        bus,
        cast(ReplyReader, None),
        people,
        cast(Retrieval, None),
        cast(Loader, Loaded()),
        answering=cast(Answering, None),
        cancelling=cast(Cancelling, None),
        earlier=cast(EarlierTurns, None),
        forecasts=cast(Forecasts, None),
        gates=cast(Gates, None),
        presence=presence,
        placing=cast(Placing, None),
        profiles=cast(Profiles, None),
        questions=cast(Questions, None),
        settings=Settings(),
    )
    flow.begun, flow.kept = asyncio.Event(), asyncio.Event()
    return flow


async def walked(bus: Bus, presence: Presence) -> Request:
    """A request that was accepted, and whose walk has begun."""
    people = People(Users(bus), Sessions(bus, sessions_kept=10), Turns(bus))
    flow = flow_of(bus, people, presence)
    session = await people.sessions.create("ann", "")
    request = Request(
        id=keys.new_request_id(session.id),
        uid="ann",
        session_id=session.id,
        text="why?",
        sampling=Sampling(),
        created_at_ms=1,
        deadline_at_ms=2**52,
    )
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(flow.run())
        await asyncio.sleep(0)
        await flow.accept(request, session)
        await flow.begun.wait()
        running.cancel()
        await asyncio.wait([running])
    return request


async def test_what_is_stored_is_walked_though_the_store_goes_away_after_it(bus: Bus) -> None:
    request = await walked(bus, Flaky(bus, 60.0))
    assert await bus.zscore(keys.AWAITED, request.id) is not None


async def test_an_answer_is_expected_once(bus: Bus) -> None:
    presence = Counted(bus, 60.0)
    request = await walked(bus, presence)
    assert presence.asked == 1
    assert await bus.zscore(keys.AWAITED, request.id) is not None


def asked_of_another_model(bus: Bus) -> tuple[Walked, Request]:
    """A flow, and a request that is not stored yet."""
    people = People(Users(bus), Sessions(bus, sessions_kept=10), Turns(bus))
    request = Request(
        id=keys.new_request_id(),
        uid="ann",
        text="why?",
        model="other",
        sampling=Sampling(),
        created_at_ms=1,
        deadline_at_ms=2**52,
    )
    return flow_of(bus, people, Presence(bus, 60.0)), request


async def test_what_a_worker_has_keeps_its_model_after_a_crash_of_ours(bus: Bus) -> None:
    flow, request = asked_of_another_model(bus)
    await bus.zadd(keys.OPEN, {request.id: 1})
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    await scripts.submit(bus, request, received, turns_kept=1)
    admitted = Admitted(waited_ms=0)
    await scripts.tell(bus, request.id, admitted, while_state="waiting", new_state="queued")
    await leases.take(bus, request.id, "w.1", entry="1-1", lease_ms=60_000, model="other")
    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(flow.run())
        await flow.kept.wait()
        running.cancel()
        await asyncio.wait([running])
    assert not flow.begun.is_set()


async def test_what_a_crash_left_loading_waits_for_the_limiter_once_its_model_is_there(
    bus: Bus,
) -> None:
    flow, request = asked_of_another_model(bus)
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    await scripts.submit(bus, request, received, turns_kept=1)
    loading = Loading(model="other", percent=10)
    await scripts.tell(bus, request.id, loading, while_state="waiting", new_state="loading")
    for _ in range(2):  # a walk may begin again at any point
        async with flow._loading(request) as loaded:
            assert loaded
            assert await bus.hget(keys.request(request.id), "state") == b"waiting"
    rows = await bus.xrange(keys.reply(request.id), "-", "+", 9)
    assert [fields[b"event"] for _, fields in rows] == [b"received", b"loading", b"loading"]
