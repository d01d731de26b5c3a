"""The records of searching conversations and of branching them. See `schema`."""

from typing import Literal

from appliance.schema import Body, Identifier, Record, Title


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
