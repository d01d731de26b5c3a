"""A turn is a fold over its events."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import (
    Admitted,
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    Loading,
    Received,
    Refused,
    Retrieved,
    Waiting,
)
from appliance.schema.requests import RequestState
from ui.turns import MAX_SHOWN_CHARS, LiveTurn, advance, from_store, merge

pytestmark = pytest.mark.unit

MATCH = Match(
    id="e-1",
    question="How?",
    phrasing="how",
    answer="So.",
    category="",
    language="en",
    score=0.9,
)
DONE = Done(finish_reason="stop", model="m", usage=Usage(completion_tokens=3), timings=Timings())
FAILED = Failed(code="internal", reason="poison", message="two workers died", hint="ask again")
REFUSED = Refused(reason="full", message="the queue is full", retry_after_s=12)
ENDS: list[Event] = [DONE, FAILED, REFUSED, Cancelled(reason="asked")]
events = st.one_of(
    st.just(Received(request_id="r", session_id="s", created_at_ms=5)),
    st.builds(Loading, model=st.text(max_size=9), percent=st.integers(0, 100)),
    st.builds(Waiting, place=st.integers(1, 9), eta_s=st.none() | st.floats(0, 99)),
    st.just(Admitted(waited_ms=4)),
    st.just(Retrieved(matches=(MATCH,))),
    st.builds(Delta, text=st.text(max_size=5)),
    st.sampled_from(ENDS),
)


def fold(*happened: Event) -> LiveTurn:
    turn = LiveTurn(id="r", question="How?", created_at_ms=1)
    for event in happened:
        turn = advance(turn, event)
    return turn


def stored(turn_id: str, at_ms: int, state: RequestState = "done", **facts: Any) -> Turn:
    return Turn(id=turn_id, created_at_ms=at_ms, question=f"{turn_id}?", state=state, **facts)


def test_the_stages_follow_each_other() -> None:
    received = Received(request_id="r", session_id="s", created_at_ms=5)
    assert fold().phase == "sent"
    assert fold(received).phase == "received"
    news = Loading(model="big", percent=40)
    loading = fold(received, news)
    assert (loading.phase, loading.model, loading.percent) == ("loading", "big", 40)
    waiting = fold(received, news, Waiting(place=3, eta_s=12.0))
    assert (waiting.phase, waiting.place, waiting.eta_s) == ("waiting", 3, 12.0)
    moved = advance(waiting, Waiting(place=1, eta_s=None))
    assert (moved.place, moved.eta_s) == (1, None)
    assert advance(moved, Admitted(waited_ms=9)).phase == "admitted"
    found = advance(moved, Retrieved(matches=(MATCH,), degraded="slow"))
    assert (found.phase, found.matches, found.degraded) == ("retrieved", (MATCH,), "slow")


@given(st.lists(st.text(max_size=9)))
def test_the_answer_is_its_deltas_joined(texts: list[str]) -> None:
    assert fold(*(Delta(text=text) for text in texts)).answer == "".join(texts)


@given(st.lists(events), st.lists(events))
def test_after_the_end_nothing_changes(before: list[Event], after: list[Event]) -> None:
    ended = advance(fold(*before), DONE)
    for event in after:
        assert advance(ended, event) == ended


@given(st.lists(events))
def test_it_is_open_until_its_first_terminal_event(happened: list[Event]) -> None:
    ended = any(isinstance(event, Done | Failed | Refused | Cancelled) for event in happened)
    assert fold(*happened).is_open is not ended


def test_an_end_keeps_what_it_says() -> None:
    done = fold(Delta(text="a"), DONE)
    assert (done.phase, done.finish_reason, done.usage, done.timings) == (
        "done",
        "stop",
        DONE.usage,
        DONE.timings,
    )
    failed = fold(FAILED)
    assert (failed.phase, failed.message, failed.hint) == (
        "failed",
        "two workers died",
        "ask again",
    )
    refused = fold(REFUSED)
    assert (refused.phase, refused.retry_after_s) == ("refused", 12)
    cancelled = fold(Delta(text="half"), Cancelled(reason="asked"))
    assert (cancelled.phase, cancelled.answer) == ("cancelled", "half")


def test_an_endless_answer_is_cut_at_its_bound() -> None:
    piece = Delta(text="x" * (MAX_SHOWN_CHARS // 2 + 1))
    assert len(fold(piece, piece, piece).answer) == MAX_SHOWN_CHARS


def test_a_stored_open_turn_starts_empty_and_an_ended_one_complete() -> None:
    half = stored("r", 1, "running", answer="half", matches=(MATCH,))
    assert from_store(half) == LiveTurn(id="r", question="r?", created_at_ms=1)
    whole = from_store(stored("r", 1, "done", answer="whole", matches=(MATCH,)))
    assert (whole.phase, whole.answer, whole.matches) == ("done", "whole", (MATCH,))


def test_merging_keeps_what_was_followed_here_and_takes_the_rest_from_the_store() -> None:
    older = LiveTurn(id="a", question="a?", created_at_ms=1, phase="done", answer="old")
    followed = LiveTurn(id="b", question="b?", created_at_ms=2, phase="answering", answer="so far")
    sent = LiveTurn(id="d", question="d?", created_at_ms=9)
    page = (stored("b", 2, "running"), stored("c", 3, "done", answer="elsewhere"))
    merged = merge((older, followed, sent), page)
    assert [turn.id for turn in merged] == ["a", "b", "c", "d"]
    assert merged[1] is followed
    assert merged[2].answer == "elsewhere"


def test_merging_takes_the_end_of_what_was_lost_or_missed() -> None:
    lost = LiveTurn(id="a", question="a?", created_at_ms=1, phase="lost")
    missed = LiveTurn(id="b", question="b?", created_at_ms=2, phase="answering", answer="ha")
    page = (stored("a", 1, answer="one"), stored("b", 2, answer="two"))
    assert [turn.answer for turn in merge((lost, missed), page)] == ["one", "two"]


@given(st.lists(st.sampled_from("abcdef"), unique=True), st.lists(st.sampled_from("abcdef")))
def test_merging_loses_and_repeats_no_turn(known: list[str], fresh: list[str]) -> None:
    turns = tuple(LiveTurn(id=i, question="", created_at_ms=ord(i)) for i in sorted(known))
    page = tuple(stored(i, ord(i)) for i in sorted(set(fresh)))
    ids = [turn.id for turn in merge(turns, page)]
    assert sorted(ids) == sorted({*known, *fresh})
