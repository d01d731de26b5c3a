"""What is given up keeps what was said, and what is erased leaves nothing behind."""

import asyncio
from typing import cast

import msgspec
import pytest

from appliance import keys
from appliance.access import asked
from appliance.access.cancelling import Cancelling
from appliance.access.earlier import EarlierTurns
from appliance.access.erasure import Erasure
from appliance.access.flow import People
from appliance.access.profile import Profiles
from appliance.access.warmth import Warmth
from appliance.bus import leases, scripts, work
from appliance.bus.client import Bus
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.leases import Holder
from appliance.bus.replies import ReplyReader
from appliance.bus.script import run_all
from appliance.clock import now_ms
from appliance.fleet.loader import Loader
from appliance.people.api_keys import ApiKeys
from appliance.people.inbox import Inbox
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Turns
from appliance.people.users import Users
from appliance.schema.conversations import Session
from appliance.schema.events import Admitted, Delta, Received
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling
from appliance.settings import Settings
from appliance.settings.people import Inbox as Limits

pytestmark = pytest.mark.integration

UID = "ann"
LEASE_MS = 60_000


@pytest.fixture(autouse=True)
def no_file(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of these tests keeps no file, and is not made to write one."""

    async def nothing() -> bool:
        return True

    monkeypatch.setattr(bus, "bgrewriteaof", nothing)


class Forgetful:
    """A loader for which nobody waits."""

    def forget(self, request_id: str) -> None:
        pass


def people_of(bus: Bus) -> People:
    return People(Users(bus), Sessions(bus, sessions_kept=10), Turns(bus))


class Meanwhile(Cancelling):
    """The person goes on while being erased: after each of the first sessions comes another."""

    more = 2

    async def delete_session(self, session: Session) -> None:
        await super().delete_session(session)
        if self.more:
            self.more -= 1
            await ask(self._bus, await self._sessions.create(UID, "another"))


class Late(ApiKeys):
    """A key is used once more before it is gone."""

    def __init__(self, bus: Bus, people: People) -> None:
        super().__init__(bus, 10)
        self._people = people

    async def erase(self, uid: str) -> int:
        await self._people.sessions.create(uid, "the last")
        return await super().erase(uid)


def cancelling_of(bus: Bus, kind: type[Cancelling] = Cancelling) -> Cancelling:
    people = people_of(bus)
    warmth = Warmth(
        bus,
        cast(Profiles, None),
        cast(EarlierTurns, None),
        settings=Settings(),
        erase=lambda session_id: None,
    )
    return kind(
        bus,
        cast(Loader, Forgetful()),
        sessions=people.sessions,
        turns=people.turns,
        warmth=warmth,
        reply_ttl_s=60,
    )


def erasure_of(bus: Bus, cancelling: Cancelling, api_keys: ApiKeys | None = None) -> Erasure:
    people = people_of(bus)
    return Erasure(
        bus,
        cancelling,
        people,
        Inbox(bus, cast(ReplyReader, None), people.users, Limits()),
        api_keys=api_keys or ApiKeys(bus, 10),
        dead_letters=DeadLetters(bus, kept=10, ttl_s=60),
    )


async def ask(bus: Bus, session: Session) -> str:
    """A question that was let in and waits for a worker."""
    request = Request(
        id=keys.new_request_id(session.id),
        uid=UID,
        session_id=session.id,
        text="why?",
        sampling=Sampling(),
        created_at_ms=now_ms(),
        deadline_at_ms=2**52,
    )
    received = Received(request_id=request.id, session_id=session.id, created_at_ms=1)
    question = msgspec.json.encode(Asked(text=request.text, created_at_ms=1))
    await scripts.submit(bus, request, received, turns_kept=9, question=question)
    admitted = Admitted(waited_ms=0)
    await scripts.tell(bus, request.id, admitted, while_state="waiting", new_state="queued")
    await work.hand_over(bus, keys.MAIN, request.id, b"{}")
    return request.id


async def test_what_a_lost_worker_had_said_stays_when_its_request_is_cancelled(bus: Bus) -> None:
    session = await people_of(bus).sessions.create(UID, "")
    request_id = await ask(bus, session)
    await leases.take(bus, request_id, "w.1", entry="1-1", lease_ms=LEASE_MS, model="m")
    held = leases.lease("w.1", 1)
    deltas = [Delta(text="because"), Delta(text=" of")]
    await run_all(
        bus, [leases.append(request_id, held, lease_ms=LEASE_MS, before=0, deltas=deltas)]
    )
    gone = Holder(gone=True, died=True)
    await leases.release(bus, request_id, held, holder=gone, attempts=2)
    await cancelling_of(bus).cancel(request_id)
    (turn,) = await people_of(bus).turns.latest(session.id, 9)
    assert (turn.state, turn.answer) == ("cancelled", "because of")


async def test_requests_of_a_deleted_session_are_the_persons_as_long_as_they_are_kept(
    bus: Bus,
) -> None:
    session = await people_of(bus).sessions.create(UID, "")
    request_id = await ask(bus, session)
    await cancelling_of(bus).delete_session(session)
    assert await bus.hget(keys.request(request_id), "state") == b"cancelled"
    assert [one.id for one in await asked.of(bus, UID)] == [request_id]


async def test_an_erasure_finds_what_is_begun_during_it_and_leaves_no_key(bus: Bus) -> None:
    await ask(bus, await people_of(bus).sessions.create(UID, "the first"))
    await bus.zadd(keys.sessions(UID), {"s-left-by-a-crash": 1})
    late = Late(bus, people_of(bus))
    erased = await erasure_of(bus, cancelling_of(bus, Meanwhile), late).erase(UID)
    assert (erased.sessions, erased.requests) == (4, 3)
    for key in (f"*{UID}*", "session*", "turn*", "request:*", "reply:*"):
        assert await bus.scan(0, match=key, count=1_000) == (0, []), key
    assert await bus.xlen(keys.work(keys.MAIN)) == 0


async def test_an_erasure_waits_for_a_session_that_is_listed_and_not_written_yet(bus: Bus) -> None:
    people = people_of(bus)
    listed = Session(id="s1", uid=UID, title="", created_at_ms=now_ms(), last_active_at_ms=now_ms())
    await people.sessions.list(listed)
    erasing = asyncio.create_task(erasure_of(bus, cancelling_of(bus)).erase(UID))
    await asyncio.wait([erasing], timeout=0.2)
    assert not erasing.done()
    fields: dict[str, str | bytes | int | float]
    fields = {"uid": UID, "title": "", "created_at_ms": 1, "last_active_at_ms": 1}
    await bus.hset(keys.session("s1"), mapping=fields)
    assert (await erasing).sessions == 1
    assert not await bus.exists(keys.session("s1"), keys.sessions(UID))
