"""A dialog closes itself and nothing else, whatever is shown when it does."""

import pytest
from stub_api import StubApi
from textual import events
from textual.widgets import OptionList, TextArea
from ui_driver import Driven, running

from ui.screens.entry_editor import EntryEditor
from ui.screens.faq import FaqScreen
from ui.screens.palette import Palette
from ui.screens.status import StatusScreen

pytestmark = pytest.mark.ui


def at_once(sluice: Driven, *keys: str) -> None:
    """Keys as a fast typist or a terminal sends them: one before another has been dealt with."""
    for key in keys:
        sluice.app.post_message(events.Key(key, None))


async def test_a_second_enter_does_not_close_what_is_below(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("ctrl+p")
        await sluice.until(lambda: isinstance(sluice.app.screen, Palette))
        at_once(sluice, "escape", "escape", "escape")
        await sluice.until(lambda: not isinstance(sluice.app.screen, Palette))
        await sluice.sees("What is this?")
        assert isinstance(sluice.app.screen, FaqScreen)


async def test_what_ends_while_another_place_is_shown_leaves_that_place_alone(
    api: StubApi,
) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        editor = sluice.app.screen
        editor.query_one("#answer", TextArea).load_text("Another answer.")
        await sluice.press("f4")
        await sluice.sees("Processes")
        assert isinstance(editor, EntryEditor)
        editor.action_save()
        await sluice.until(lambda: api.entries["e-1"].answer == "Another answer.")
        await sluice.sees("Processes")
        assert isinstance(sluice.app.screen, StatusScreen)
        await sluice.press("f3")
        await sluice.until(lambda: isinstance(sluice.app.screen, FaqScreen))
        await sluice.sees("Another answer.")


async def test_what_was_opened_over_a_dialog_stays_when_that_one_ends(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, EntryEditor))
        editor = sluice.app.screen
        sluice.app.action_help()
        await sluice.sees(sluice.texts.help_everywhere)
        editor.dismiss()
        await sluice.pilot.pause()
        await sluice.sees(sluice.texts.help_everywhere)
        await sluice.press("escape")
        await sluice.until(lambda: isinstance(sluice.app.screen, FaqScreen))


async def test_a_click_on_a_line_that_is_gone_by_now_means_that_line(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("ctrl+p")
        await sluice.until(lambda: isinstance(sluice.app.screen, Palette))
        lines = sluice.app.screen.query_one(OptionList)
        at = next(n for n, line in enumerate(lines.options) if "F4" in str(line.prompt).upper())
        clicked = OptionList.OptionSelected(lines, lines.options[at], at)
        await sluice.type("zzzz")
        await sluice.until(lambda: not lines.options)
        lines.post_message(clicked)
        await sluice.until(lambda: isinstance(sluice.app.screen, StatusScreen))
