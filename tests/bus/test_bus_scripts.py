"""The delivery contract, on a real Valkey."""

import asyncio
from typing import Any

import msgspec
import pytest

from appliance import keys
from appliance.bus import leases, scripts
from appliance.bus.client import Bus
from appliance.bus.leases import Holder, Taken
from appliance.bus.notices import Notice, arrive
from appliance.bus.script import run_all
from appliance.bus.texts import emitted_text
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Turns
from appliance.schema.answers import Timings, Usage
from appliance.schema.conversations import Session, Turn
from appliance.schema.events import Admitted, Cancelled, Delta, Done, Received, Retrieved, Waiting
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling

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
    assert await take(bus, request_id, "w1") == Taken("taken", 1, 0, "m")
    return request_id, leases.lease("w1", 1)


async def take(bus: Bus, request_id: str, worker: str, lease_ms: int = 60_000) -> Taken:
    return await leases.take(
        bus, request_id, worker, entry=f"{worker}-entry", lease_ms=lease_ms, model="m"
    )


async def append(bus: Bus, request_id: str, held: str, before: int, *texts: str) -> int:
    call = leases.append(
        request_id,
        held,
        lease_ms=60_000,
        before=before,
        deltas=[Delta(text=text) for text in texts],
    )
    (written,) = await run_all(bus, [call])
    return int(written)


async def release(bus: Bus, request_id: str, held: str, *, gone: bool = True) -> str:
    holder = Holder(gone=gone, died=True)
    return (await leases.release(bus, request_id, held, holder=holder, attempts=2)).outcome


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
    outcomes = await asyncio.gather(*(take(bus, request_id, f"w{n}") for n in range(8)))
    assert sorted(taken.outcome for taken in outcomes) == ["running"] * 7 + ["taken"]


async def test_a_request_that_was_not_admitted_cannot_be_taken(bus: Bus) -> None:
    request_id = await submit(bus)
    assert (await take(bus, request_id, "w1")).outcome == "waiting"
    assert (await take(bus, "x0-0", "w1")).outcome == "gone"


async def test_only_the_holder_of_the_lease_can_write(bus: Bus) -> None:
    request_id, held = await running(bus)
    assert await append(bus, request_id, held, 0, "one") == 1
    assert await append(bus, request_id, leases.lease("w2", 1), 1, "foreign") == 0
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
    assert await release(bus, request_id, held) == "queued"
    assert await append(bus, request_id, held, 1, "late") == 0
    assert await take(bus, request_id, "w2") == Taken("taken", 2, 1, "m")
    assert await append(bus, request_id, leases.lease("w2", 2), 1, " on") == 1
    assert await emitted_text(bus, request_id) == "kept on"
    assert await release(bus, request_id, held) == "foreign"


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


async def test_an_arrival_that_was_erased_meanwhile_leaves_nothing(bus: Bus) -> None:
    request_id = await submit(bus)
    arrival = Notice(kind="arrived", request_id=request_id)
    await arrive(bus, arrival)
    assert await bus.hget(keys.request(request_id), "ask")
    assert await bus.xlen(keys.ADMIT) == 1
    await bus.delete(keys.request(request_id))
    await arrive(bus, arrival)
    assert not await bus.exists(keys.request(request_id))
    assert await bus.xlen(keys.ADMIT) == 1


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


async def test_a_turn_that_leaves_takes_the_record_of_its_answer_along(bus: Bus) -> None:
    session = await new_session(bus)
    ended, held = await running(bus, session)
    await append(bus, ended, held, 0, "because")
    assert await scripts.end(bus, ended, DONE, ttl_s=60, held=held)
    kept = [await submit(bus, session, kept=2, created_at_ms=2_000 + n) for n in range(2)]
    assert not await bus.exists(keys.request(ended), keys.reply(ended))
    assert await bus.exists(*map(keys.request, kept)) == 2


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
    assert (await take(bus, request_id, "w1")).outcome == "cancel"


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


async def expire(bus: Bus, request_id: str) -> None:
    """Lets the lease be over, without waiting for the store's clock."""
    await bus.hset(keys.request(request_id), mapping={"until": 1})


async def test_after_its_end_a_lease_is_worth_nothing_even_if_nobody_took_over(bus: Bus) -> None:
    request_id, held = await running(bus)
    assert await release(bus, request_id, held, gone=False) == "running"
    await expire(bus, request_id)
    assert await append(bus, request_id, held, 0, "late") == 0
    assert not await scripts.end(bus, request_id, DONE, ttl_s=60, held=held)
    assert await run_all(bus, [leases.renew(request_id, held, lease_ms=9, waits=False)]) == [[0, 0]]
    assert await release(bus, request_id, held, gone=False) == "queued"
    assert await emitted_text(bus, request_id) == ""


async def test_each_write_and_each_heartbeat_prolongs_the_lease(bus: Bus) -> None:
    request_id, held = await running(bus)
    before = int(await bus.hget(keys.request(request_id), "until") or 0)
    call = leases.append(request_id, held, lease_ms=120_000, before=0, deltas=[Delta(text="a")])
    assert await run_all(bus, [call]) == [1]
    written = int(await bus.hget(keys.request(request_id), "until") or 0)
    assert written > before
    renewal = leases.renew(request_id, held, lease_ms=240_000, waits=False)
    ((until_ms, cancelled),) = await run_all(bus, [renewal])
    assert until_ms > written
    assert not cancelled
    await scripts.ask_cancel(bus, request_id)
    ((_, cancelled),) = await run_all(bus, [renewal])
    assert cancelled


async def test_text_after_a_gap_is_refused(bus: Bus) -> None:
    request_id, held = await running(bus)
    assert await append(bus, request_id, held, 2, "the store forgot what came before") == -1
    assert await emitted_text(bus, request_id) == ""


async def test_the_tokens_behind_the_text_are_kept_until_the_end(bus: Bus) -> None:
    request_id, held = await running(bus)
    for _ in range(2):
        for before, tokens in ((0, (7, 2**31)), (2, (5,))):
            call = leases.append(
                request_id,
                held,
                lease_ms=60_000,
                before=before // 2,
                deltas=[Delta(text="x")],
                tokens_before=before,
                tokens=tokens,
            )
            assert await run_all(bus, [call]) == [1]
    kept = await bus.get(keys.tokens(request_id))
    assert leases.unpacked(kept or b"") == (7, 2**31, 5)
    await scripts.end(bus, request_id, DONE, ttl_s=60, held=held)
    assert await bus.get(keys.tokens(request_id)) is None


async def test_a_store_that_forgot_its_scripts_is_told_them_again(bus: Bus) -> None:
    request_id, held = await running(bus)
    client: Any = bus
    await client.script_flush()
    calls = [
        leases.append(request_id, held, lease_ms=60_000, before=n, deltas=[Delta(text=str(n))])
        for n in range(3)
    ]
    assert await run_all(bus, calls) == [1, 1, 1]
    assert await emitted_text(bus, request_id) == "012"


async def died(bus: Bus, request_id: str, worker: str, *texts: str) -> leases.Released:
    """A worker takes the request, writes, and dies."""
    taken = await take(bus, request_id, worker)
    held = leases.lease(worker, taken.attempt)
    for n, text in enumerate(texts):
        assert await append(bus, request_id, held, taken.emitted + n, text) == 1
    holder = Holder(gone=True, died=True)
    return await leases.release(bus, request_id, held, holder=holder, attempts=2)


async def queued(bus: Bus) -> str:
    request_id = await submit(bus)
    await scripts.tell(
        bus, request_id, Admitted(waited_ms=0), while_state="waiting", new_state="queued"
    )
    return request_id


async def test_a_request_that_kills_twice_at_the_same_place_is_guilty(bus: Bus) -> None:
    request_id = await queued(bus)
    assert not (await died(bus, request_id, "w1", "a", "b")).guilty
    second = await died(bus, request_id, "w2", "c")
    assert (second.deaths, second.guilty) == (2, True)
    holder = Holder(gone=True, died=True)
    again = await leases.release(bus, request_id, "w2:2", holder=holder, attempts=2)
    assert (again.outcome, again.deaths, again.guilty) == ("queued", 2, True)


async def test_one_that_got_on_since_is_a_bystander_until_it_dies_alone(bus: Bus) -> None:
    request_id = await queued(bus)
    await died(bus, request_id, "w1", "a")
    second = await died(bus, request_id, "w2", *"bcdefghi")
    assert (second.deaths, second.guilty) == (2, False)
    assert (await died(bus, request_id, "w3", *"jklmnopqr")).guilty


async def test_an_end_in_order_and_a_wait_in_the_engine_are_no_deaths(bus: Bus) -> None:
    request_id = await queued(bus)
    await take(bus, request_id, "w1")
    holder = Holder(gone=True, died=False)
    released = await leases.release(bus, request_id, "w1:1", holder=holder, attempts=2)
    assert (released.outcome, released.deaths) == ("queued", 0)
    await take(bus, request_id, "w2")
    await run_all(bus, [leases.renew(request_id, "w2:2", lease_ms=60_000, waits=True)])
    holder = Holder(gone=True, died=True)
    released = await leases.release(bus, request_id, "w2:2", holder=holder, attempts=2)
    assert (released.outcome, released.deaths) == ("queued", 0)
