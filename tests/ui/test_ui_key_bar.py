"""The keys at the bottom: whole ones only, and the way out however narrow the screen is."""

import pytest
from stub_api import StubApi
from test_ui_operate import fill_for_operators
from textual.widgets._footer import FooterKey
from ui_driver import Driven, running

from appliance.schema.events import Delta
from ui.texts import texts_for
from ui.widgets.key_bar import KEPT, fitting

pytestmark = pytest.mark.ui


def footer_key(action: str, description: str = "四字说明") -> FooterKey:
    return FooterKey("x", "^x", description, action)


def test_the_first_keys_stay_while_there_is_room_and_the_kept_ones_always() -> None:
    keys = [footer_key(action) for action in ("a", "b", "stop_answer", "c", "help")]
    each = len("^x") + 8 + 2
    for room, shown in {
        0: ["stop_answer", "help"],
        3 * each - 1: ["stop_answer", "help"],
        3 * each: ["a", "stop_answer", "help"],
        5 * each - 1: ["a", "b", "stop_answer", "help"],
        5 * each: ["a", "b", "stop_answer", "c", "help"],
    }.items():
        assert [key.action for key in fitting(keys, room)] == shown


def test_a_key_after_one_that_does_not_fit_is_left_out_though_it_would() -> None:
    keys = [footer_key("a"), footer_key("long", "x" * 80), footer_key("b")]
    assert [key.action for key in fitting(keys, 40)] == ["a"]


def shown(sluice: Driven) -> list[FooterKey]:
    return [key for key in sluice.app.screen.query(FooterKey) if key.region]


def is_whole(sluice: Driven) -> bool:
    """No key goes on beyond the edge."""
    width = sluice.app.size.width
    return all(key.region.right <= width for key in shown(sluice))


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_help_and_stop_are_there_while_an_answer_is_made(api: StubApi, language: str) -> None:
    async with running(api, language=language, width=80, height=24) as sluice:
        texts = sluice.texts
        await sluice.sees(texts.link_up)
        api.emit(await sluice.ask("How?"), Delta(text="It begins"))
        await sluice.sees(
            "It begins",
            f"esc {texts.key_stop_answer}",
            f"f1 {texts.key_help}",
            f"^q {texts.key_quit}",
        )
        assert is_whole(sluice)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_help_is_in_the_line_of_every_place_at_eighty_columns(
    api: StubApi, language: str
) -> None:
    texts = texts_for(language)
    async with running(api, language=language, width=80, height=24) as sluice:
        await sluice.sees(texts.link_up)
        for place in ("f2", "f3", "f4", "f5", "f6", "f7", "f9"):
            await sluice.press(place)
            await sluice.sees(f"f1 {texts.key_help}", f"^q {texts.key_quit}")
            assert is_whole(sluice), place


async def test_a_wider_screen_shows_more_keys_and_a_narrower_one_fewer(api: StubApi) -> None:
    async with running(api, width=140, height=24) as sluice:
        await sluice.sees("f1 Help", "^n New", "^o Attach")
        await sluice.pilot.resize_terminal(40, 24)
        await sluice.sees_no("^o Attach")
        await sluice.sees("f1 Help", "^q Quit")
        assert is_whole(sluice)
        await sluice.pilot.resize_terminal(140, 24)
        await sluice.sees("^o Attach", "^q Quit")


async def test_enter_is_told_where_a_table_a_list_or_a_field_takes_it(api: StubApi) -> None:
    fill_for_operators(api)
    async with running(api) as sluice:
        await sluice.sees("● ready")
        await sluice.press("f7")
        await sluice.sees("⏎ Open", "the limiter leads")
        await sluice.press("slash")
        await sluice.sees_no("⏎ Open")  # there it leads back to the table
        await sluice.press("f5")
        await sluice.sees("u Unload")
        assert "⏎" not in sluice.lines[-1]  # nothing to load
        await sluice.press("down")
        await sluice.sees("⏎ Load")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("x")
        await sluice.sees("⏎ OK", "esc Close")


async def test_a_list_over_a_screen_can_be_seen_to_close(api: StubApi) -> None:
    async with running(api, width=40, height=24) as sluice:
        await sluice.sees("f1 Help")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("m")
        await sluice.sees("esc Close")
        assert {key.action for key in shown(sluice)} & set(KEPT) == {"close"}
