"""The records of searching conversations. See `schema`."""

from typing import Literal

from appliance.schema import Record


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
