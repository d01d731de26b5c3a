"""What stands in a form outlives another language of the UI, as what was typed in the chat does."""

import msgspec
import pytest
from stub_api import StubApi, problem
from test_ui_setup import speak_chinese
from ui_driver import Driven, running

from appliance.schema.curation import MissAnswer
from appliance.schema.events import Delta
from appliance.schema.faq import EntryPut
from ui.screens.faq_misses import MissesScreen
from ui.screens.form import Form

pytestmark = pytest.mark.ui

KEPT = "写到一半的内容还在"


async def at_form(sluice: Driven, *keys: str) -> None:
    """Goes to the FAQ and opens a form there."""
    await sluice.sees("● ")
    await sluice.press("f3")
    await sluice.sees("What is this?")
    if "m" in keys:
        await sluice.press("m")
        await sluice.sees("Where do I park?")
    await sluice.press(keys[-1])
    await sluice.until(lambda: isinstance(sluice.app.screen, Form))


async def in_chinese(sluice: Driven) -> None:
    """Leaves the form open for the question of a language, which is asked beside the chat."""
    await sluice.press("f2")
    await sluice.sees("Ask a question.")
    await speak_chinese(sluice)


async def test_a_new_entry_is_still_there_in_another_language(api: StubApi) -> None:
    async with running(api, height=40) as sluice:
        await at_form(sluice, "a")
        await sluice.type("Where to park?")
        await sluice.press("tab", "tab")
        await sluice.type("In the yard.")
        await in_chinese(sluice)
        await sluice.sees(KEPT)
        await at_form(sluice, "a")
        await sluice.sees("新增问答", "Where to park?", "In the yard.")
        await sluice.press("ctrl+s")
        await sluice.sees("已保存")
        (sent,) = api.calls("POST", "/api/faq")
        put = msgspec.json.decode(sent.body, type=EntryPut)
        assert (put.question, put.answer) == ("Where to park?", "In the yard.")
        await at_form(sluice, "a")
        await sluice.until(lambda: sluice.app.focused)
        assert "Where to park?" not in sluice.text


async def test_an_edit_goes_on_from_the_version_it_began_with(api: StubApi) -> None:
    (entry_id,) = api.entries
    async with running(api, height=40) as sluice:
        await at_form(sluice, "enter")
        await sluice.press("end")
        await sluice.type(" Exactly")
        await in_chinese(sluice)
        theirs = msgspec.structs.replace(
            api.entries[entry_id], answer="By somebody else.", version=2
        )
        api.entries[entry_id] = theirs
        refused = problem(412, "conflict", "edited", reason="edited_since")
        api.overrides["PUT", f"/api/faq/{entry_id}"] = refused
        await at_form(sluice, "enter")
        await sluice.sees("What is this? Exactly", "A test.")
        await sluice.press("ctrl+s")
        await sluice.sees("By somebody else.")
        (sent,) = api.calls("PUT", f"/api/faq/{entry_id}")
        assert sent.headers["if-match"] == '"1"'


async def test_a_form_without_changes_and_one_that_was_left_are_not_kept(api: StubApi) -> None:
    async with running(api, height=40) as sluice:
        await at_form(sluice, "a")
        await sluice.type("Left")
        await sluice.press("escape")
        await sluice.sees("Leave without saving?")
        await sluice.press("left", "enter")
        await sluice.until(lambda: sluice.app.screen is sluice.faq)
        await at_form(sluice, "enter")
        await in_chinese(sluice)
        assert KEPT not in sluice.text
        await at_form(sluice, "a")
        await sluice.sees("新增问答")
        assert "Left" not in sluice.text


async def test_an_entry_made_of_a_miss_is_still_there_and_no_draft_is_asked_for(
    api: StubApi,
) -> None:
    api.curation.add_miss("Where do I park?")
    api.curation.draft_id = "r-draft"
    api.add_stream("r-draft")
    async with running(api, height=40) as sluice:
        await at_form(sluice, "m", "p")
        api.emit("r-draft", Delta(text="Behind"))
        await sluice.sees("Behind")
        await sluice.press("tab", "tab")
        await sluice.type("Not ")
        await in_chinese(sluice)
        await at_form(sluice, "m", "p")
        await sluice.sees("Where do I park?", "Not Behind")
        assert len(api.calls("POST", "/api/faq/misses/m-1/draft")) == 1


async def test_a_reply_is_still_there_and_is_sent(api: StubApi) -> None:
    api.curation.add_miss("Where do I park?")
    async with running(api, height=40) as sluice:
        await at_form(sluice, "m", "r")
        await sluice.type("In the yard.")
        await in_chinese(sluice)
        await at_form(sluice, "m", "r")
        await sluice.sees("In the yard.")
        await sluice.press("ctrl+s", "enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, MissesScreen))
        (sent,) = api.calls("POST", "/api/faq/misses/m-1/answer")
        assert msgspec.json.decode(sent.body, type=MissAnswer) == MissAnswer(answer="In the yard.")
