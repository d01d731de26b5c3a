"""The inbox of missed questions: read, promoted with a draft, added to an entry, dismissed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from stub_api import StubApi, problem
from test_ui_faq import match_of
from test_ui_hostile import EVIL, SEEN, sees_clean
from textual.widgets import TextArea
from ui_driver import Driven, running

from appliance.schema.answers import Timings, Usage
from appliance.schema.curation import MissAnswer, MissPromote
from appliance.schema.events import Delta, Done, Failed
from appliance.schema.fields import MAX_ANSWER_CHARS
from ui.screens.faq import FaqScreen
from ui.screens.faq_misses import MissesScreen
from ui.screens.miss_answer import MissAnswerForm
from ui.screens.miss_editor import MissEditor

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())


@pytest.fixture
def missed(api: StubApi) -> StubApi:
    fill_with_misses(api)
    return api


def fill_with_misses(api: StubApi) -> None:
    api.add_stream("r-draft")
    api.curation.draft_id = "r-draft"
    api.curation.add_miss("Where do I park?", "Is there a car park?", people=3, count=5)
    api.curation.add_miss("可以带狗上班吗？", people=1, count=2)


@asynccontextmanager
async def at_misses(
    api: StubApi, *, language: str = "en", width: int = 80, height: int = 32
) -> AsyncIterator[Driven]:
    async with running(api, language=language, width=width, height=height) as sluice:
        words = sluice.texts.curate
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("What is this?", f"m {words.key_misses}")
        await sluice.press("m")
        await sluice.sees(words.miss_title_open)
        yield sluice


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_groups_are_listed_and_the_one_pointed_at_is_read(
    missed: StubApi, language: str
) -> None:
    async with at_misses(missed, language=language) as sluice:
        words = sluice.texts.curate
        await sluice.sees(words.miss_count.format(count=2), "Where do I park?", "12:13")
        await sluice.sees(words.key_promote, words.key_add_to_entry, words.key_dismiss)
        await sluice.sees("Is there a car park?", "u-2: Where do I park?")
        await sluice.sees(words.miss_no_match.format(count=5)[-5:])
        await sluice.press("down")
        await sluice.sees("u-0: 可以带狗上班吗？")
        await sluice.press("escape")
        await sluice.until(lambda: isinstance(sluice.app.screen, FaqScreen))


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_group_becomes_an_entry_from_the_models_draft(
    missed: StubApi, language: str
) -> None:
    async with at_misses(missed, language=language) as sluice:
        words = sluice.texts.curate
        await sluice.sees("Is there a car park?")
        await sluice.press("enter")
        await sluice.sees(words.miss_promote_title, "Is there a car park?")
        missed.emit("r-draft", Delta(text="Behind the "), Delta(text="house."))
        await sluice.sees("Behind the house.")
        await sluice.press("ctrl+s")
        await sluice.sees(words.draft_running[:20])
        assert missed.curation.promoted == []
        missed.emit("r-draft", DONE)
        await sluice.sees(words.draft_done)
        await sluice.press("ctrl+s")
        await sluice.sees(words.miss_saved.format(count=3))
        await sluice.until(lambda: "Where do I park?" not in sluice.text)
        assert missed.curation.promoted == [
            MissPromote(
                question="Where do I park?",
                answer="Behind the house.",
                phrasings=("Is there a car park?",),
            )
        ]
        await sluice.press("escape")
        await sluice.sees("Where do I park?", "What is this?")  # the table was read again


async def test_typing_stops_the_model_and_the_text_is_the_persons(missed: StubApi) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("p")
        missed.emit("r-draft", Delta(text="Behind."))
        await sluice.sees("Behind.", "Typing into it stops the model")
        await sluice.press("tab", "tab")
        await sluice.type("X")
        await sluice.sees("The draft was stopped.")
        await sluice.until(lambda: missed.calls("DELETE", "/api/requests/r-draft"))
        missed.emit("r-draft", Delta(text=" More of it."))
        await sluice.press("ctrl+t")
        await sluice.sees("The answer is not empty.")
        editor = sluice.app.screen
        assert isinstance(editor, MissEditor)
        assert "More" not in editor.query_one("#answer", TextArea).text
        await sluice.press("ctrl+s")
        await sluice.sees("Saved. Those who asked are told: 3")
        assert missed.curation.promoted[0].answer == "XBehind."


async def test_without_a_draft_the_person_writes_and_may_ask_again(missed: StubApi) -> None:
    missed.emit("r-draft", Failed(code="internal", reason="died", message="the worker died"))
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("p")
        await sluice.sees("No draft: the worker died Write the answer yourself")
        missed.overrides["POST", "/api/faq/misses/m-1/draft"] = problem(
            503, "unavailable", "no model", hint="load one"
        )
        await sluice.press("ctrl+t")
        await sluice.sees("No draft:", "no model")
        await sluice.press("ctrl+s")
        await sluice.sees(sluice.texts.faq_answer_missing)


async def test_why_there_is_no_draft_is_said_in_the_persons_language(missed: StubApi) -> None:
    missed.emit("r-draft", Failed(code="internal", reason="deadline", message="it took too long"))
    async with at_misses(missed, language="zh") as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("p")
        await sluice.sees("没有草稿：回答没有在时限内完成")
        assert "it took too long" not in sluice.text


async def test_leaving_the_editor_gives_the_draft_up_and_asks_about_nothing(
    missed: StubApi,
) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("p")
        missed.emit("r-draft", Delta(text="Behind."))
        await sluice.sees("Behind.")
        await sluice.press("escape")
        await sluice.until(lambda: isinstance(sluice.app.screen, MissesScreen))
        await sluice.until(lambda: missed.calls("DELETE", "/api/requests/r-draft"))
        await sluice.sees("Groups: 2")


async def test_a_refused_promotion_keeps_what_was_written(missed: StubApi) -> None:
    missed.emit("r-draft", Delta(text="Behind."), DONE)
    missed.overrides["POST", "/api/faq/misses/m-1/promote"] = problem(
        409, "conflict", "miss m-1 became the entry e-7", hint="edit that"
    )
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("p")
        await sluice.sees("A draft by the model")
        await sluice.press("ctrl+s")
        await sluice.sees("miss m-1 became the entry e-7", "edit that", "Behind.")


async def test_the_wordings_are_added_to_an_entry_that_has_the_answer(missed: StubApi) -> None:
    missed.matches = (match_of(missed, "What is this?", 0.61),)
    entry_id = next(iter(missed.entries))
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("a")
        await sluice.sees("Which entry answers “Where do I park?”?", "0.61  What is this?")
        assert missed.calls("GET", "/api/faq/search")[-1].query["q"] == "Where do I park?"
        await sluice.press("down", "enter")
        await sluice.sees("The wordings were added to “What is this?”", "told: 3")
        assert missed.curation.promoted == [MissPromote(entry_id=entry_id)]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_who_asked_is_answered_without_an_entry(missed: StubApi, language: str) -> None:
    missed.curation.wait_for("m-1")
    async with at_misses(missed, language=language) as sluice:
        words = sluice.texts.curate
        await sluice.sees(f"r {words.key_answer_miss}", f"u-0 ({words.miss_waits})")
        await sluice.press("r")
        await sluice.sees(words.miss_answer_title, "Where do I park?", words.key_send_answer)
        await sluice.press("ctrl+s")
        await sluice.sees(sluice.texts.faq_answer_missing)
        await sluice.type("In the yard.")
        await sluice.press("ctrl+s")
        await sluice.sees(words.miss_answer_sure, words.miss_answer_final.format(count=3)[-12:])
        await sluice.press("escape")  # a second thought
        await sluice.sees("In the yard.")
        assert missed.calls("POST", "/api/faq/misses/m-1/answer") == []
        await sluice.press("ctrl+s")
        await sluice.sees(words.miss_answer_sure)
        await sluice.press("enter")
        await sluice.sees(words.miss_sent.format(count=3))
        await sluice.until(lambda: "Where do I park?" not in sluice.text)
        (sent,) = missed.calls("POST", "/api/faq/misses/m-1/answer")
        assert msgspec.json.decode(sent.body, type=MissAnswer) == MissAnswer(answer="In the yard.")
        await sluice.press("v", "v", "v")
        await sluice.sees(words.miss_title_answered, words.miss_answering[:10], "In the yard.")
        await sluice.press("o")
        await sluice.sees(words.miss_reopened.format(question="Where do I park?"))


async def test_a_refused_answer_keeps_what_was_written(missed: StubApi) -> None:
    missed.overrides["POST", "/api/faq/misses/m-1/answer"] = problem(
        409, "conflict", "miss m-1 has been answered otherwise", hint="reopen it first"
    )
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("r")
        await sluice.sees("An answer to those who asked")
        await sluice.type("In the yard.")
        await sluice.press("ctrl+s", "enter")
        await sluice.sees("answered otherwise", "reopen it first", "In the yard.")
        await sluice.press("escape")
        await sluice.sees("Leave without saving?", "What you wrote will be gone.")
        await sluice.press("escape")
        await sluice.sees("In the yard.")
        assert isinstance(sluice.app.screen, MissAnswerForm)
        await sluice.press("escape")
        await sluice.sees("Leave without saving?")
        await sluice.press("left", "enter")
        await sluice.sees("Groups: 2")


async def test_an_answer_longer_than_the_server_takes_is_not_sent(missed: StubApi) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("r")
        await sluice.sees("An answer to those who asked")
        sluice.app.screen.query_one("#answer", TextArea).load_text("x" * (MAX_ANSWER_CHARS + 1))
        await sluice.press("ctrl+s")
        await sluice.sees(f"{MAX_ANSWER_CHARS}")
        assert isinstance(sluice.app.screen, MissAnswerForm)


async def test_nobody_is_answered_where_nobody_can_be_told(api: StubApi) -> None:
    api.curation.add_miss("Where do I park?", people=0)
    async with at_misses(api) as sluice:
        await sluice.sees("Groups: 1", "Make entry")
        await sluice.sees_no("r Reply")
        await sluice.press("r")
        assert isinstance(sluice.app.screen, MissesScreen)


async def test_without_a_fitting_entry_that_is_said(missed: StubApi) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("a")
        await sluice.sees("No entry was found that could answer it.")


async def test_a_dismissed_group_can_be_brought_back(missed: StubApi) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        await sluice.press("d")
        await sluice.sees("Dismissed, with what is asked like it.", "u-0: 可以带狗上班吗？")
        await sluice.press("v")
        await sluice.sees("Dismissed questions", "Groups: 1", "Is there a car park?")
        await sluice.sees_no("Make entry")
        await sluice.press("enter", "o")
        await sluice.sees("Back in the list of open questions: “Where do I park?”")
        await sluice.press("v")
        await sluice.sees("Questions that became entries", "Nothing here.")
        await sluice.press("v")
        await sluice.sees("Questions that were answered without an entry", "Nothing here.")
        await sluice.press("v")
        await sluice.sees("Questions without a good answer", "Groups: 2")
        assert isinstance(sluice.app.screen, MissesScreen)


async def test_failures_are_said_and_the_list_stays(missed: StubApi) -> None:
    async with at_misses(missed) as sluice:
        await sluice.sees("Is there a car park?")
        missed.overrides["POST", "/api/faq/misses/m-1/dismiss"] = problem(
            404, "not_found", "no miss m-1", hint="read the list again"
        )
        await sluice.press("d")
        await sluice.sees("It is not there any more: no miss m-1", "Is there a car park?")
        missed.down()
        await sluice.press("ctrl+r")
        await sluice.sees("The server cannot be reached", "Is there a car park?")
        missed.up()


async def test_text_from_outside_stays_text(api: StubApi) -> None:
    api.curation.add_miss(EVIL, EVIL + "2", people=1)
    async with running(api, width=120, height=40) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "m")
        await sees_clean(sluice, "Groups: 1", f"u-0: {SEEN}")
        await sluice.press("a")
        await sluice.press("d")
        await sees_clean(sluice, "Dismissed, with what is asked like it. “" + SEEN[:10])


async def test_the_inbox_is_found_by_mouse_and_in_the_palette(missed: StubApi) -> None:
    async with running(missed) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("m Misses", "What is this?")
        line = next(n for n, text in enumerate(sluice.lines) if "m Misses" in text)
        await sluice.pilot.click(offset=(sluice.lines[line].index("m Misses") + 2, line))
        await sluice.sees("Questions without a good answer", "Groups: 2")
        await sluice.press("escape", "ctrl+p")
        await sluice.type("no good answer")
        await sluice.press("enter")
        await sluice.sees("Groups: 2")
