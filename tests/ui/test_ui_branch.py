"""Branching a conversation from the chat's place."""

import pytest
from stub_api import NOW_MS, StubApi, problem
from ui_driver import running

from appliance.schema.conversations import Turn
from appliance.schema.events import Delta

pytestmark = pytest.mark.ui


def done(number: int) -> Turn:
    return Turn(
        id=f"r-{number}",
        created_at_ms=NOW_MS + number,
        question=f"Question {number}?",
        answer=f"Answer {number}.",
        state="done",
    )


@pytest.fixture
def talk(api: StubApi) -> StubApi:
    api.add_session("Talk", *(done(number) for number in range(3)))
    return api


async def test_a_branch_goes_on_from_the_turn_pointed_at(talk: StubApi) -> None:
    async with running(talk, height=40) as sluice:
        await sluice.sees("Talk")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 2?")
        await sluice.press("ctrl+b", "k", "b")
        await sluice.sees("Talk (branch)", "This is a new session", "Answer 1.")
        await sluice.sees_no("Question 2?")
        await sluice.ask("Another way?")
        questions = [turn.question for turn in list(talk.turns.values())[-1]]
        assert questions == ["Question 0?", "Question 1?", "Another way?"]
    assert len(talk.turns["s-2"]) == 3


async def test_from_the_prompt_a_branch_starts_at_the_last_turn_in_chinese(talk: StubApi) -> None:
    async with running(talk, language="zh") as sluice:
        await sluice.sees("Talk")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 2?")
        await sluice.press("ctrl+t")
        await sluice.sees("Talk（分支）", "这是包含以上问答的新会话")
        await sluice.press("ctrl+t")
        await sluice.until(lambda: len(talk.sessions) == 3)
    assert [one.title for one in talk.sessions.values()] == ["Talk", "Talk（分支）", "Talk（分支）"]


async def test_the_palette_offers_it_where_there_is_a_turn(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await sluice.sees("Talk")
        await sluice.press("ctrl+p")
        await sluice.type("branch")
        await sluice.sees_no("goes on from the turn")
        await sluice.press("escape", "ctrl+down")
        await sluice.sees("Question 2?")
        await sluice.press("ctrl+p")
        await sluice.type("branch")
        await sluice.sees("Branch")
        await sluice.press("enter")
        await sluice.sees("Talk (branch)")


async def test_an_open_answer_is_no_place_to_branch_from_and_failures_are_told(
    talk: StubApi,
) -> None:
    async with running(talk) as sluice:
        await sluice.sees("Talk")
        await sluice.press("ctrl+down")
        await sluice.sees("Question 2?")
        talk.overrides["POST", "/api/sessions/s-2/branch"] = problem(503, "unavailable", "it broke")
        await sluice.press("ctrl+t")
        await sluice.sees("was not branched", "it broke")
        talk.emit(await sluice.ask("And?"), Delta(text="So far"))
        await sluice.sees("So far")
        await sluice.press("ctrl+t")
        await sluice.sees("not finished. Branch")
    assert len(talk.sessions) == 1
