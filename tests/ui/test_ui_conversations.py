"""The conversations without a screen: what is followed, kept, given up and told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from stub_api import NOW_MS, StubApi, problem

from appliance.errors import Unavailable
from appliance.schema.answers import Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Admitted, Cancelled, Delta, Done, Received
from appliance.schema.requests import RequestState
from ui.client import Client
from ui.conversations import (
    LOADED_MAX,
    TURNS_PAGE,
    Change,
    ConversationChanged,
    Conversations,
    TurnChanged,
    Work,
)
from ui.turns import LiveTurn

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())


class Desk:
    """Conversations with their follow tasks, and what they told."""

    def __init__(self, client: Client) -> None:
        self.told: list[Change] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.followers = 0
        self.known = Conversations(client, spawn=self._spawn, tell=self._hear)
        self._came = asyncio.Condition()

    def _spawn(self, work: Work) -> None:
        self.followers += 1
        self.tasks.append(asyncio.create_task(work()))

    def _hear(self, change: Change) -> None:
        self.told.append(change)
        self.tasks.append(asyncio.create_task(self._notify()))

    async def _notify(self) -> None:
        async with self._came:
            self._came.notify_all()

    async def until(self, is_true: Callable[[], object]) -> None:
        async with asyncio.timeout(10), self._came:
            await self._came.wait_for(is_true)

    def turn(self, session_id: str) -> LiveTurn:
        return list(self.known.conversation(session_id).turns.values())[-1]

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@pytest.fixture
async def desk(client: Client) -> AsyncIterator[Desk]:
    made = Desk(client)
    yield made
    await made.close()


def stored(
    turn_id: str, at: int = 0, state: RequestState = "done", **facts: Any
) -> Turn:  # Any: record fields
    return Turn(id=turn_id, created_at_ms=NOW_MS + at, question=f"{turn_id}?", state=state, **facts)


async def test_a_question_is_followed_to_its_end_also_off_screen(desk: Desk, api: StubApi) -> None:
    session_id = await desk.known.create()
    desk.known.show(session_id)
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    assert desk.known.has_open_answer(session_id)
    desk.known.show("another")
    request_id = api.last_request_id()
    api.emit(request_id, Admitted(waited_ms=1), Delta(text="Hel"), Delta(text="lo"), DONE)
    await desk.until(lambda: desk.turn(session_id).phase == "done")
    assert desk.turn(session_id).answer == "Hello"
    await desk.until(lambda: desk.known.has_unseen_answer(session_id))
    desk.known.show(session_id)
    assert not desk.known.has_unseen_answer(session_id)


async def test_opening_a_session_follows_its_open_turn_from_the_beginning(
    desk: Desk, api: StubApi
) -> None:
    session = api.add_session("Open", stored("r-a"), stored("r-b", 1, "running", answer="Hal"))
    api.emit("r-b", Received(request_id="r-b", session_id=session.id, created_at_ms=NOW_MS))
    api.emit("r-b", Delta(text="Hal"))
    await desk.known.load(session.id)
    await desk.until(lambda: desk.turn(session.id).answer == "Hal")
    api.emit("r-b", Delta(text="lo"), DONE)
    await desk.until(lambda: desk.turn(session.id).phase == "done")
    assert desk.turn(session.id).answer == "Hallo"


async def test_opening_a_session_has_it_warmed(desk: Desk, api: StubApi) -> None:
    session = api.add_session("Old", stored("r-a"))
    await desk.known.load(session.id)
    await asyncio.gather(*desk.tasks)
    assert api.warmed == [session.id]


async def test_a_server_that_cannot_warm_disturbs_nobody(desk: Desk, api: StubApi) -> None:
    session = api.add_session("Old", stored("r-a"))
    api.overrides["POST", f"/api/sessions/{session.id}/warm"] = problem(503, "unavailable", "no")
    await desk.known.load(session.id)
    await asyncio.gather(*desk.tasks)
    assert desk.turn(session.id).phase == "done"


async def test_a_turn_is_followed_once_however_often_its_session_is_opened(
    desk: Desk, api: StubApi
) -> None:
    session = api.add_session("Open", stored("r-b", 1, "running"))
    await asyncio.gather(*(desk.known.load(session.id) for _ in range(3)))
    assert desk.followers == 1
    api.emit("r-b", Delta(text="a"), DONE)
    await desk.until(lambda: desk.turn(session.id).phase == "done")
    assert desk.turn(session.id).answer == "a"


async def test_a_broken_line_is_told_and_mended(desk: Desk, api: StubApi) -> None:
    session_id = await desk.known.create()
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    api.emit(api.last_request_id(), Delta(text="a"))
    await desk.until(lambda: desk.turn(session_id).answer == "a")
    api.cut()
    await desk.until(
        lambda: any(isinstance(c, TurnChanged) and c.turn.interrupted for c in desk.told)
    )
    api.emit(api.last_request_id(), Delta(text="b"), DONE)
    await desk.until(lambda: desk.turn(session_id).phase == "done")
    assert desk.turn(session_id).answer == "ab"
    assert not desk.turn(session_id).interrupted


async def test_an_expired_request_is_read_back_from_the_store(desk: Desk, api: StubApi) -> None:
    session_id = await desk.known.create()
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    request_id = api.last_request_id()
    api.emit(request_id, Delta(text="a"))
    await desk.until(lambda: desk.turn(session_id).answer == "a")
    api.turns[session_id] = [stored(request_id, answer="a whole answer")]
    api.overrides["GET", f"/api/requests/{request_id}/events"] = problem(404, "not_found", "old")
    api.cut()
    await desk.until(lambda: desk.turn(session_id).phase == "done")
    assert desk.turn(session_id).answer == "a whole answer"


async def test_a_request_that_is_gone_without_an_end_is_lost(desk: Desk, api: StubApi) -> None:
    session = api.add_session("Late", stored("r-b", 1, "running"))
    api.overrides["GET", "/api/requests/r-b/events"] = problem(404, "not_found", "expired")
    await desk.known.load(session.id)
    await desk.until(lambda: desk.turn(session.id).phase == "lost")


async def test_a_lost_turn_is_followed_again_when_its_session_is_opened(
    desk: Desk, api: StubApi
) -> None:
    session_id = await desk.known.create()
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    api.emit(api.last_request_id(), Delta(text="a"))
    await desk.until(lambda: desk.turn(session_id).answer == "a")
    api.down()
    await desk.until(lambda: desk.turn(session_id).phase == "lost")
    api.up()
    await desk.known.load(session_id)
    api.emit(api.last_request_id(), Delta(text="b"), DONE)
    await desk.until(lambda: desk.turn(session_id).phase == "done")
    assert desk.turn(session_id).answer == "ab"


async def test_a_question_that_was_not_taken_leaves_no_turn(desk: Desk, api: StubApi) -> None:
    session_id = await desk.known.create()
    api.overrides["POST", f"/api/sessions/{session_id}/messages"] = problem(
        503, "unavailable", "no worker"
    )
    with pytest.raises(Unavailable):
        await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    assert desk.known.conversation(session_id).turns == {}


async def test_stopping_shows_at_once_and_ends_with_the_stream(desk: Desk, api: StubApi) -> None:
    session_id = await desk.known.create()
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    await desk.known.cancel(session_id)
    assert desk.turn(session_id).cancelling
    await desk.known.cancel(session_id)
    request_id = api.last_request_id()
    assert len(api.calls("DELETE", f"/api/requests/{request_id}")) == 1
    api.emit(request_id, Cancelled(reason="asked"))
    await desk.until(lambda: desk.turn(session_id).phase == "cancelled")


async def test_a_stop_that_could_not_be_asked_for_can_be_asked_again(
    desk: Desk, api: StubApi
) -> None:
    session_id = await desk.known.create()
    await desk.known.ask(session_id, "Hello?", now_ms=NOW_MS)
    request_id = api.last_request_id()
    api.overrides["DELETE", f"/api/requests/{request_id}"] = problem(503, "unavailable", "away")
    with pytest.raises(Unavailable):
        await desk.known.cancel(session_id)
    assert not desk.turn(session_id).cancelling


async def test_older_turns_come_before_those_that_are_known(desk: Desk, api: StubApi) -> None:
    count = TURNS_PAGE + 5
    session = api.add_session("Long", *(stored(f"r-{n:03}", n) for n in range(count)))
    await desk.known.load(session.id)
    assert len(desk.known.conversation(session.id).turns) == TURNS_PAGE
    await desk.known.load_older(session.id)
    await desk.known.load_older(session.id)
    assert list(desk.known.conversation(session.id).turns) == [f"r-{n:03}" for n in range(count)]
    assert ConversationChanged(session.id) in desk.told


async def test_a_deleted_session_is_gone_even_if_it_was_gone_already(
    desk: Desk, api: StubApi
) -> None:
    session = api.add_session("Gone")
    await desk.known.load_sessions()
    del api.sessions[session.id]
    await desk.known.delete(session.id)
    assert desk.known.sessions == ()


async def test_sessions_are_listed_newest_first_and_page_by_page(desk: Desk, api: StubApi) -> None:
    api.page_limit = 2
    for minutes in (3, 1, 2):
        api.add_session(f"{minutes} minutes ago", minutes_ago=minutes)
    await desk.known.load_sessions()
    assert desk.known.has_more_sessions
    await desk.known.load_more_sessions()
    titles = [session.title for session in desk.known.sessions]
    assert titles == ["1 minutes ago", "2 minutes ago", "3 minutes ago"]
    assert not desk.known.has_more_sessions


async def test_older_sessions_stay_known_when_the_newest_are_read_again(
    desk: Desk, api: StubApi
) -> None:
    api.page_limit = 2
    made = [api.add_session(f"{n}", minutes_ago=n) for n in range(7)]
    await desk.known.load_sessions()
    await desk.known.load_session(made[6].id)
    await desk.known.load_more_sessions()
    del api.sessions[made[1].id]  # elsewhere
    await desk.known.load_sessions()
    assert [one.title for one in desk.known.sessions] == ["0", "2", "3", "6"]


async def test_only_so_many_conversations_stay_in_memory(desk: Desk, api: StubApi) -> None:
    first = api.add_session("Open", stored("r-open", 0, "running"))
    others = [api.add_session(f"{n}", stored(f"r-{n}")) for n in range(LOADED_MAX + 5)]
    for session in (first, *others):
        desk.known.show(session.id)
        await desk.known.load(session.id)
    loaded = [s.id for s in (first, *others) if desk.known.conversation(s.id).loaded]
    assert len(loaded) == LOADED_MAX
    assert loaded[0] == first.id  # an open answer is never given up
    assert loaded[1:] == [session.id for session in others[-LOADED_MAX + 1 :]]
