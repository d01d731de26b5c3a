"""A question tried on the FAQ: what would happen to it, and why."""

import msgspec
import pytest
from stub_api import StubApi, problem
from test_ui_hostile import EVIL, SEEN, sees_clean
from ui_driver import running

from appliance.schema.answers import Decision, Match
from appliance.schema.faq import Calibration, FaqTest, FaqTestPost
from appliance.schema.requests import ChatMessage

pytestmark = pytest.mark.ui

PROMPT = (
    ChatMessage(role="system", content="You are Sluice.\n[1] Leave: thirty days."),
    ChatMessage(role="user", content="\n".join(f"Line {n}" for n in range(60))),
)


def match_of(number: int, question: str, score: float) -> Match:
    return Match(
        id=f"e-{number}",
        question=question,
        phrasing=question,
        answer="Thirty days.",
        category="leave",
        language="en",
        score=score,
        similarity=score / 2,
    )


FOUND = (match_of(1, "How long is leave?", 0.91), match_of(2, "Where is the canteen?", 0.12))


def outcome_of(decision: Decision, *, answer: str = "", degraded: str = "") -> FaqTest:
    return FaqTest(
        decision=decision,
        matches=() if decision == "no_answer" else FOUND[:1],
        found=FOUND,
        evidence=0.875,
        calibration=Calibration(stamp="s", direct_bar=0.8),
        degraded=degraded,
        answer=answer,
        prompt=() if answer else PROMPT,
    )


@pytest.fixture
def tried(api: StubApi) -> StubApi:
    api.outcome = outcome_of("compose")
    return api


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_question_is_tried_with_scores_and_the_prompt(
    tried: StubApi, language: str
) -> None:
    async with running(tried, language=language, width=80, height=24) as sluice:
        words = sluice.texts.faq
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3")
        await sluice.sees("What is this?", f"t {words.key_test_question}", "f1")
        await sluice.press("t")
        await sluice.sees(words.test_title, words.test_hint[:20], sluice.texts.key_close)
        await sluice.type("leave?")
        await sluice.press("enter")
        await sluice.sees(words.test_compose, words.test_found, words.test_prompt)
        await sluice.sees("→ 0.91  0.46  How long is leave?", "  0.12  0.06  Where is the canteen?")
        assert words.test_evidence.format(evidence="0.88", bar="0.80") in sluice.text
        await sluice.sees(words.role_system, "[1] Leave: thirty days.")
        await sluice.press("down", "end")
        await sluice.sees("Line 59")
        (asked,) = tried.calls("POST", "/api/faq/test")
        assert msgspec.json.decode(asked.body, type=FaqTestPost).question == "leave?"
        await sluice.press("escape")
        await sluice.sees("What is this?")


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_each_decision_is_told_in_words(tried: StubApi, language: str) -> None:
    async with running(tried, language=language) as sluice:
        words = sluice.texts.faq
        await sluice.sees(sluice.texts.link_up)
        await sluice.press("f3", "t")
        await sluice.sees(words.test_title)
        await sluice.type("q")
        tried.outcome = outcome_of("direct", answer="Thirty days, exactly.")
        await sluice.press("enter")
        await sluice.sees(words.test_direct, words.test_answer, "Thirty days, exactly.")
        tried.outcome = outcome_of("did_you_mean", answer="Did you mean")
        await sluice.press("enter")
        await sluice.sees(words.test_did_you_mean)
        tried.outcome = outcome_of("no_answer", degraded="the index is away")
        await sluice.press("enter")
        await sluice.sees(words.test_no_answer, "the index is away", words.test_prompt)
        assert "→" not in sluice.text
        calibration = Calibration(stamp="s")
        tried.outcome = msgspec.structs.replace(
            outcome_of("compose"), decision="", calibration=calibration
        )
        await sluice.press("enter")
        await sluice.sees(
            words.test_undecided, words.test_evidence_unknown.format(evidence="0.88")[:30]
        )
        tried.outcome = msgspec.structs.replace(outcome_of("no_answer"), found=())
        await sluice.press("enter")
        await sluice.sees(words.test_found_none)


async def test_what_was_searched_is_the_question_to_begin_with(tried: StubApi) -> None:
    async with running(tried) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "slash")
        await sluice.type("holidays")
        await sluice.press("enter", "t")
        await sluice.sees("Test a question", "holidays")
        await sluice.press("enter")
        await sluice.sees("Compose:")


async def test_without_a_question_nothing_is_asked(tried: StubApi) -> None:
    async with running(tried) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "t", "enter")
        await sluice.sees("Type a question first.")
        assert tried.calls("POST", "/api/faq/test") == []


async def test_a_refusal_is_told_and_the_question_stays(tried: StubApi) -> None:
    tried.overrides["POST", "/api/faq/test"] = problem(
        503, "unavailable", "no embedding model", hint="load one"
    )
    async with running(tried) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "t")
        await sluice.type("leave?")
        await sluice.press("enter")
        await sluice.sees("A part of the server is away: no embedding model", "load one", "leave?")
        tried.overrides.clear()
        await sluice.press("enter")
        await sluice.sees("Compose:")
        tried.down()
        await sluice.press("enter")
        await sluice.sees("The server cannot be reached", "leave?")
        tried.up()


async def test_text_from_outside_stays_text(tried: StubApi) -> None:
    tried.outcome = FaqTest(
        decision="compose",
        matches=(match_of(1, EVIL, 0.5),),
        found=(match_of(1, EVIL, 0.5),),
        evidence=0.1,
        calibration=Calibration(stamp=EVIL),
        degraded=EVIL,
        prompt=(ChatMessage(role="system", content=EVIL),),
    )
    async with running(tried, width=120) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "t", "q", "enter")
        await sees_clean(sluice, f"→ 0.50  0.25  {SEEN}", f"limited: {SEEN}", "system")
        tried.outcome = outcome_of("direct", answer=EVIL)
        await sluice.press("enter")
        await sees_clean(sluice, "What would be said", SEEN)


async def test_it_is_found_in_the_palette(tried: StubApi) -> None:
    async with running(tried) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3", "ctrl+p")
        await sluice.type("happen to a question")
        await sluice.press("enter")
        await sluice.sees("Enter shows what would happen")
