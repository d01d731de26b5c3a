"""The desk of keys: who is let in, a key made and shown once, a key revoked."""

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, problem
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import Driven, running

from appliance.schema.people import ApiKey, ApiKeyPost
from ui.screens.key_form import KeyShown

pytestmark = pytest.mark.ui


def fill_with_keys(api: StubApi) -> None:
    for one in (
        ApiKey(id="k-a", role="person", name="Ana's phone", uid="ana", created_at_ms=NOW_MS),
        ApiKey(id="k-b", role="service", name="工单系统", uid="", created_at_ms=NOW_MS),
        ApiKey(id="k-c", role="admin", name="Deputy", uid="", created_at_ms=NOW_MS),
    ):
        api.keys[one.id] = one


@pytest.fixture
def keyed(api: StubApi) -> StubApi:
    fill_with_keys(api)
    return api


async def open_keys(sluice: Driven, *parts: str) -> None:
    await sluice.sees(sluice.texts.link_up)
    await sluice.press("f6", "k")
    await sluice.sees(sluice.texts.keys.title, *parts)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_keys_are_listed_with_role_person_and_time(keyed: StubApi, language: str) -> None:
    async with running(keyed, language=language, width=80, height=24) as sluice:
        words = sluice.texts.keys
        await open_keys(sluice, words.count.format(count=3), "Ana's phone", "工单系统", "ana")
        await sluice.sees(words.role_person, words.role_service, words.role_admin)
        await sluice.sees("2025-11-23 12:13", words.key_revoke_key)
        await sluice.press("down")
        await sluice.sees(words.may_service)


async def test_a_key_is_made_and_its_secret_is_shown_once(keyed: StubApi) -> None:
    async with running(keyed, width=80, height=24) as sluice:
        await open_keys(sluice, "Ana's phone")
        await sluice.press("a")
        await sluice.sees("New key")
        await sluice.press("enter")
        await sluice.sees("Give it a name")
        await sluice.type("Bo at home")
        await sluice.press("enter")
        await sluice.sees("A person's key needs a user id")
        await sluice.press("tab", "tab")
        await sluice.type("bo")
        await sluice.press("enter")
        await sluice.sees("The new key of “Bo at home”")
        secret = f"sk-sluice-{list(keyed.keys)[-1].removeprefix('k-')}" + "x" * 43
        assert secret[:40] in sluice.text
        await sluice.press("enter")  # does not close what comes only once
        assert isinstance(sluice.app.screen, KeyShown)
        await sluice.press("c")
        await sluice.sees("Copied")
        assert sluice.app.clipboard == secret
        await sluice.press("escape")
        await sluice.sees("Keys: 4", "Bo at home")
        assert secret[:40] not in sluice.text
        (asked,) = keyed.calls("POST", "/api/keys")
        wanted = ApiKeyPost(role="person", name="Bo at home", uid="bo")
        assert msgspec.json.decode(asked.body, type=ApiKeyPost) == wanted


async def test_a_service_has_no_user(keyed: StubApi) -> None:
    async with running(keyed) as sluice:
        await open_keys(sluice, "Ana's phone")
        await sluice.press("a")
        await sluice.type("tickets")
        await sluice.press("tab", "enter", "down", "enter")
        await sluice.sees("service")
        await sluice.press("ctrl+s")
        await sluice.sees("The new key of “tickets”")
        (asked,) = keyed.calls("POST", "/api/keys")
        assert msgspec.json.decode(asked.body, type=ApiKeyPost).uid is None


async def test_a_key_is_made_for_some_days(keyed: StubApi) -> None:
    async with running(keyed) as sluice:
        await open_keys(sluice, "Ana's phone")
        await sluice.press("a")
        await sluice.type("audit")
        await sluice.press("tab", "enter", "down", "enter", "tab")
        for wrong in ("0", "-1", "1.5", "36501", "٣"):
            await sluice.type(wrong)
            await sluice.press("enter")
            await sluice.sees("Days are a number from 1 to 36500")
            await sluice.press("ctrl+u")
        await sluice.type("30")
        await sluice.press("enter")
        await sluice.sees("The new key of “audit”")
        await sluice.press("escape")
        await sluice.sees("2025-12-23 12:13", "Lets in until 2025-12-23 12:13.")
        (asked,) = keyed.calls("POST", "/api/keys")
        assert msgspec.json.decode(asked.body, type=ApiKeyPost).days == 30


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_list_tells_how_long_keys_let_in(keyed: StubApi, language: str) -> None:
    expired = msgspec.structs.replace(keyed.keys["k-a"], expires_at_ms=NOW_MS)
    lasting = msgspec.structs.replace(keyed.keys["k-b"], expires_at_ms=NOW_MS + 86_400_000)
    keyed.keys |= {"k-a": expired, "k-b": lasting}
    async with running(keyed, language=language, width=100) as sluice:
        words, tomorrow = sluice.texts.keys, "2025-11-24 12:13"
        await open_keys(sluice, words.expired, words.never, tomorrow)
        await sluice.sees(words.about_expired.format(at="2025-11-23 12:13")[:20])
        await sluice.press("down")
        await sluice.sees(words.about_until.format(at=tomorrow))


async def test_a_key_is_revoked_after_a_question(keyed: StubApi) -> None:
    async with running(keyed) as sluice:
        await open_keys(sluice, "Ana's phone")
        await sluice.press("x")
        await sluice.sees("Revoke this key?", "“Ana's phone”")
        await sluice.press("enter")  # a dangerous question starts on no
        await sluice.sees_no("Revoke this key?")
        assert "k-a" in keyed.keys
        await sluice.press("x")
        await sluice.sees("Revoke this key?")
        await sluice.press("left", "enter")
        await sluice.sees("“Ana's phone” is revoked.")
        assert list(keyed.keys) == ["k-b", "k-c"]


async def test_who_may_not_see_keys_is_told(keyed: StubApi) -> None:
    keyed.overrides["GET", "/api/keys"] = problem(403, "unauthorized", "a person may not do this")
    async with running(keyed) as sluice:
        await open_keys(sluice, "a person may not do this")


async def test_hostile_names_are_text(keyed: StubApi) -> None:
    keyed.keys["k-a"] = msgspec.structs.replace(keyed.keys["k-a"], name=EVIL)
    async with running(keyed, width=120) as sluice:
        await open_keys(sluice)
        await sees_clean(sluice, SEEN)
        await sluice.press("x")
        await sees_clean(sluice, SEEN)
