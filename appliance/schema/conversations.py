"""The records of conversations: sessions, their turns, searching and branching them."""

from typing import Literal

import msgspec

from appliance.schema.answers import Citation, Decision, Match, Usage
from appliance.schema.fields import DEFAULT_UID, Body, Identifier, ModelName, Record, Title, Uid
from appliance.schema.requests import RequestState


class Session(Record, frozen=True, kw_only=True):
    """`warm`: a worker has the conversation in its cache, so an answer begins sooner."""

    id: str
    uid: str
    title: str
    created_at_ms: int
    last_active_at_ms: int
    model: str = ""
    warm: bool = False


class SessionPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`model` is one of `GET /api/models`; "" is the chat model of the settings."""

    uid: Uid = DEFAULT_UID
    title: Title = ""
    model: ModelName = ""


class SessionPatch(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    model: ModelName | msgspec.UnsetType = msgspec.UNSET


class Turn(Record, frozen=True, kw_only=True):
    """A stored message pair. Its id is the id of the request that made it.

    `sent` is the exact text the model saw for `question` (with FAQ hits and date), kept so
    that the next prompt starts with the same tokens. The turns `left_out` were kept from the model,
    for FAQ entries that they rest on had been changed or deleted since.
    """

    id: str
    created_at_ms: int
    question: str
    answer: str = ""
    state: RequestState = "waiting"
    matches: tuple[Match, ...] = ()
    usage: Usage = Usage()
    sent: str = ""
    left_out: tuple[str, ...] = ()
    decision: Decision | Literal[""] = ""
    citations: tuple[Citation, ...] = ()
    thumb: Literal["up", "down", "none"] = "none"


class BranchPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The new session gets the turns up to this one; "" as title is the title of the old one."""

    turn_id: Identifier
    title: Title = ""


class Hit(Record, frozen=True, kw_only=True):
    """Where the words stand: the title of a session, or a question or answer in it."""

    session_id: str
    title: str
    place: Literal["title", "question", "answer"]
    excerpt: str
    at_ms: int
    turn_id: str = ""


class Hits(Record, frozen=True, kw_only=True):
    """The newest first. `complete` is false when older turns were not looked at any more."""

    items: tuple[Hit, ...]
    complete: bool
