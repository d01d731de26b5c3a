"""What the FAQ decided, as a person sees it: entries to pick from, its own answers, and none."""

import msgspec
import pytest
from stub_api import NOW_MS, StubApi
from test_ui_hostile import EVIL, sees_clean
from ui_driver import Driven, running

from appliance.schema.answers import Decision, Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Delta, Done, Retrieved
from appliance.schema.inbox import InboxMessage
from ui.widgets.turn_view import TurnView

pytestmark = pytest.mark.ui

DONE = Done(finish_reason="stop", model="faq", usage=Usage(), timings=Timings())


def match_of(number: int, question: str) -> Match:
    return Match(
        id=f"e-{number}",
        question=question,
        phrasing=question,
        answer="So.",
        category="",
        language="",
        score=0.8,
    )


CHOICES = (match_of(1, "How long is leave?"), match_of(2, "How long is parental leave?"))


async def answer(sluice: Driven, decision: Decision, matches: tuple[Match, ...], text: str) -> None:
    request_id = await sluice.ask("leave")
    found = Retrieved(matches=matches, decision=decision)
    sluice.api.emit(request_id, found, Delta(text=text), DONE)


def asked(api: StubApi) -> list[str]:
    return [turn.question for turns in api.turns.values() for turn in turns]


@pytest.mark.parametrize(
    ("language", "title"),
    [("en", "Did you mean one of these?"), ("zh", "您想问的是其中哪一个？")],
)
@pytest.mark.parametrize("way", ["digit", "dialog", "click"])
async def test_an_entry_that_may_be_meant_is_picked_and_asked(
    api: StubApi, language: str, title: str, way: str
) -> None:
    async with running(api, language=language) as sluice:
        await sluice.sees(sluice.texts.link_up)
        await answer(sluice, "did_you_mean", CHOICES, "the list once more")
        await sluice.sees(title, "→ [2] 0.80  How long is parental leave?")
        await sluice.sees(sluice.texts.turn_finished)
        assert "the list once more" not in sluice.text
        if way == "digit":
            await sluice.press("ctrl+b", "2")
        elif way == "dialog":
            await sluice.press("ctrl+b", "o")
            await sluice.sees("2  How long is parental leave?")
            await sluice.press("down", "enter")
        else:
            view = sluice.chat.query_one(TurnView)
            await sluice.pilot.click(view.query_one(".sources"), offset=(14, 2))
        await sluice.until(lambda: len(asked(api)) == 2)
        assert asked(api) == ["leave", "How long is parental leave?"]


@pytest.mark.parametrize(
    ("language", "direct", "uncovered"),
    [
        ("en", "own answer, no model", "not covered by the FAQ"),
        ("zh", "问答库原文，未经模型", "问答库未涵盖此问题"),
    ],
)
async def test_the_end_says_whether_the_faq_answered(
    api: StubApi, language: str, direct: str, uncovered: str
) -> None:
    async with running(api, language=language) as sluice:
        await sluice.sees(sluice.texts.link_up)
        await answer(sluice, "direct", CHOICES[:1], "Thirty days.")
        await sluice.until(lambda: direct in sluice.text.replace("\u00a0", " "))
        assert "Thirty days." in sluice.text
        assert uncovered not in sluice.text.replace("\u00a0", " ")
        await answer(sluice, "no_answer", (), "I think so.")
        await sluice.until(lambda: uncovered in sluice.text.replace("\u00a0", " "))
        await answer(sluice, "compose", CHOICES, "It depends.")
        await sluice.sees("It depends.", sluice.texts.turn_sources)


@pytest.mark.parametrize(
    ("language", "asked_words", "answered_words"),
    [
        ("en", "a person has been asked", "answered by a person"),
        ("zh", "已转交工作人员", "由工作人员答复"),
    ],
)
async def test_a_question_that_went_to_a_person_says_so_and_shows_the_answer_when_it_comes(
    api: StubApi, language: str, asked_words: str, answered_words: str
) -> None:
    turn = Turn(
        id="r-1",
        created_at_ms=NOW_MS,
        question="Is there a piano?",
        answer="You will hear.",
        state="done",
        decision="person_asked",
    )
    session = api.add_session("Stored", turn)
    api.inbox = {}
    async with running(api, language=language) as sluice:
        await sluice.sees("Stored")
        await sluice.press("ctrl+down")
        await sluice.sees("You will hear.")
        await answer(sluice, "person_asked", (), "You will hear of this, too.")
        await sluice.until(lambda: asked_words in sluice.text.replace("\u00a0", " "))
        late = msgspec.structs.replace(
            turn, id="r-2", answer="In the attic.", decision="person", created_at_ms=NOW_MS + 1
        )
        api.turns[session.id].append(late)
        message = InboxMessage(
            id="m-1",
            text="In the attic.",
            sender="sluice",
            sent_at_ms=NOW_MS,
            expires_at_ms=2 * NOW_MS,
            kind="answer_found",
            session_id=session.id,
            request_id="r-2",
        )
        api.tell_inbox("message", message)
        found = sluice.texts.operate.inbox_answer_found.format(text="In the attic.")
        await sluice.sees(found, "▌ Is there a piano?")
        await sluice.until(lambda: answered_words in sluice.text.replace("\u00a0", " "))
        waiting = msgspec.structs.replace(
            message, id="m-2", kind="question_waiting", text="Is there a flute?", session_id=""
        )
        api.tell_inbox("message", waiting)
        words = sluice.texts.operate.inbox_question_waiting
        await sluice.sees(words[:10])


async def test_entries_to_pick_from_are_there_in_a_stored_turn_and_stay_text(
    api: StubApi,
) -> None:
    turn = Turn(
        id="r-1",
        created_at_ms=NOW_MS,
        question="leave",
        answer="the list",
        state="done",
        matches=(match_of(1, EVIL), CHOICES[1]),
        decision="did_you_mean",
    )
    api.add_session("Stored", turn)
    async with running(api, width=120) as sluice:
        await sluice.sees("Stored")
        await sluice.press("ctrl+down")
        await sees_clean(sluice, "Did you mean one of these?", "→ [2] 0.80")
        await sluice.press("ctrl+b", "o")
        await sees_clean(sluice, "2  How long is parental leave?")
