"""The chat screen, driven by keys and judged by what stands on the screen."""

import pytest
from stub_api import NOW_MS, StubApi, problem
from textual import events
from ui_driver import running

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import (
    Admitted,
    Cancelled,
    Delta,
    Done,
    Failed,
    Received,
    Refused,
    Retrieved,
    Waiting,
)
from ui.widgets.turn_view import TurnView

pytestmark = pytest.mark.ui

RECEIVED = Received(request_id="r", session_id="s", created_at_ms=NOW_MS)
DONE = Done(
    finish_reason="stop",
    model="m",
    usage=Usage(completion_tokens=12),
    timings=Timings(first_token_ms=400, tokens_per_s=24.1),
)
MATCH = Match(
    id="e-1",
    question="How do I reset my password?",
    phrasing="reset",
    answer="So.",
    category="",
    language="en",
    score=0.934,
)


def done(turn_id: str, question: str, answer: str) -> Turn:
    return Turn(id=turn_id, created_at_ms=NOW_MS, question=question, answer=answer, state="done")


async def test_a_question_goes_through_all_stages_to_its_answer(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("How so?")
        await sluice.sees("How so?", "sent")
        api.emit(request_id, RECEIVED, Waiting(place=3, eta_s=12.2))
        await sluice.sees("received", "You are 3rd, about 12 s")
        api.emit(request_id, Waiting(place=1, eta_s=4.0))
        await sluice.sees("You are 1st, about 4 s")
        api.emit(request_id, Admitted(waited_ms=3), Retrieved(matches=(MATCH,)))
        await sluice.sees("FAQ entries: 1", "0.93", "How do I reset my password?")
        api.emit(request_id, Delta(text="Be"), Delta(text="**cause**."))
        await sluice.sees("Because.", "answering")
        api.emit(request_id, DONE)
        await sluice.sees("finished", "24.1", "12", "Because.")


async def test_the_prompt_takes_lines_and_keeps_its_text_until_it_is_accepted(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.type("one\ntwo")
        api.overrides["POST", "/api/sessions"] = problem(503, "unavailable", "the store is away")
        await sluice.press("enter")
        await sluice.sees("Not sent;", "A part of the server is away", "one", "two")
        del api.overrides["POST", "/api/sessions"]
        await sluice.press("enter")
        await sluice.until(lambda: api.streams)
        assert api.turns[next(iter(api.sessions))][0].question == "one\ntwo"
        await sluice.sees("Type a question")


async def test_a_long_paste_is_undone(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        sluice.app.post_message(events.Paste("\n".join(f"line {n}" for n in range(40))))
        await sluice.sees("line 39")
        await sluice.press("ctrl+z")
        await sluice.sees(sluice.texts.chat_prompt)
        await sluice.press("ctrl+y")
        await sluice.sees("line 39")


async def test_a_window_without_room_for_the_prompt_crashes_nothing(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        for width in range(1, 30):
            await sluice.pilot.resize_terminal(width, 8)
        await sluice.pilot.resize_terminal(100, 30)
        await sluice.sees(sluice.texts.chat_prompt)


async def test_a_session_whose_first_question_was_refused_is_used_again(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        api.overrides["POST", "/api/sessions/s-2/messages"] = problem(429, "overloaded", "full")
        await sluice.type("a")
        await sluice.press("enter")
        await sluice.sees("The server is busy: full")
        api.overrides.clear()
        await sluice.press("enter")
        await sluice.until(lambda: api.streams)
        assert list(api.sessions) == ["s-2"]


async def test_an_answer_goes_on_while_another_session_is_on_screen(api: StubApi) -> None:
    api.add_session("Elsewhere", done("r-x", "Old question?", "Old answer."), minutes_ago=9)
    async with running(api) as sluice:
        await sluice.sees("Elsewhere")
        request_id = await sluice.ask("New question?")
        api.emit(request_id, Delta(text="First part, "))
        await sluice.sees("First part,")
        await sluice.press("ctrl+down")
        await sluice.sees("Old answer.", "▸ New question?")
        api.emit(request_id, Delta(text="second part."), DONE)
        await sluice.sees("● New question?")
        await sluice.press("ctrl+up")
        await sluice.sees("First part, second part.", "finished")
        await sluice.sees_no("● New question?")


async def test_opening_a_session_with_an_open_turn_follows_it(api: StubApi) -> None:
    open_turn = Turn(
        id="r-open", created_at_ms=NOW_MS, question="Still?", answer="Ye", state="running"
    )
    api.add_session("Left open", open_turn)
    api.emit("r-open", RECEIVED, Delta(text="Yes, "))
    async with running(api) as sluice:
        await sluice.sees("Left open")
        await sluice.press("ctrl+down")
        await sluice.sees("Yes,", "answering")
        api.emit("r-open", Delta(text="still."), DONE)
        await sluice.sees("Yes, still.", "finished")


async def test_drafts_are_kept_for_each_session(api: StubApi) -> None:
    api.add_session("Other")
    async with running(api) as sluice:
        await sluice.sees("Other")
        await sluice.type("draft one")
        await sluice.press("ctrl+down")
        await sluice.sees_no("draft one")
        await sluice.type("draft two")
        await sluice.press("ctrl+up")
        await sluice.sees("draft one")
        await sluice.press("ctrl+down")
        await sluice.sees("draft two")


@pytest.mark.parametrize("key", ["escape", "ctrl+x"])
async def test_a_running_answer_is_stopped_by_key(api: StubApi, key: str) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("Long?")
        api.emit(request_id, Delta(text="half"))
        await sluice.sees("half", "Stop")
        await sluice.press(key)
        await sluice.sees("stopping")
        assert len(api.calls("DELETE", f"/api/requests/{request_id}")) == 1
        api.emit(request_id, Cancelled(reason="asked"))
        await sluice.sees("Stopped", "half", "Ctrl+G")


async def test_without_an_answer_to_stop_ctrl_x_cuts_as_ever(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.type("cut me")
        await sluice.press("shift+home", "ctrl+x")
        await sluice.sees_no("cut me")


async def test_refusal_and_failure_say_what_to_do_next(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        refused = Refused(reason="full", message="the queue is full", retry_after_s=12)
        api.emit(await sluice.ask("One?"), refused)
        await sluice.sees("Not taken now: the queue is full", "Try again in about 12 s")
        failed = Failed(code="internal", reason="poison", message="two workers died")
        api.emit(await sluice.ask("Two?"), failed)
        await sluice.sees("The answer failed: two workers died", "F4 shows what is wrong")


async def test_asking_again_puts_the_question_back(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        refused = Refused(reason="full", message="full", retry_after_s=1)
        api.emit(await sluice.ask("Again please?"), refused)
        await sluice.sees("Not taken now")
        before = len(api.streams)
        await sluice.press("ctrl+g", "enter")
        await sluice.until(lambda: len(api.streams) > before)
        assert [t.question for t in api.turns["s-2"]] == ["Again please?", "Again please?"]


async def test_a_second_question_waits_for_the_first_answer(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.ask("First?")
        await sluice.sees("▸ sent")
        await sluice.type("Second?")
        await sluice.press("enter")
        await sluice.sees("An answer is still being made here", "Second?")
        assert len(api.streams) == 1


async def test_a_session_is_renamed(api: StubApi) -> None:
    api.add_session("Before")
    async with running(api) as sluice:
        await sluice.sees("Before")
        await sluice.press("ctrl+down", "ctrl+r")
        await sluice.sees("Rename the session")
        await sluice.press("ctrl+u")
        await sluice.type("After")
        await sluice.press("enter")
        await sluice.sees("After")
        assert [session.title for session in api.sessions.values()] == ["After"]


async def test_deleting_a_session_asks_first(api: StubApi) -> None:
    api.add_session("Doomed", done("r-x", "Q?", "An answer."))
    async with running(api) as sluice:
        await sluice.sees("Doomed")
        await sluice.press("ctrl+down")
        await sluice.sees("An answer.")
        await sluice.press("ctrl+l", "delete")
        await sluice.sees("Delete this session?", "Doomed")
        await sluice.press("enter")
        await sluice.sees("An answer.")
        assert len(api.sessions) == 1
        await sluice.press("ctrl+l", "delete", "left", "enter")
        await sluice.sees("Ask a question.")
        assert api.sessions == {}


async def test_older_turns_come_with_page_up(api: StubApi) -> None:
    api.add_session("Long", *(done(f"r-{n:02}", f"Question {n:02}?", "Yes.") for n in range(30)))
    async with running(api, height=24) as sluice:
        await sluice.sees("Long")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 29?")
        shown = sluice.chat.query(TurnView)
        assert len(shown) < 10
        pages = 0
        while "Question 00?" not in sluice.text:
            await sluice.press("pageup")
            await sluice.pilot.pause()
            pages += 1
            assert pages < 100
        assert len(sluice.chat.query(TurnView)) == 30


async def test_what_was_on_top_stays_on_screen_when_older_turns_come(api: StubApi) -> None:
    api.add_session("Long", *(done(f"r-{n:02}", f"Question {n:02}?", "Yes.") for n in range(30)))
    async with running(api, height=24) as sluice:
        await sluice.sees("Long")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 29?")
        await sluice.press("pageup")  # six short turns are less than two pages
        await sluice.sees("Older turns")
        top = next(line for line in sluice.lines if "Question" in line)[30:].strip()
        await sluice.press("pageup")
        await sluice.until(lambda: len(sluice.chat.query(TurnView)) > 6)
        await sluice.sees(top)


async def test_a_new_question_takes_the_view_back_to_the_end(api: StubApi) -> None:
    api.add_session("Long", *(done(f"r-{n:02}", f"Question {n:02}?", "Yes.") for n in range(30)))
    async with running(api, height=24) as sluice:
        await sluice.sees("Long")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 29?")
        await sluice.press(*["pageup"] * 6)
        await sluice.ask("Newest?")
        await sluice.sees("Newest?", "sent")
        assert len(sluice.chat.query(TurnView)) < 10


async def test_when_the_server_goes_and_comes_back_nothing_is_lost(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("Long?")
        api.emit(request_id, Delta(text="before "))
        await sluice.sees("before")
        await sluice.type("a draft")
        api.down()
        await sluice.sees("connection lost", "is away", "a draft")
        api.up()
        await sluice.sees("● ready")
        await sluice.sees_no("is away")
        api.emit(request_id, Delta(text="and after"), DONE)
        await sluice.sees("before and after", "finished", "a draft")


async def test_more_sessions_are_loaded_at_the_end_of_the_list(api: StubApi) -> None:
    api.page_limit = 3
    for number in range(5):
        api.add_session(f"Session {number}", minutes_ago=number)
    async with running(api) as sluice:
        await sluice.sees("Session 2", "more…")
        await sluice.press("ctrl+l", "end", "enter")
        await sluice.sees("Session 4")
        await sluice.sees_no("more…")
