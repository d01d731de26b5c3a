"""Cutting a conversation: turns stay whole, cuts are rare and depend on the turns alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.schema.requests import ChatMessage
from appliance.worker.history import split, turns_to_cut

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
            assert sum(sizes[cuts[count] : count]) <= bound // 2
