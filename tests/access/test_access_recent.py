"""How much of a conversation a prompt holds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.earlier import HISTORY_TURNS, keep_recent
from appliance.schema.conversations import Turn

pytestmark = pytest.mark.unit


def turn(number: int, size: int = 10) -> Turn:
    return Turn(
        id=f"r{number}",
        created_at_ms=number,
        question=f"q{number}",
        sent=f"sent{number}".ljust(size, "."),
        answer=f"answer{number}".ljust(size, "."),
        state="done",
    )


def test_turns_without_an_answer_are_not_sent() -> None:
    refused = Turn(id="r1", created_at_ms=1, question="lost", state="refused")
    assert list(keep_recent([turn(0), refused, turn(2)], 10_000)) == [turn(0), turn(2)]


@given(st.lists(st.integers(10, 400), max_size=60), st.integers(0, 1000))
def test_history_is_cut_rarely_and_always_fits(sizes: list[int], bound: int) -> None:
    turns = [turn(number, size) for number, size in enumerate(sizes)]
    kept = keep_recent(turns, bound)
    assert list(kept) == turns[len(turns) - len(kept) :]
    assert sum(len(t.sent) + len(t.answer) for t in kept) <= bound
    if turns:
        before = keep_recent(turns[:-1], bound)
        grown = [*before, turns[-1]]
        size = sum(len(t.sent) + len(t.answer) for t in grown)
        if size <= bound:  # nothing has to go, so the prefix stays as it was
            assert list(kept) == grown


def test_the_newest_turn_stays_where_it_fits() -> None:
    turns = [turn(number, 2_250) for number in range(4)]  # two are more than the bound
    assert list(keep_recent(turns[:1], 8_000)) == turns[:1]
    assert list(keep_recent(turns, 8_000)) == turns[-1:]
    assert list(keep_recent(turns, 4_499)) == []


def test_a_very_long_talk_begins_with_the_same_turn_for_a_while() -> None:
    turns = [turn(number) for number in range(500)]
    kept = [keep_recent(turns[:count], 1_000_000) for count in range(1, len(turns))]
    for count, some in enumerate(kept, start=1):
        assert some == turns[count - len(some) : count]
        assert min(count, HISTORY_TURNS // 2) <= len(some) < HISTORY_TURNS
    firsts = [some[0].id for some in kept]
    changes = sum(one != other for one, other in itertools.pairwise(firsts))
    assert 0 < changes < 15
    seen = [keep_recent(turns[:count][-HISTORY_TURNS + 1 :], 1_000_000) for count in range(1, 500)]
    assert seen == kept, "who looks at fewer turns sees the same"


@pytest.mark.parametrize("kept", [1, 2, 3, 20, 100])
def test_where_few_turns_are_kept_prompts_begin_the_same_for_a_while_too(kept: int) -> None:
    turns = [turn(number) for number in range(400)]
    seen = [
        keep_recent(turns[max(count - kept + 1, 0) : count], 1_000_000, turns_kept=kept)
        for count in range(1, len(turns))
    ]
    assert all(len(some) < max(kept, 1) for some in seen)
    assert all(some[-1] == turns[count - 1] for count, some in enumerate(seen, start=1) if some)
    if kept >= 20:
        assert all(len(some) >= kept // 2 - 1 for some in seen[kept:])
        changes = sum(a[0].id != b[0].id for a, b in itertools.pairwise(seen))
        assert changes < 12 * len(turns) / kept
