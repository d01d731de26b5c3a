"""Cutting a conversation: turns stay whole, cuts are rare and depend on the turns alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_bench import SMALL

from appliance.schema.requests import ChatMessage
from appliance.schema.sampling import Sampling
from appliance.worker.fake import FakeBackend
from appliance.worker.history import split, turns_to_cut
from appliance.worker.jobs import Generation
from appliance.worker.prompts import PromptMaker

pytestmark = pytest.mark.unit


@st.composite
def conversations(draw: st.DrawFn) -> list[ChatMessage]:
    one = st.sampled_from(
        [
            ChatMessage(role="system", content="rule"),
            ChatMessage(role="user", content="question"),
            ChatMessage(role="assistant", content="answer"),
        ]
    )
    return draw(st.lists(one, min_size=1, max_size=20))


@given(conversations())
def test_nothing_is_lost_and_the_last_message_and_the_system_s_stay(
    given_messages: list[ChatMessage],
) -> None:
    conversation = split(given_messages)
    assert list(conversation.without(0)) == given_messages
    left = conversation.without(len(conversation.turns))
    assert left[-1] == given_messages[-1]
    for turn in conversation.turns[1:]:
        assert [message.role for message in turn].count("user") == 1
        assert turn[0].role == "user"


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(0, 200))
def test_what_stays_fits_and_a_cut_leaves_room_to_grow(sizes: list[int], bound: int) -> None:
    cuts = [turns_to_cut(sizes[:count], bound) for count in range(len(sizes) + 1)]
    for count, cut in enumerate(cuts):
        assert sum(sizes[cut:count]) <= bound
    for count in range(1, len(cuts)):
        if cuts[count] != cuts[count - 1]:  # only when the new turn did not fit any more
            assert sum(sizes[cuts[count - 1] : count]) > bound
            left = sizes[cuts[count] : count]
            assert sum(left) <= bound // 2 or len(left) == 1
    if sizes and sizes[-1] <= bound:
        assert cuts[-1] < len(sizes), "the newest turn stays where it fits"


def told(*texts: str) -> Generation:
    roles = itertools.cycle(("user", "assistant"))
    messages = [ChatMessage(role="system", content="rule")]
    messages += [
        ChatMessage(role="assistant" if role == "assistant" else "user", content=text)
        for role, text in zip(roles, texts, strict=False)
    ]
    return Generation(
        request_id="a",
        messages=tuple(messages),
        sampling=Sampling(temperature=0, max_tokens=8),
        scope="ann",
    )


def test_the_newest_turn_stays_though_it_is_more_than_half_of_the_context() -> None:
    prompts = PromptMaker(FakeBackend(SMALL))
    third = "x" * (6 * SMALL.context_tokens // 10)  # three bytes are a token
    turn = (2 * third, third)
    assert prompts.prepare(told(*turn, "why?")).cut_turns == 0
    prepared = prompts.prepare(told(*turn, *turn, "why?"))
    assert prepared.cut_turns == 1
    assert prepared.prompt_tokens > SMALL.context_tokens // 2
    assert prompts.prepare(told(*turn, 4 * third, third, "why?")).cut_turns == 2
