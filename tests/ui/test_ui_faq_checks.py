"""Saved questions: their results and flips, adding, removing, and asking them now."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from stub_api import NOW_MS, StubApi, problem
from stub_http import Reply
from test_ui_faq import match_of
from test_ui_faq_test import outcome_of
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import Driven, running

from appliance.schema.curation import Flip, Outcome, RegressionPost, RegressionRun
from appliance.schema.fields import Page
from ui.screens import faq_checks
from ui.screens.dialogs import Confirm
from ui.screens.faq_checks import ChecksScreen

pytestmark = pytest.mark.ui

HOUR_MS = 3_600_000
RUN = "/api/faq/regressions/run"


@pytest.fixture
def checked(api: StubApi) -> StubApi:
    fill_with_checks(api)
    return api


def fill_with_checks(api: StubApi) -> None:
    """One question that passes, one that flipped an hour ago."""
    right = next(iter(api.entries))
    wrong = api.add_entry("Where is the canteen?", "On the ground floor.").id
    api.curation.add_check("What may this be?", right, right)
    flipped = api.curation.add_check("Where do we eat?", wrong, right)
    flip = Flip(
        id=flipped,
        question="Where do we eat?",
        was=Outcome(entry_id=wrong, score=0.9, passed=True, at_ms=NOW_MS - 2 * HOUR_MS),
        now=Outcome(entry_id=right, score=0.8, passed=False, at_ms=NOW_MS - HOUR_MS),
    )
    api.curation.runs = [
        RegressionRun(
            at_ms=NOW_MS - HOUR_MS, cause=f"edit of {right}", passed=1, failed=1, flips=(flip,)
        )
    ]


@asynccontextmanager
async def at_checks(
    api: StubApi, *, language: str = "en", width: int = 80, height: int = 24
) -> AsyncIterator[Driven]:
    async with running(api, language=language, width=width, height=height) as sluice:
        words = sluice.texts.curate
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("What is this?", f"g {words.key_checks}")
        await sluice.press("g")
        await sluice.sees(words.check_title)
        yield sluice


def asked_again(api: StubApi, check_id: str) -> None:
    """The server has asked this question once more, with the same outcome."""
    check = api.curation.checks[check_id]
    assert check.outcome is not None
    outcome = msgspec.structs.replace(check.outcome, at_ms=check.outcome.at_ms + 1)
    api.curation.checks[check_id] = msgspec.structs.replace(check, outcome=outcome)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_what_fails_comes_first_with_its_flips(checked: StubApi, language: str) -> None:
    async with at_checks(checked, language=language) as sluice:
        words = sluice.texts.curate
        await sluice.sees("Where do we eat?", "What may this be?", "11:13")
        await sluice.sees(words.check_failed, words.check_passed, words.key_run_checks)
        await sluice.sees(words.check_expected.format(entry="Where is the canteen?"))
        await sluice.sees(
            words.check_found.format(when="2025-11-23 12:13", entry="What is this?")[-20:],
            f"{words.check_passed} → {words.check_failed}",
            words.cause_edit,
        )
        await sluice.press("down")
        await sluice.sees(words.check_expected.format(entry="What is this?"))
        await sluice.sees_no(words.check_flips + "\n")


async def test_an_entry_that_is_gone_is_named_by_its_id(checked: StubApi) -> None:
    checked.curation.add_check("Old?", "e-gone", "")
    async with at_checks(checked) as sluice:
        await sluice.sees("Old?")
        await sluice.press("down")
        await sluice.sees("Should find: e-gone, which is deleted", ": no entry")


async def test_all_are_asked_now_and_the_way_is_told(
    checked: StubApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faq_checks, "LOOK_EVERY_S", 0.2)
    checked.holds.add(("POST", RUN))
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("r")
        await sluice.sees("Asking… 0 of 2")
        asked_again(checked, "g-1")
        await sluice.sees("Asking… 1 of 2")
        await sluice.press("r")
        await sluice.sees("One moment")
        asked_again(checked, "g-2")
        checked.let_go()
        await sluice.sees("All were asked. Passed: 1, failed: 1, flipped: 1")
        assert len(checked.calls("POST", RUN)) == 1


async def test_a_run_that_takes_long_goes_on_by_itself(checked: StubApi) -> None:
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("r")
        await sluice.sees("Asked so far: 0 of 2. The rest goes on by itself")


async def test_a_run_that_fails_says_so(checked: StubApi) -> None:
    checked.overrides["POST", RUN] = problem(503, "unavailable", "the store is away", hint="wait")
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("r")
        await sluice.sees("the store is away", "wait", "Where do we eat?")


async def test_a_question_is_saved_with_the_entry_it_should_find(checked: StubApi) -> None:
    checked.matches = (
        match_of(checked, "Where is the canteen?", 0.71),
        match_of(checked, "What is this?", 0.2),
    )
    checked.curation.first_found = checked.matches[0].id
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("a")
        await sluice.sees("Save a question")
        await sluice.type("Lunch?")
        await sluice.press("enter")
        await sluice.sees("Which entry should “Lunch?” find?", "0.71  Where is the canteen?")
        await sluice.press("enter")
        await sluice.sees("Saved, and it passes now.", "Lunch?")
        (asked,) = checked.calls("POST", "/api/faq/regressions")
        post = msgspec.json.decode(asked.body, type=RegressionPost)
        assert post == RegressionPost(question="Lunch?", entry_id=checked.matches[0].id)


async def test_a_question_may_be_one_that_the_faq_should_not_know(checked: StubApi) -> None:
    checked.curation.first_found = "e-1"
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("a")
        await sluice.type("Joke?")
        await sluice.press("enter")
        await sluice.sees("No entry: the FAQ should not know it")
        await sluice.press("enter")
        await sluice.sees("Saved. It fails now: another entry comes first, or none.")
        assert [c.entry_id for c in checked.curation.checks.values()][-1] == ""


async def test_a_question_is_removed_after_asking(checked: StubApi) -> None:
    async with at_checks(checked) as sluice:
        await sluice.sees("Where do we eat?")
        await sluice.press("d")
        await sluice.sees("Remove this question?", "“Where do we eat?” is not asked again")
        await sluice.press("enter")
        await sluice.until(lambda: isinstance(sluice.app.screen, ChecksScreen))
        assert len(checked.curation.checks) == 2
        await sluice.press("d")
        await sluice.until(lambda: isinstance(sluice.app.screen, Confirm))
        await sluice.press("left", "enter")
        await sluice.sees("Removed.")
        await sluice.sees_no("Where do we eat?")


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_tried_question_is_saved_from_where_it_was_tried(
    checked: StubApi, language: str
) -> None:
    checked.outcome = outcome_of("compose")
    async with running(checked, language=language, width=80, height=24) as sluice:
        words = sluice.texts.curate
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("t")
        await sluice.sees(sluice.texts.faq.test_hint[:10])
        await sluice.sees_no(words.key_save_check)
        await sluice.type("Lunch?")
        await sluice.press("enter")
        await sluice.sees(words.key_save_check)
        await sluice.press("ctrl+s")
        await sluice.sees(words.check_pick_title.format(question="Lunch?"))
        await sluice.press("enter")
        await sluice.sees(words.check_saved_failed[:10])
        saved = list(checked.curation.checks.values())[-1]
        assert (saved.question, saved.entry_id) == ("Lunch?", checked.outcome.found[0].id)


async def test_text_from_outside_stays_text(api: StubApi) -> None:
    entry = api.add_entry(EVIL, "A.")
    check_id = api.curation.add_check(EVIL, entry.id, entry.id)
    outcome = Outcome(entry_id=entry.id, score=0.1, passed=True, at_ms=NOW_MS)
    flip = Flip(id=check_id, question=EVIL, was=outcome, now=outcome)
    run = RegressionRun(at_ms=NOW_MS, cause=EVIL, passed=1, failed=0, flips=(flip,))
    api.overrides["GET", "/api/faq/regressions/runs"] = Reply(200, Page(items=(run,)))
    async with running(api, width=120, height=40) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sluice.sees("What is this?")
        await sluice.press("g")
        await sees_clean(sluice, f"Should find: {SEEN}", f"after {SEEN[:4]}")
