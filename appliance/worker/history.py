"""Which turns of a conversation go when it outgrows the model's context: pure rules.

The system message and the last question always stay, and turns stay whole. They go from the
oldest in one large cut, so that the next prompts begin with the same tokens for a while: history
is let grow to a bound and cut to half of it, again and again from the first turn on, which makes
the cut depend on the turns alone and not on the question they are cut for. The newest turn stays
though it is more than half, for what was just said is what questions are about.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.schema.requests import ChatMessage


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages as what must stay and what may go."""

    system: tuple[ChatMessage, ...]
    turns: tuple[tuple[ChatMessage, ...], ...]  # each begins with a user's message
    question: tuple[ChatMessage, ...]

    def without(self, turns: int) -> tuple[ChatMessage, ...]:
        """The messages less the oldest turns."""
        kept = (message for turn in self.turns[turns:] for message in turn)
        return (*self.system, *kept, *self.question)


def split(messages: Sequence[ChatMessage]) -> Conversation:
    """Leading system messages, whole turns, and the last message."""
    begin = 0
    while begin < len(messages) - 1 and messages[begin].role == "system":
        begin += 1
    turns: list[tuple[ChatMessage, ...]] = []
    for message in messages[begin:-1]:
        if message.role == "user" or not turns:
            turns.append((message,))
        else:
            turns[-1] += (message,)
    return Conversation(tuple(messages[:begin]), tuple(turns), tuple(messages[-1:]))


def turns_to_cut(sizes: Sequence[int], bound: int) -> int:
    """How many of the oldest turns go so that the others have at most `bound` tokens."""
    start = size = 0
    for position, added in enumerate(sizes):
        size += added
        if size > bound:
            while start < position and size > bound // 2:
                size -= sizes[start]
                start += 1
            if size > bound:
                start, size = position + 1, 0
    return start
