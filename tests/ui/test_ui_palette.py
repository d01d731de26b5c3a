"""The palette: everything one can do from here, by a part of its name."""

import pytest
from stub_api import NOW_MS, StubApi
from ui_driver import running

from appliance.schema.conversations import Turn
from ui.screens.palette import SHOWN_MAX, Command, Palette, fitting

pytestmark = pytest.mark.ui

COMMANDS = [
    Command("a", "Stop", "Stop the answer"),
    Command("b", "Export", "Write the conversation to a file"),
    Command("c", "Models", "See models; stop none"),
]


def test_all_typed_words_must_be_there_and_a_beginning_counts_first() -> None:
    assert [one.id for one in fitting(COMMANDS, "")] == ["a", "b", "c"]
    assert [one.id for one in fitting(COMMANDS, "STOP")] == ["a", "c"]
    assert [one.id for one in fitting(COMMANDS, "the wri")] == ["b"]
    assert [one.id for one in fitting(COMMANDS, "mod")] == ["c"]
    assert fitting(COMMANDS, "nothing") == []
    assert len(fitting(COMMANDS * 200, "s")) == SHOWN_MAX


async def test_a_place_is_reached_and_a_key_is_learned(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("ctrl+p")
        await sluice.sees("Commands", "New line", "^j", "Attach")
        await sluice.type("load and unl")
        await sluice.sees("Models", "f5")
        await sluice.press("enter")
        await sluice.sees("Models: 0")
        await sluice.press("ctrl+p", "escape")
        await sluice.sees("Models: 0")


async def test_what_works_here_is_done_here(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.type("kept")
        await sluice.press("ctrl+p")
        await sluice.type("attach")
        await sluice.press("enter")
        await sluice.sees("Attach a text file")
        await sluice.press("escape")
        await sluice.sees("kept")


async def test_a_session_is_opened_by_its_title(api: StubApi) -> None:
    turn = Turn(id="r-1", created_at_ms=NOW_MS, question="Q?", answer="An answer.", state="done")
    api.add_session("Trip [/]", turn)
    async with running(api) as sluice:
        await sluice.sees("Trip [/]")
        await sluice.press("f4", "ctrl+p")
        await sluice.type("trip")
        await sluice.sees("Trip [/]  ")
        await sluice.press("down", "up", "enter")
        await sluice.sees("An answer.")


async def test_it_does_not_open_over_a_dialog(api: StubApi) -> None:
    async with running(api) as sluice:
        await sluice.sees("ready")
        await sluice.press("ctrl+o", "ctrl+p")
        await sluice.sees("Attach a text file")
        assert not isinstance(sluice.app.screen, Palette)


async def test_it_speaks_chinese(api: StubApi) -> None:
    async with running(api, language="zh", width=80, height=24) as sluice:
        await sluice.sees("就绪")
        await sluice.press("ctrl+p")
        await sluice.type("卸载")
        await sluice.sees("模型")
        await sluice.press("enter")
        await sluice.sees("模型 0 个")
