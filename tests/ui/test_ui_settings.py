"""The settings: found, read, changed after the server has checked them, taken back."""

from typing import Any

import msgspec
import pytest
from stub_api import StubApi, problem
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import Driven, running

from appliance.schema.settings import Setting
from ui.setting_values import explained, literal, written

pytestmark = pytest.mark.ui


def setting(key: str, default: str, description: str, **facts: Any) -> Setting:  # Any: fields
    known: dict[str, Any] = {
        "kind": "text",
        "choices": (),
        "value": default,
        "in_use": default,
        "is_set": False,
        "secret": False,
        "restart": True,
    }
    return Setting(key=key, default=default, description=description, **(known | facts))


def fill_with_settings(api: StubApi) -> None:
    for one in (
        setting("server.host", '"127.0.0.1"', "Address to listen on."),
        setting(
            "server.port",
            "8400",
            "Port to listen on; 0 picks a free one.",
            kind="number",
            value="9000",
            is_set=True,
        ),
        setting("log.level", '"info"', "", choices=("debug", "info", "warning", "error")),
        setting("prompt.system", '""', "What the model is told first.", value='"甲\\n乙"'),
        setting(
            "external.milvus_token", '""', "Token.", value="", in_use="", is_set=True, secret=True
        ),
        setting("ui.language", '""', "Its language.", choices=("", "en", "zh"), restart=False),
    ):
        api.settings[one.key] = one


@pytest.fixture
def settled(api: StubApi) -> StubApi:
    fill_with_settings(api)
    return api


async def open_settings(sluice: Driven) -> None:
    await sluice.sees(sluice.texts.link_up)
    await sluice.press("f4", "s")
    await sluice.sees("server.port", "ui.language")


def written_to(api: StubApi) -> list[dict[str, str | None]]:
    return [
        msgspec.json.decode(one.body)["changes"]
        for one in api.calls("PATCH", "/api/settings")
        if "dry_run" not in one.query
    ]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_settings_are_read_and_filtered(settled: StubApi, language: str) -> None:
    async with running(settled, language=language, width=80, height=24) as sluice:
        words = sluice.texts.settings
        await open_settings(sluice)
        await sluice.sees("settings.toml", words.count.format(count=6, set=2, waiting=2)[:20])
        meant = {key: explained(sluice.texts, one) for key, one in settled.settings.items()}
        await sluice.sees(meant["server.host"], words.not_shown, "9000", "↻")
        await sluice.press("slash")
        await sluice.type("LISTEN port")
        await sluice.sees(words.found.format(count=1), meant["server.port"][:8])
        await sluice.sees(words.in_use.format(value="8400"))
        await sluice.sees_no("server.host")
        await sluice.press("escape")
        await sluice.sees("server.host")
        await sluice.press("escape")
        await sluice.sees_no("server.host")


async def test_what_is_wrong_is_seen_before_it_is_saved(settled: StubApi) -> None:
    async with running(settled) as sluice:
        await open_settings(sluice)
        await sluice.press("down", "enter")
        await sluice.sees("Default: 8400", "In the file: 9000")
        await sluice.press("ctrl+u")
        await sluice.type("wrong")
        await sluice.sees("Not accepted: wrong is no server.port", "write another")
        assert written_to(settled) == []
        await sluice.press("ctrl+u")
        await sluice.type("9001")
        await sluice.sees("The server would take this. It counts from the next start.")
        await sluice.sees_no("Not accepted")
        assert written_to(settled) == []
        await sluice.press("enter")
        await sluice.sees("server.port is saved. It counts from the next start", "9001")
        assert written_to(settled) == [{"server.port": "9001"}]
        assert settled.calls("PATCH", "/api/settings")[-1].headers["if-match"] == '"1"'


async def test_a_text_is_written_without_quotes(settled: StubApi) -> None:
    async with running(settled) as sluice:
        await open_settings(sluice)
        await sluice.press("enter")
        await sluice.sees('Default: "127.0.0.1"')
        await sluice.press("end", "1")
        await sluice.press("ctrl+s")
        await sluice.sees("server.host is saved")
        assert written_to(settled) == [{"server.host": '"127.0.0.11"'}]


async def test_what_somebody_else_changed_is_shown_before_it_is_replaced(
    settled: StubApi,
) -> None:
    async with running(settled) as sluice:
        await open_settings(sluice)
        await sluice.press("down", "enter")
        await sluice.sees("In the file: 9000")
        settled.settings["server.port"] = msgspec.structs.replace(
            settled.settings["server.port"], value="9500"
        )
        settled.settings_version += 1
        await sluice.press("ctrl+u")
        await sluice.type("9001")
        await sluice.press("enter")
        await sluice.sees("This setting is now: 9500")
        await sluice.press("enter")
        await sluice.sees("server.port is saved")
        assert settled.settings["server.port"].value == "9001"


async def test_a_setting_goes_back_to_its_default(settled: StubApi) -> None:
    async with running(settled) as sluice:
        await open_settings(sluice)
        await sluice.press("x")
        await sluice.press("down", "x")
        await sluice.sees("Back to the default?", "server.port will be 8400 again")
        await sluice.press("enter")
        await sluice.sees("server.port is saved")
        assert written_to(settled) == [{"server.port": None}]


async def test_leaving_with_changes_asks_first(settled: StubApi) -> None:
    async with running(settled) as sluice:
        await open_settings(sluice)
        await sluice.press("down", "enter")
        await sluice.sees("In the file: 9000")
        await sluice.press("end", "1", "escape")
        await sluice.sees("Leave without saving?")
        await sluice.press("left", "enter")
        await sluice.sees("server.host")
        assert written_to(settled) == []


async def test_who_may_not_is_told_and_hostile_words_are_text(settled: StubApi) -> None:
    settled.settings["server.host"] = setting("server.host", EVIL, EVIL, value=EVIL)
    async with running(settled, width=120) as sluice:
        await open_settings(sluice)
        await sees_clean(sluice, SEEN)
        await sluice.press("enter")
        await sees_clean(sluice, SEEN)
        await sluice.press("escape")
        settled.overrides["GET", "/api/settings"] = problem(403, "unauthorized", "not yours")
        await sluice.press("ctrl+r")
        await sluice.sees("not yours")


def test_a_text_is_the_same_there_and_back() -> None:
    for text in ("", 'say "hi" \\ there', "甲\n乙", "\x7f"):
        one = setting("prompt.system", '""', "", value=literal(setting("a.b", "", ""), text))
        assert written(one) == text.strip()
