"""The desk of messages that wait: what is due when, one written for later, one withdrawn."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, problem, scheduled
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import Driven, running

from appliance.schema.inbox import InboxPost
from ui.times import point_of

pytestmark = pytest.mark.ui

HOUR_MS = 3_600_000
TOMORROW_MS = int(1000 * datetime(2025, 11, 24, 8, 30, tzinfo=UTC).timestamp())


@pytest.fixture
def waiting(api: StubApi) -> StubApi:
    for one in (
        scheduled("m-a", "The lift is serviced at noon.", NOW_MS + HOUR_MS),
        scheduled("m-b", "门禁卡明天更换。", NOW_MS + 30 * HOUR_MS, urgent=True),
    ):
        api.scheduled[one.id] = one
    return api


async def open_desk(sluice: Driven, *parts: str) -> None:
    await sluice.sees(sluice.texts.link_up)
    await sluice.press("f6")
    await sluice.sees("local", sluice.texts.messages.key_show_messages)
    await sluice.press("m")
    await sluice.sees(sluice.texts.messages.title.format(uid="local"), *parts)


def posted(api: StubApi) -> list[InboxPost]:
    calls = api.calls("POST", "/api/users/local/inbox")
    return [msgspec.json.decode(asked.body, type=InboxPost) for asked in calls]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_waits_is_listed_with_its_time(waiting: StubApi, language: str) -> None:
    async with running(waiting, language=language, width=80, height=24) as sluice:
        words = sluice.texts.messages
        await open_desk(sluice, words.count.format(uid="local", count=2), words.due)
        await sluice.sees("2025-11-23 13:13", "The lift is serviced", "2025-11-24 18:13")
        await sluice.sees("门禁卡明天更换。", words.key_withdraw_message, words.key_write_message)
        await sluice.press("down")
        await sluice.sees(words.urgent)


async def test_a_message_is_written_for_later(api: StubApi) -> None:
    async with running(api, width=80, height=24) as sluice:
        await open_desk(sluice, "Nothing waits for local")
        await sluice.sees_no("Withdraw")
        await sluice.press("a")
        await sluice.sees("Message to local", "now; or 08:30", "Not in quiet hours")
        await sluice.press("ctrl+s")
        await sluice.sees("Write the message first.")
        await sluice.type("Bring your badge")
        await sluice.press("tab")
        await sluice.type("yesterday")
        await sluice.press("ctrl+s")
        await sluice.sees("The time is like 08:30")
        await sluice.press("ctrl+u")
        await sluice.type("08:30")
        await sluice.press("ctrl+s")
        await sluice.sees("The message waits until 2025-11-24 08:30", "Bring your badge")
        assert posted(api) == [InboxPost(text="Bring your badge", deliver_at_ms=TOMORROW_MS)]


async def test_a_message_for_now_is_delivered(api: StubApi) -> None:
    async with running(api) as sluice:
        await open_desk(sluice, "Nothing waits")
        await sluice.press("a")
        await sluice.sees("Message to local")
        await sluice.type("Hello")
        await sluice.press("ctrl+s")
        await sluice.sees("in the inbox of local")
        assert posted(api) == [InboxPost(text="Hello")]


async def test_a_message_is_withdrawn_after_a_second_look(waiting: StubApi) -> None:
    async with running(waiting) as sluice:
        await open_desk(sluice, "The lift is serviced")
        await sluice.press("x")
        await sluice.sees("Withdraw this message?")
        await sluice.press("escape")
        assert "m-a" in waiting.scheduled
        await sluice.press("x", "left", "enter")
        await sluice.sees("The message is withdrawn.")
        assert list(waiting.scheduled) == ["m-b"]
        await sluice.sees_no("The lift is serviced")


async def test_a_refusal_leaves_what_was_written(api: StubApi) -> None:
    api.overrides["POST", "/api/users/local/inbox"] = problem(
        429, "overloaded", "too many messages wait", hint="wait until some are read"
    )
    async with running(api) as sluice:
        await open_desk(sluice, "Nothing waits")
        await sluice.press("a")
        await sluice.sees("Message to local")
        await sluice.type("Kept words")
        await sluice.press("ctrl+s")
        await sluice.sees("wait until some are read", "Kept words")
        await sluice.press("escape")
        await sluice.sees("The message was not sent.")


async def test_hostile_text_is_shown_as_text(api: StubApi) -> None:
    api.scheduled["m-e"] = scheduled("m-e", EVIL, NOW_MS + HOUR_MS)
    async with running(api) as sluice:
        await open_desk(sluice, SEEN)
        await sees_clean(sluice)


async def test_the_palette_opens_the_desk(waiting: StubApi) -> None:
    async with running(waiting, width=120, height=40) as sluice:
        await sluice.sees("● ready")
        await sluice.press("f6")
        await sluice.sees("m Messages")
        await sluice.press("ctrl+p")
        await sluice.type("messages")
        await sluice.sees("See what waits to be delivered")
        await sluice.press("enter")
        await sluice.sees("Waiting for local: 2")


EAST = timezone(timedelta(hours=8))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("08:30", datetime(2025, 11, 24, 8, 30, tzinfo=EAST)),
        (" 23：59 ", datetime(2025, 11, 23, 23, 59, tzinfo=EAST)),
        ("2026-05-01  08:30", datetime(2026, 5, 1, 8, 30, tzinfo=EAST)),
        ("2025-11-23 20:13", None),
        ("2100-01-01 00:00", None),
        ("9999-12-31 23:59", None),
        ("24:00", None),
        ("noon", None),
        ("", None),
    ],
)
def test_a_time_is_read_in_the_zone_of_the_screen(text: str, wanted: datetime | None) -> None:
    found = point_of(text, NOW_MS, EAST)
    assert found == (None if wanted is None else int(1000 * wanted.timestamp()))
