"""The delivery contract, on a real Valkey."""

import asyncio
from typing import Any

import msgspec
import pytest

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.bus.texts import emitted_text
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Turns
from appliance.schema import (
    Admitted,
    Cancelled,
    Delta,
    Done,
    Received,
    Request,
    Retrieved,
    Sampling,
    Session,
    Timings,
    Turn,
    Usage,
    Waiting,
)

pytestmark = pytest.mark.integration

DONE = Done(finish_reason="stop", model="m", usage=Usage(completion_tokens=2), timings=Timings())


def request_for(session: Session | None = None, created_at_ms: int = 1_000) -> Request:
    return Request(
        id=keys.new_request_id(session.id if session else ""),
        uid="u",
        session_id=session.id if session else "",
        text="why?",
        sampling=Sampling(),
        created_at_ms=created_at_ms,
        deadline_at_ms=9_999,
    )


async def submit(
    bus: Bus, session: Session | None = None, *, kept: int = 100, created_at_ms: int = 1_000
) -> str:
    request = request_for(session, created_at_ms)
    received = Received(
        request_id=request.id, session_id=request.session_id, created_at_ms=created_at_ms
    )
    question = msgspec.json.encode(Asked(text=request.text, created_at_ms=created_at_ms))
    stored = await scripts.submit(
        bus, request, received, turns_kept=kept, question=question if session else b""
    )
    assert stored == 1
    return request.id


async def running(bus: Bus, session: Session | None = None) -> tuple[str, str]:
    request_id = await submit(bus, session)
    await scripts.tell(
        bus, request_id, Admitted(waited_ms=0), while_state="waiting", new_state="queued"
    )
    taken = await scripts.take(bus, request_id, "w1")
    assert taken == scripts.Taken("taken", 1)
    return request_id, scripts.lease("w1", 1)


async def append(bus: Bus, request_id: str, held: str, before: int, *texts: str) -> int:
    pipeline = bus.pipeline(transaction=False)
    scripts.queue_append(pipeline, request_id, held, before=before, texts=texts)
    (written,) = await pipeline.execute()
    return int(written)


async def events(bus: Bus, request_id: str) -> list[str]:
    rows = await bus.xrange(keys.reply(request_id), "-", "+", 1000)
    return [fields[b"event"].decode() for _, fields in rows]


async def new_session(bus: Bus) -> Session:
    return await Sessions(bus, sessions_kept=10).create("u", "")


async def test_a_request_is_stored_once_however_often_it_is_submitted(bus: Bus) -> None:
    request = request_for()
    received = Received(request_id=request.id, session_id="", created_at_ms=1)
    assert await scripts.submit(bus, request, received, turns_kept=1) == 1
    assert await scripts.submit(bus, request, received, turns_kept=1) == 0
    assert await events(bus, request.id) == ["received"]


async def test_a_request_for_a_deleted_session_leaves_nothing_behind(bus: Bus) -> None:
    session = await new_session(bus)
    await Sessions(bus, sessions_kept=10).delete(session)
    request = request_for(session)
    received = Received(request_id=request.id, session_id=session.id, created_at_ms=1)
    assert await scripts.submit(bus, request, received, turns_kept=1, question=b"{}") == -1
    assert not await bus.exists(keys.request(request.id), keys.reply(request.id))


async def test_of_many_workers_only_one_takes_a_request(bus: Bus) -> None:
    request_id = await submit(bus)
    await scripts.tell(
        bus, request_id, Admitted(waited_ms=0), while_state="waiting", new_state="queued"
    )
    outcomes = await asyncio.gather(*(scripts.take(bus, request_id, f"w{n}") for n in range(8)))
    assert sorted(taken.outcome for taken in outcomes) == ["running"] * 7 + ["taken"]


async def test_a_request_that_was_not_admitted_cannot_be_taken(bus: Bus) -> None:
    request_id = await submit(bus)
    assert (await scripts.take(bus, request_id, "w1")).outcome == "waiting"
    assert (await scripts.take(bus, "x0-0", "w1")).outcome == "gone"


async def test_only_the_holder_of_the_lease_can_write(bus: Bus) -> None:
    request_id, held = await running(bus)
    assert await append(bus, request_id, held, 0, "one") == 1
    assert await append(bus, request_id, scripts.lease("w2", 1), 1, "foreign") == 0
    assert not await scripts.end(bus, request_id, DONE, ttl_s=60, held="w2:1")
    assert not await scripts.end(bus, request_id, DONE, ttl_s=60)
    assert await emitted_text(bus, request_id) == "one"


async def test_text_resent_after_a_lost_reply_is_not_repeated(bus: Bus) -> None:
    request_id, held = await running(bus)
    await append(bus, request_id, held, 0, "a", "b")
    assert await append(bus, request_id, held, 0, "a", "b") == 1
    assert await append(bus, request_id, held, 1, "b", "c") == 1
    assert await emitted_text(bus, request_id) == "abc"


async def test_a_worker_that_lost_its_lease_cannot_write_any_more(bus: Bus) -> None:
    request_id, held = await running(bus)
    await append(bus, request_id, held, 0, "kept")
    assert await scripts.release(bus, request_id, held) == scripts.Taken("released", 1)
    assert await append(bus, request_id, held, 1, "late") == 0
    taken = await scripts.take(bus, request_id, "w2")
    assert taken == scripts.Taken("taken", 2)
    assert await append(bus, request_id, scripts.lease("w2", 2), 1, " on") == 1
    assert await emitted_text(bus, request_id) == "kept on"
    assert (await scripts.release(bus, request_id, held)).outcome == "kept"


async def test_of_many_terminal_events_only_the_first_is_written(bus: Bus) -> None:
    request_id = await submit(bus)
    outcomes = await asyncio.gather(
        *(scripts.end(bus, request_id, Cancelled(reason=str(n)), ttl_s=60) for n in range(8))
    )
    assert sum(outcomes) == 1
    assert await events(bus, request_id) == ["received", "cancelled"]
    assert not await scripts.tell(
        bus, request_id, Waiting(place=1, eta_s=None), while_state="waiting"
    )
    assert await scripts.ask_cancel(bus, request_id) == "cancelled"


async def test_the_turn_is_stored_no_later_than_the_terminal_event(bus: Bus) -> None:
    session = await new_session(bus)
    request_id, held = await running(bus, session)
    usage = Usage(prompt_tokens=1, completion_tokens=2, total_tokens=3)
    assert await scripts.end(
        bus, request_id, DONE, ttl_s=60, held=held, text="because", usage=usage
    )
    page = await Turns(bus).page(session.id, cursor=None, limit=10)
    (turn,) = page.items
    assert isinstance(turn, Turn)
    assert (turn.question, turn.answer, turn.state) == ("why?", "because", "done")
    assert turn.usage == usage


async def test_an_open_turn_shows_the_state_of_its_request(bus: Bus) -> None:
    session = await new_session(bus)
    request_id = await submit(bus, session)
    (turn,) = await Turns(bus).latest(session.id, 10)
    assert (turn.id, turn.state, turn.answer) == (request_id, "waiting", "")


async def test_the_oldest_turns_leave_at_the_bound_with_all_they_hold(bus: Bus) -> None:
    session = await new_session(bus)
    ids = [await submit(bus, session, kept=3, created_at_ms=1_000 + n) for n in range(5)]
    kept = await Turns(bus).latest(session.id, 10)
    assert [turn.id for turn in kept] == ids[2:]
    fields = await bus.hgetall(keys.turn(session.id))
    assert {name.decode().partition(":")[0] for name in fields} == set(ids[2:])


async def test_what_was_retrieved_is_told_once_and_kept_with_the_turn(bus: Bus) -> None:
    session = await new_session(bus)
    request_id = await submit(bus, session)
    await scripts.tell(
        bus, request_id, Admitted(waited_ms=0), while_state="waiting", new_state="queued"
    )
    for _ in range(2):
        sent = b'{"text":"with facts: why?"}'
        assert await scripts.retrieved(bus, request_id, Retrieved(matches=()), sent)
    assert await events(bus, request_id) == ["received", "admitted", "retrieved"]
    (turn,) = await Turns(bus).latest(session.id, 10)
    assert turn.sent == "with facts: why?"


async def test_a_cancelled_request_is_told_so_when_it_is_taken(bus: Bus) -> None:
    request_id = await submit(bus)
    await scripts.tell(
        bus, request_id, Admitted(waited_ms=0), while_state="waiting", new_state="queued"
    )
    assert await scripts.ask_cancel(bus, request_id) == "queued"
    assert (await scripts.take(bus, request_id, "w1")).outcome == "cancel"


async def test_an_ended_request_expires_and_an_open_one_does_not(bus: Bus) -> None:
    request_id, held = await running(bus)
    ttl: Any = await bus.eval("return redis.call('TTL', KEYS[1])", 1, keys.request(request_id))
    assert ttl == -1
    await scripts.end(bus, request_id, DONE, ttl_s=60, held=held)
    for key in (keys.request(request_id), keys.reply(request_id)):
        assert 0 < await bus.eval("return redis.call('TTL', KEYS[1])", 1, key) <= 60


async def test_the_text_of_a_long_reply_is_read_back_whole(bus: Bus) -> None:
    request_id, held = await running(bus)
    texts = [f"{n} " for n in range(2_500)]
    await append(bus, request_id, held, 0, *texts)
    assert await emitted_text(bus, request_id) == "".join(texts)
    rows = await bus.xrange(keys.reply(request_id), "-", "+", 3)
    assert msgspec.json.decode(rows[2][1][b"data"], type=Delta).text == "0 "
