"""Opening a session asks for what its next prompt begins with; deleting one leaves nothing."""

import datetime

import msgspec
import pytest
import redis

from appliance import keys
from appliance.access.earlier import EarlierTurns
from appliance.access.fragments import Fragments
from appliance.access.profile import Profiles
from appliance.access.prompt import session_prompt, system_message
from appliance.access.warmth import Warmth
from appliance.bus import warming
from appliance.bus.client import FULL, Bus
from appliance.bus.workers import status_fields
from appliance.clock import now_ms
from appliance.knowledge.entries import Entries
from appliance.people.sessions import Sessions
from appliance.people.turns import Answered, Asked, Sent, Turns
from appliance.people.users import Users
from appliance.schema.conversations import Session
from appliance.schema.requests import Warming
from appliance.schema.status import WorkerStatus
from appliance.settings import Settings

pytestmark = pytest.mark.integration

POOL = "main"


class Erased(list[str]):
    """Whose files were removed."""

    def erase(self, session_id: str) -> None:
        self.append(session_id)


def warmth_of(bus: Bus, erased: Erased) -> Warmth:
    settings = Settings()
    fragments = Fragments(bus, settings.people)
    profiles = Profiles(bus, Users(bus), Turns(bus), fragments, settings)
    earlier = EarlierTurns(bus, Turns(bus), Entries(bus, 100), settings.sessions)
    return Warmth(bus, profiles, earlier, settings=settings, erase=erased.erase)


async def report(bus: Bus, *warm: str, pool: str = POOL) -> None:
    """A living worker that has these sessions warm."""
    status = WorkerStatus(
        id="w",
        engine="fake",
        model="fake",
        embedding_model="",
        device="none",
        slots=1,
        busy=0,
        context_tokens=512,
        tokens_per_s=0.0,
        embedding_size=0,
        pid=1,
        pool=pool,
        warm=warm,
    )
    await bus.hset(keys.worker("w"), mapping=status_fields(status))
    await bus.zadd(keys.WORKERS, {"w": now_ms()})


async def answered_session(bus: Bus, *answers: str) -> Session:
    """A session with one turn per answer; an empty one is still open."""
    await report(bus)
    session = await Sessions(bus, sessions_kept=10).create("ann", "")
    for number, answer in enumerate(answers):
        turn_id = f"{session.id}-{number}"
        await bus.zadd(keys.turns(session.id), {turn_id: number})
        records = {
            f"{turn_id}:question": msgspec.json.encode(Asked(f"question {number}", number)),
            f"{turn_id}:sent": msgspec.json.encode(Sent(text=f"as sent {number}")),
        }
        if answer:
            records[f"{turn_id}:answer"] = msgspec.json.encode(Answered("done", answer))
        else:
            await bus.hset(keys.request(turn_id), mapping={"state": "running"})
        await bus.hset(keys.turn(session.id), mapping=records)
    return session


async def asked(bus: Bus) -> list[Warming]:
    rows = await bus.xrange(keys.warm(POOL), "-", "+", 100)
    return [msgspec.json.decode(fields[b"warming"], type=Warming) for _, fields in rows]


async def test_what_is_asked_for_is_the_beginning_of_the_next_prompt(bus: Bus) -> None:
    session = await answered_session(bus, "first answer", "second answer")
    await warmth_of(bus, Erased()).ask(session)
    [wanted] = await asked(bus)
    turns = await Turns(bus).latest(session.id, 10)
    settings = Settings()
    prompt = session_prompt(
        system_message(settings.prompt.system, (), await Users(bus).find("ann")),
        turns,
        "the next question",
        (),
        today=datetime.date(2026, 1, 1),
    )
    assert wanted.messages[:-1] == prompt.messages[:-1]
    assert [m.content for m in wanted.messages[1:]] == [
        "as sent 0",
        "first answer",
        "as sent 1",
        "second answer",
        "?",
    ]
    assert (wanted.session_id, wanted.uid) == (session.id, "ann")


async def test_a_session_waits_once_until_it_is_done(bus: Bus) -> None:
    session = await answered_session(bus, "answer")
    warmth = warmth_of(bus, Erased())
    for _ in range(3):
        await warmth.ask(session)
    assert len(await asked(bus)) == 1
    await warming.done(bus, session.id)
    await warmth.ask(session)
    assert len(await asked(bus)) == 2


async def test_the_stream_has_a_bound(bus: Bus) -> None:
    for number in range(warming.STREAM_ENTRIES + 5):
        await warming.ask(bus, Warming(session_id=f"s{number}", uid="a", messages=()), pool=POOL)
    left = await asked(bus)
    assert len(left) == warming.STREAM_ENTRIES
    assert left[-1].session_id == f"s{warming.STREAM_ENTRIES + 4}"


async def test_nothing_is_asked_for_while_an_answer_is_under_way(bus: Bus) -> None:
    session = await answered_session(bus, "answer", "")
    await warmth_of(bus, Erased()).ask(session)
    assert await asked(bus) == []


async def test_nothing_is_asked_for_when_a_worker_has_it(bus: Bus) -> None:
    session = await answered_session(bus, "answer")
    await report(bus, "other", session.id)
    warmth = warmth_of(bus, Erased())
    assert await warmth.warm_sessions() == {"other", session.id}
    await warmth.ask(session)
    assert await asked(bus) == []


async def test_forgetting_tells_the_workers_and_erases_what_is_on_disk(bus: Bus) -> None:
    session = await answered_session(bus, "answer")
    erased = Erased()
    await warmth_of(bus, erased).forget(session)
    [(_, fields)] = await bus.xrange(keys.control(POOL), "-", "+", 10)
    assert fields == {b"forget": session.id.encode()}
    assert erased == [session.id]


async def test_what_was_deleted_is_forgotten_though_the_store_is_full(
    bus: Bus, valkey_url: str
) -> None:
    session = await answered_session(bus, "answer")
    erased = Erased()
    with redis.from_url(valkey_url) as operator:
        operator.config_set("maxmemory", 1)
        try:
            with pytest.raises(FULL):
                await bus.set("any", "thing")
            await warmth_of(bus, erased).forget(session)
        finally:
            operator.config_set("maxmemory", 0)
    [(_, fields)] = await bus.xrange(keys.control(POOL), "-", "+", 10)
    assert fields == {b"forget": session.id.encode()}
    assert erased == [session.id]


async def test_nothing_is_asked_for_while_the_model_is_not_loaded(bus: Bus) -> None:
    session = await answered_session(bus, "answer")
    await report(bus, pool="model-another")
    await warmth_of(bus, Erased()).ask(session)
    assert await asked(bus) == []


async def test_forgetting_a_person_tells_the_workers(bus: Bus) -> None:
    await warmth_of(bus, Erased()).forget_person("ann")
    [(_, fields)] = await bus.xrange(keys.control(POOL), "-", "+", 10)
    assert fields == {b"forget_scope": keys.scope("ann").encode()}
    assert b"ann" not in fields[b"forget_scope"], "what is told stays in the store's files"
