"""Ctrl+Q leaves at once, unless something that was written would be gone."""

import pytest
from stub_api import StubApi
from ui_driver import Driven, running

from ui.screens.chat import ChatScreen
from ui.screens.entry_editor import EntryEditor
from ui.screens.leaving import Leaving

pytestmark = pytest.mark.ui


def asked(sluice: Driven) -> bool:
    return isinstance(sluice.app.screen, Leaving)


async def test_a_question_that_was_not_sent_is_asked_about(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.type("Half a question")
        await sluice.press("ctrl+q")
        await sluice.sees("Leave without saving?", "did not send or save")
        await sluice.press("enter")  # it stands on "no"
        await sluice.until(lambda: isinstance(sluice.app.screen, ChatScreen))
        await sluice.sees("Half a question")
        assert sluice.app.return_value is None
        await sluice.press("ctrl+q", "ctrl+q")
        assert sluice.app.return_value == 0


async def test_a_draft_of_another_session_is_asked_about(api: StubApi) -> None:
    api.add_session("One")
    async with running(api) as sluice:
        await sluice.sees("ready", "One")
        await sluice.type("Half")
        await sluice.press("ctrl+down")
        await sluice.until(lambda: "Half" not in sluice.text)
        await sluice.press("ctrl+q")
        await sluice.until(lambda: asked(sluice))
        await sluice.press("left", "enter")
        assert sluice.app.return_value == 0


async def test_a_changed_form_is_asked_about_from_every_place_and_stays(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Entries: 1")
        await sluice.press("a")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        await sluice.type("Where?")
        await sluice.press("f2", "ctrl+q")
        await sluice.until(lambda: asked(sluice))
        await sluice.press("escape", "f3")
        await sluice.sees("Where?")
        assert sluice.app.return_value is None


async def test_a_form_that_was_only_looked_at_is_left_at_once(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Entries: 1")
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        await sluice.press("ctrl+q")
        assert sluice.app.return_value == 0
