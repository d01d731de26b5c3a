"""The older versions of an entry: read, and brought back."""

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, problem
from stub_http import Reply
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import running

from appliance.schema.curation import RestorePost, Revision
from appliance.schema.faq import Entry
from appliance.schema.fields import Page
from ui.screens.faq import FaqScreen
from ui.screens.faq_history import FaqHistoryScreen

pytestmark = pytest.mark.ui

ANSWERS = {1: "Twenty days.", 2: "Twenty-five days.", 3: "Thirty days."}
DAY_MS = 86_400_000


@pytest.fixture
def edited(empty_api: StubApi) -> StubApi:
    entry = empty_api.add_entry("How long is leave?", ANSWERS[3], category="leave", version=3)
    empty_api.add_entry("Where is the canteen?", "On the ground floor.")
    keep(empty_api, entry, 3)
    return empty_api


def keep(api: StubApi, entry: Entry, newest: int, *, deleted: bool = False) -> None:
    """The history of an entry that got a version a day."""
    revisions = [
        Revision(
            **msgspec.structs.asdict(entry)
            | {
                "version": version,
                "answer": ANSWERS.get(version, "Somebody else's answer."),
                "updated_at_ms": NOW_MS - (3 - version) * DAY_MS,
                "current": version == newest and not deleted,
            }
        )
        for version in range(newest, 0, -1)
    ]
    api.overrides["GET", f"/api/faq/{entry.id}/history"] = Reply(200, Page(items=tuple(revisions)))


def accept(api: StubApi, version: int, becomes: int) -> None:
    """The next restore is taken."""
    entry = next(iter(api.entries.values()))
    restored = msgspec.structs.replace(entry, version=becomes, answer=ANSWERS[version])
    api.entries[entry.id] = restored
    api.overrides["POST", f"/api/faq/{entry.id}/restore"] = Reply(200, restored)


def refuse(api: StubApi, reason: str, message: str = "at version 4, not 3") -> None:
    entry = next(iter(api.entries.values()))
    refusal = problem(409, "conflict", message, hint="look again", reason=reason)
    api.overrides["POST", f"/api/faq/{entry.id}/restore"] = refusal


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_versions_are_read_and_one_is_restored(edited: StubApi, language: str) -> None:
    async with running(edited, language=language, width=80, height=24) as sluice:
        words = sluice.texts.faq
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("How long is leave?", f"h {words.key_history}", "f1")
        await sluice.press("h")
        await sluice.sees(words.history_title.format(question="How long is leave?"))
        await sluice.sees(words.history_current.format(version=3), "2025-11-23 12:13", "Thirty")
        await sluice.sees(words.key_restore, sluice.texts.key_close)
        await sluice.press("down")
        await sluice.sees("Twenty-five days.")
        await sluice.press("down")
        await sluice.sees("Twenty days.", "2025-11-21 12:13", "leave  en")
        accept(edited, version=1, becomes=4)
        await sluice.press("enter")
        await sluice.sees(words.history_restored.format(old=1, new=4), "Twenty days.")
        await sluice.until(lambda: isinstance(sluice.app.screen, FaqScreen))
        (asked,) = [one for one in edited.asked if one.path.endswith("/restore")]
        assert msgspec.json.decode(asked.body, type=RestorePost) == RestorePost(version=1)
        assert asked.headers["if-match"] == '"3"'


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_somebody_elses_edit_is_told_and_seen_before_restoring_again(
    edited: StubApi, language: str
) -> None:
    entry = next(iter(edited.entries.values()))
    async with running(edited, language=language, width=80, height=24) as sluice:
        words = sluice.texts.faq
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("How long is leave?")
        await sluice.press("h")
        await sluice.sees("Thirty days.")
        await sluice.press("down")
        await sluice.sees("Twenty-five days.")
        keep(edited, entry, 4)
        refuse(edited, "edited_since")
        await sluice.press("r")
        await sluice.sees(words.history_conflict[:30], words.history_current.format(version=4))
        await sluice.sees("Twenty-five days.")
        accept(edited, version=2, becomes=5)
        await sluice.press("r")
        await sluice.sees(words.history_restored.format(old=2, new=5))
        seen = [one.headers["if-match"] for one in edited.asked if one.path.endswith("/restore")]
        assert seen == ['"3"', '"4"']


async def test_the_version_in_use_is_not_restored(edited: StubApi) -> None:
    async with running(edited) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Thirty days.")
        await sluice.press("h")
        await sluice.sees("3, in use")
        await sluice.press("enter")
        await sluice.sees("This version is in use already.")
        assert [one for one in edited.asked if one.path.endswith("/restore")] == []
        await sluice.press("escape")
        await sluice.until(lambda: isinstance(sluice.app.screen, FaqScreen))


async def test_refusals_are_told_and_the_versions_stay(edited: StubApi) -> None:
    entry = next(iter(edited.entries.values()))
    async with running(edited) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Thirty days.")
        await sluice.press("h")
        await sluice.sees("3, in use")
        await sluice.press("down")
        await sluice.sees("Twenty-five days.")
        refuse(edited, "", "being written by others")
        await sluice.press("r")
        await sluice.sees("That is not possible now: being written by others", "look again")
        missing = problem(404, "not_found", "version 2 is not kept", hint="see the list")
        edited.overrides["POST", f"/api/faq/{entry.id}/restore"] = missing
        await sluice.press("r")
        await sluice.sees("It is not there any more: version 2 is not kept", "see the list")
        edited.down()
        await sluice.press("r")
        await sluice.sees("The server cannot be reached")
        edited.up()
        assert isinstance(sluice.app.screen, FaqHistoryScreen)


async def test_a_deleted_entry_says_so_and_comes_back(edited: StubApi) -> None:
    entry = next(iter(edited.entries.values()))
    async with running(edited) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Thirty days.")
        keep(edited, entry, 3, deleted=True)
        await sluice.press("h")
        await sluice.sees("This entry is deleted. Restoring a version brings it back.")
        accept(edited, version=3, becomes=4)
        await sluice.press("r")
        await sluice.sees("Version 3 is back, as version 4.")
        (asked,) = [one for one in edited.asked if one.path.endswith("/restore")]
        assert "if-match" not in asked.headers


async def test_an_entry_without_history_says_that_it_is_gone(edited: StubApi) -> None:
    async with running(edited) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Where is the canteen?")
        await sluice.press("down", "h")
        await sluice.sees("It is not there any more")


async def test_text_from_outside_stays_text(empty_api: StubApi) -> None:
    entry = empty_api.add_entry(EVIL, EVIL, category=EVIL, language=EVIL, phrasings=(EVIL,))
    revision = Revision(**msgspec.structs.asdict(entry), current=True)
    path = f"/api/faq/{entry.id}"
    empty_api.overrides["GET", f"{path}/history"] = Reply(200, Page(items=(revision,)))
    async with running(empty_api, width=120) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Entries: 1")
        await sluice.press("h")
        await sees_clean(sluice, f"Versions of “{SEEN}", "1, in use")
        assert sluice.text.count(SEEN) >= 5


async def test_it_is_found_in_the_palette(edited: StubApi) -> None:
    async with running(edited) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("Thirty days.")
        await sluice.press("ctrl+p")
        await sluice.type("older versions")
        await sluice.press("enter")
        await sluice.sees("Versions of “How long is leave?”")
