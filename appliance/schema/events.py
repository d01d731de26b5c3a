"""Events on a reply stream.

The stream entry holds two fields: `event` (a name of EVENTS) and `data` (the record as JSON).
"""

from typing import Literal

from appliance.schema.answers import Citation, Decision, Match, Timings, Usage
from appliance.schema.fields import Record


class Received(Record, frozen=True, kw_only=True):
    request_id: str
    session_id: str
    created_at_ms: int


class Waiting(Record, frozen=True, kw_only=True):
    """`place` counts from 1 (next). `eta_s` is None while nothing is known yet."""

    place: int
    eta_s: float | None


class Loading(Record, frozen=True, kw_only=True):
    """The request waits for its model. `percent` is 0 while room is made for it."""

    model: str
    percent: int


class Admitted(Record, frozen=True, kw_only=True):
    waited_ms: int


class Retrieved(Record, frozen=True, kw_only=True):
    """`degraded` says why retrieval gave less than it should, empty when all is well, and
    `degraded_reason` for programs. `decision` is "" where the FAQ was not asked."""

    matches: tuple[Match, ...]
    degraded: str = ""
    degraded_reason: str = ""
    decision: Decision | Literal[""] = ""


class Likely(Record, frozen=True, kw_only=True, array_like=True):
    """A token that could have been chosen; its bytes may end inside a character."""

    token: bytes
    logprob: float


class TokenLogprob(Record, frozen=True, kw_only=True, array_like=True):
    """A chosen token, with the natural logarithm of the probability the model itself gave it.

    That is the model's distribution, before penalties, bias, truncation and grammar. `top` has
    the most likely tokens, most likely first. All are short arrays in JSON, bytes as base64.
    """

    token: bytes
    logprob: float
    top: tuple[Likely, ...] = ()


class Delta(Record, frozen=True, kw_only=True, omit_defaults=True):
    """New text. `logprobs`, where asked for, are those of the tokens whose text it begins."""

    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class Done(Record, frozen=True, kw_only=True):
    """`cut_turns`: so many earlier turns the model was not shown any more, the oldest and those
    that rest on FAQ entries as they are no longer.

    `decision` is that of `retrieved`; with `direct` and `did_you_mean` no model was asked, and
    `model` is "faq". `citations` are the numbers in square brackets in the answer.
    """

    finish_reason: Literal["stop", "length"]
    model: str
    usage: Usage
    timings: Timings
    cut_turns: int = 0
    decision: Decision | Literal[""] = ""
    citations: tuple[Citation, ...] = ()


class Failed(Record, frozen=True, kw_only=True):
    code: str
    reason: str
    message: str
    hint: str = ""


class Refused(Record, frozen=True, kw_only=True):
    """`retry_after_s` is None for what will never be let in."""

    reason: str
    message: str
    retry_after_s: float | None


class Cancelled(Record, frozen=True, kw_only=True):
    reason: str
    usage: Usage = Usage()


Event = (
    Received
    | Loading
    | Waiting
    | Admitted
    | Retrieved
    | Delta
    | Done
    | Failed
    | Refused
    | Cancelled
)
EVENTS: dict[str, type[Event]] = {
    "received": Received,
    "loading": Loading,
    "waiting": Waiting,
    "admitted": Admitted,
    "retrieved": Retrieved,
    "delta": Delta,
    "done": Done,
    "failed": Failed,
    "refused": Refused,
    "cancelled": Cancelled,
}
EVENT_NAMES: dict[type[Event], str] = {kind: name for name, kind in EVENTS.items()}
