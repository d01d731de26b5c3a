"""What the limiter is asked and what it answers: plain values, no behaviour.

An `Ask` is everything known of a request when it arrives. An action is something the loop around
the limiter has to do: let a request run, tell it its place, refuse it, or free its slot. Times
are monotonic seconds of the caller's clock.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from appliance.schema.requests import Priority

RANKS: dict[Priority, int] = {"person": 0, "service": 1, "background": 2}
RANK_AHEAD = -1

Reason: TypeAlias = Literal[
    "queue_full",
    "user_queue_full",
    "shed",
    "deadline",
    "waited_out",
    "no_worker",
    "requests_per_minute",
    "tokens_per_minute",
    "tokens_per_day",
    "too_large",
    "rule",
]

# Only what nobody could answer now is "unavailable", and what is never let in must not be asked
# again; the rest is for the caller to slow down.
HTTP_STATUS: dict[Reason, int] = {
    "queue_full": 429,
    "user_queue_full": 429,
    "shed": 429,
    "deadline": 429,
    "waited_out": 408,
    "no_worker": 503,
    "requests_per_minute": 429,
    "tokens_per_minute": 429,
    "tokens_per_day": 429,
    "too_large": 413,
    "rule": 429,
}


MESSAGES: dict[Reason, str] = {
    "queue_full": "too many requests are waiting",
    "user_queue_full": "you have too many requests waiting",
    "shed": "the place in the queue went to a request of a higher class",
    "deadline": "the answer could not start before its deadline",
    "waited_out": "the answer did not start before its deadline",
    "no_worker": "no inference worker is running",
    "requests_per_minute": "your requests of this minute are used up",
    "tokens_per_minute": "your tokens of this minute are used up",
    "tokens_per_day": "your tokens of this day are used up",
    "too_large": "the request may use more tokens than you are ever allowed at once",
    "rule": "the operator's rule refused it",
}


@dataclass(frozen=True, slots=True)
class Forecast:
    """Output tokens: half of such requests stay below `p50`, 80 % below `p80`, all below `most`."""

    p50: float
    p80: float
    most: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One request at the door. `input_tokens` are those no worker has in its KV cache.

    `is_ahead`: an operator's rule gives it the next free slot, before the line.
    """

    request_id: str
    uid: str
    tier: str
    priority: Priority
    input_tokens: int
    cached_tokens: int
    output: Forecast
    deadline_s: float
    is_ahead: bool = False

    @property
    def rank(self) -> int:
        """Its class as a number, the smallest first."""
        return RANK_AHEAD if self.is_ahead else RANKS[self.priority]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request really used."""

    input_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Run:
    request_id: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """`place` counts from 1; `eta_s` is None while there is no worker at all."""

    request_id: str
    place: int
    eta_s: float | None


@dataclass(frozen=True, slots=True)
class Refuse:
    """`retry_after_s` is infinite for what would never be let in. `message` "" is the reason's."""

    request_id: str
    reason: Reason
    retry_after_s: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease on a slot ran out: whoever held it is gone, and the slot is free again."""

    request_id: str


Action: TypeAlias = Run | Wait | Refuse | Expired
