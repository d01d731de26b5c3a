"""What follows an answer: the rules of related questions and titles."""

import pytest

from appliance.access.afterwards import fitting_tags, related_to, tag_schema, tidy_title
from appliance.grammar.automaton import Automaton
from appliance.grammar.gbnf import parse
from appliance.grammar.json_schema import json_grammar
from appliance.schema.answers import Match
from appliance.schema.conversations import Turn

pytestmark = pytest.mark.unit


def match(entry_id: str, question: str = "") -> Match:
    return Match(
        id=entry_id,
        question=question or f"about {entry_id}",
        phrasing="",
        answer="",
        category="",
        language="",
        score=0.5,
    )


def asked(question: str, *hit: str) -> Turn:
    return Turn(id="t", created_at_ms=0, question=question, matches=tuple(map(match, hit)))


def test_related_are_the_nearest_that_were_neither_hit_nor_asked() -> None:
    near = [match("a"), match("b"), match("c", "How MUCH is it?"), match("d"), match("e")]
    turns = [asked("first", "a"), asked("how much is it?", "x"), asked("last", "d")]
    found = related_to(near, turns, most=3)
    assert [one.entry_id for one in found] == ["b", "e"]
    assert [one.entry_id for one in related_to(near, turns, most=1)] == ["b"]
    assert related_to([], turns, most=3) == ()


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ('"Piano Room Door Code."', "Piano Room Door Code"),
        ("Title: **Annual leave**\nmore", "Annual leave"),
        ("标题：《年假天数》", "年假天数"),
        ("\n\n  \n", ""),
        ("...", ""),
    ],
)
def test_a_models_title_is_one_line_without_ornament(said: str, title: str) -> None:
    assert tidy_title(said) == title


def test_a_long_title_is_cut() -> None:
    assert len(tidy_title("word " * 100)) <= 62
    assert tidy_title("标题：" + "年假" * 40) == "年假" * 15 + "…"
    assert tidy_title("怎么申请年假") == "怎么申请年假"


def test_the_model_says_yes_or_no_to_each_tag_and_nothing_else_counts() -> None:
    automaton = Automaton(parse(json_grammar(tag_schema(["骑车", "tax-payer"]))))
    assert automaton is not None
    assert fitting_tags('{"骑车": "yes", "tax-payer": "no"}') == ["骑车"]
    for cut in ("", "{", '{"骑车": "yes"', "[]", "nonsense"):
        assert fitting_tags(cut) == []
