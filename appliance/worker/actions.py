"""What a scheduler tells its engine to do, between two steps and in the next one.

Actions change which cells a sequence holds; they are carried out in their order. A span is a
sequence's part of a step.
"""

from dataclasses import dataclass

from appliance.worker.prefix import Owner, Tokens


@dataclass(frozen=True, slots=True)
class Start:
    """A request got a slot and an empty sequence."""

    request_id: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """`sequence`, emptied, is to hold the first `tokens` cells of `source` too."""

    request_id: str
    sequence: int
    source: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A sequence is to keep its first `length` cells only."""

    sequence: int
    length: int = 0


@dataclass(frozen=True, slots=True)
class Restore:
    """`sequence`, which is empty, is to get the first `tokens` cells of the request's snapshot.

    `Scheduler.restored` is to be told when that is done.
    """

    request_id: str
    sequence: int
    tokens: int


@dataclass(frozen=True, slots=True, eq=False)
class Leave:
    """An idle sequence of somebody is about to lose all its cells, which hold these tokens."""

    sequence: int
    owner: Owner
    tokens: Tokens


Action = Start | Adopt | Cut | Restore | Leave


@dataclass(frozen=True, slots=True)
class Span:
    """A sequence's part of a step: `count` of its tokens from position `start`.

    After the `last` known token there is something to sample; the span's final `drafts` tokens
    are guesses beyond it.
    """

    request_id: str
    sequence: int
    start: int
    count: int
    last: bool
    drafts: int = 0
