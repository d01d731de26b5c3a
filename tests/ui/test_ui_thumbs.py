"""Thumbs on answers: given, changed, taken back, refused, and seen at the answer without colour."""

import asyncio

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, problem
from ui_driver import Driven, running

from appliance.schema.answers import Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.curation import FeedbackPost, Thumb
from appliance.schema.events import Delta, Done, Failed
from ui.client import Client
from ui.conversations import Conversations
from ui.texts import texts_for
from ui.turns import from_store, merge

pytestmark = pytest.mark.ui

UP = "You gave thumbs up"
DOWN = "You gave thumbs down"
DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())


def done(turn_id: str, thumb: Thumb = "none") -> Turn:
    return Turn(
        id=turn_id,
        created_at_ms=NOW_MS,
        question=f"Question {turn_id}?",
        answer=f"Answer {turn_id}.",
        state="done",
        thumb=thumb,
    )


@pytest.fixture
def talk(api: StubApi) -> StubApi:
    api.add_session("Talk", done("r-1"), done("r-2"))
    return api


def posted(api: StubApi, request_id: str) -> list[Thumb]:
    calls = api.calls("POST", f"/api/requests/{request_id}/feedback")
    return [msgspec.json.decode(call.body, type=FeedbackPost).thumb for call in calls]


def kept(api: StubApi, at: int) -> Thumb:
    return api.turns["s-2"][at].thumb


async def read(sluice: Driven) -> None:
    """Opens the session and goes into it."""
    await sluice.sees("Talk")
    await sluice.press("ctrl+down")
    await sluice.sees("Answer r-2.")
    await sluice.press("ctrl+b")
    await sluice.sees(sluice.texts.chat.key_copy_answer)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_thumb_is_given_changed_and_taken_back(talk: StubApi, language: str) -> None:
    words = texts_for(language).chat
    async with running(talk, language=language) as sluice:
        await read(sluice)
        await sluice.press("+")
        await sluice.sees(words.thumb_up)
        await sluice.until(lambda: kept(talk, 1) == "up")
        await sluice.press("-")
        await sluice.sees(words.thumb_down)
        await sluice.until(lambda: kept(talk, 1) == "down")
        assert words.thumb_up not in sluice.text
        await sluice.press("-")
        await sluice.sees_no(words.thumb_down)
        await sluice.until(lambda: kept(talk, 1) == "none")
    assert posted(talk, "r-2") == ["up", "down", "none"]
    assert posted(talk, "r-1") == []


async def test_the_answer_pointed_at_gets_the_thumb(talk: StubApi) -> None:
    async with running(talk) as sluice:
        await read(sluice)
        await sluice.press("k", "-")
        await sluice.sees(DOWN)
        await sluice.until(lambda: kept(talk, 0) == "down")
    assert posted(talk, "r-2") == []


@pytest.mark.parametrize(("language", "typed"), [("en", "thumbs down"), ("zh", "点踩")])
async def test_the_palette_gives_it_to_the_answer_pointed_at(
    talk: StubApi, language: str, typed: str
) -> None:
    words = texts_for(language).chat
    async with running(talk, language=language) as sluice:
        await read(sluice)
        await sluice.press("k", "ctrl+p")
        await sluice.type(typed)
        await sluice.sees(words.tip_thumb_down)
        await sluice.press("enter")
        await sluice.sees(words.thumb_down)
        await sluice.until(lambda: kept(talk, 0) == "down")
    assert posted(talk, "r-2") == []


async def test_what_was_given_is_there_when_the_session_is_opened(api: StubApi) -> None:
    api.add_session("Talk", done("r-1", "down"), done("r-2", "up"))
    async with running(api) as sluice:
        await read(sluice)
        await sluice.sees(UP, DOWN)
        assert sluice.text.index(DOWN) < sluice.text.index(UP)
        await sluice.press("+")
        await sluice.sees_no(UP)
        await sluice.until(lambda: kept(api, 1) == "none")


async def test_an_error_is_told_and_the_former_thumb_shown_again(talk: StubApi) -> None:
    talk.turns["s-2"][1] = done("r-2", "up")
    path = "/api/requests/r-2/feedback"
    async with running(talk) as sluice:
        await read(sluice)
        talk.overrides["POST", path] = problem(404, "not_found", "no answer r-2")
        await sluice.press("-")
        await sluice.sees("was not stored", "no answer r-2", UP)
        assert DOWN not in sluice.text
        del talk.overrides["POST", path]
        await sluice.press("-")
        await sluice.sees(DOWN)
    assert kept(talk, 1) == "down"


async def test_only_a_finished_answer_gets_a_thumb(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("q")
        api.emit(request_id, Delta(text="So far"))
        await sluice.sees("So far")
        await sluice.press("ctrl+b", "+")
        await sluice.sees("no finished answer")
        api.emit(request_id, DONE)
        await sluice.sees("finished")
        await sluice.press("+")
        await sluice.sees(UP)
    assert posted(api, request_id) == ["up"]


async def test_half_an_answer_may_be_bad(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("q")
        api.emit(
            request_id,
            Delta(text="Half"),
            Failed(code="internal", reason="worker", message="it broke"),
        )
        await sluice.sees("it broke")
        await sluice.press("ctrl+b", "-")
        await sluice.sees("it broke", DOWN)


async def test_the_last_of_quick_wishes_is_what_the_server_keeps(
    talk: StubApi, client: Client
) -> None:
    known = Conversations(client, spawn=lambda _: None, tell=lambda _: None)
    await known.load("s-2")
    await asyncio.gather(
        *(known.rate("s-2", "r-1", thumb) for thumb in ("up", "down", "down", "up", "down"))
    )
    assert known.conversation("s-2").turns["r-1"].thumb == "down"
    assert kept(talk, 0) == "down"
    assert posted(talk, "r-1") == ["up", "down"]


def test_a_thumb_given_elsewhere_comes_with_the_store() -> None:
    mine = from_store(done("r-1", "up"))
    assert merge((mine,), (done("r-1", "down"),))[0].thumb == "down"
