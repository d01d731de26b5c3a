"""FAQ entries as rows and as drafts."""

from typing import Any

import pytest
from stub_api import entry_of

from appliance.schema.answers import Match
from appliance.schema.faq import EntryPut
from ui.entries import EntryDraft, contains, draft_of, put_of, search_rows
from ui.screens.entry_editor import mistake
from ui.texts_en import ENGLISH

pytestmark = pytest.mark.unit

PASSWORD = entry_of("e-1", "Reset my password?", "Press Reset.", phrasings=("forgot it",))
DRAFT = entry_of("e-2", "Passwords of guests", "Ask the desk.", state="draft")
LEAVE = entry_of("e-3", "How many days of leave?", "Thirty.")
MATCH = Match(
    id="e-1",
    question="Reset my password?",
    phrasing="forgot it",
    answer="Press Reset.",
    category="",
    language="en",
    score=0.93,
)


def test_a_search_shows_matches_first_and_then_what_has_the_text_in_it() -> None:
    rows = search_rows("password", (MATCH,), (PASSWORD, DRAFT, LEAVE))
    assert [(row.id, row.score, row.state) for row in rows] == [
        ("e-1", 0.93, "published"),
        ("e-2", None, "draft"),
    ]


def test_the_text_is_looked_for_in_every_part_of_an_entry() -> None:
    assert contains(PASSWORD, "FORGOT")
    assert contains(PASSWORD, "press reset")
    assert not contains(LEAVE, "password")


def test_a_draft_goes_out_trimmed_and_without_repetitions() -> None:
    draft = EntryDraft(
        question=" Why? ",
        answer="Because.\n",
        phrasings="a\n\n b \na\n",
        category=" x ",
        language="",
    )
    assert put_of(draft) == EntryPut(
        question="Why?", answer="Because.", phrasings=("a", "b"), category="x"
    )


def test_an_entry_survives_the_editor_unchanged() -> None:
    put = put_of(draft_of(DRAFT))
    assert (put.question, put.answer, put.state) == (DRAFT.question, DRAFT.answer, "draft")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": ""}, "question is missing"),
        ({"answer": ""}, "answer is missing"),
        ({"question": "x" * 2001}, "at most 2000"),
        ({"answer": "x" * 16_001}, "at most 16000"),
        ({"phrasings": tuple(str(n) for n in range(65))}, "at most 64"),
        ({"phrasings": ("x" * 2001,)}, "at most 2000"),
        ({"language": "English"}, "short tag"),
        ({"language": "zh-TW"}, ""),
        ({}, ""),
    ],
)
def test_mistakes_are_named_before_anything_is_sent(change: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"question": "Why?", "answer": "Because."}
    said = mistake(ENGLISH, EntryPut(**(fields | change)))
    assert words in said
    assert bool(words) == bool(said)
