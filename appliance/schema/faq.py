"""The records of the FAQ: entries, their import, and what a question finds."""

from typing import Annotated, Literal

from msgspec import Meta

from appliance.schema.answers import Decision, Match
from appliance.schema.fields import (
    DEFAULT_UID,
    Answer,
    Body,
    Category,
    Language,
    Moment,
    Question,
    Record,
    Uid,
)
from appliance.schema.requests import ChatMessage

MAX_PHRASINGS = 64


class Entry(Record, frozen=True, kw_only=True):
    """A FAQ entry: one curated answer, reached by its question and any other phrasing of it.

    It answers from `valid_from` to the end of `valid_until`; "" is no bound. `by` is the name of
    the key that this version was written with, "" where the appliance wrote it.
    """

    id: str
    question: str
    answer: str
    phrasings: tuple[str, ...]
    category: str
    language: str
    state: Literal["published", "draft"]
    version: int
    created_at_ms: int
    updated_at_ms: int
    valid_from: str = ""
    valid_until: str = ""
    by: str = ""


class Labels(Record, frozen=True, kw_only=True):
    """What entries can be filtered by, in order; "" where some have none."""

    categories: tuple[str, ...]
    languages: tuple[str, ...]


class EntryPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    question: Question
    answer: Answer
    phrasings: Annotated[tuple[Question, ...], Meta(max_length=MAX_PHRASINGS)] = ()
    category: Category = ""
    language: Language = ""
    state: Literal["published", "draft"] = "published"
    valid_from: Moment = ""
    valid_until: Moment = ""


class Calibration(Record, frozen=True, kw_only=True):
    """What scores mean for this FAQ, learned from its own phrasings; None is "not known".

    `lexical` is the weight of words beside meaning. Evidence of `direct_bar` or more is answered
    without a model; matches below both floors do not count; where the second score comes to
    `guess_closeness` of the first, the first is a guess. `recall_1`, `recall_3` and `direct_share`
    are what left-out phrasings found and would have been answered directly.
    """

    stamp: str
    phrasings: int = 0
    samples: int = 0
    made_at_ms: int = 0
    lexical: float = 0.2
    direct_bar: float | None = None
    score_floor: float | None = None
    similarity_floor: float | None = None
    guess_closeness: float | None = None
    recall_1: float = 0.0
    recall_3: float = 0.0
    direct_share: float = 0.0


class FaqTestPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A question to try, as the person `uid` would ask it at the start of a session."""

    question: Question
    uid: Uid = DEFAULT_UID


class FaqTest(Record, frozen=True, kw_only=True):
    """What would happen to a question, and why. `found` are the closest entries: first those that
    are decided on, then what a wider search finds; `evidence` is what the bar is compared with.
    `answer` is what would be said without a model, or `prompt` is what the model would be told."""

    decision: Decision | Literal[""]
    matches: tuple[Match, ...]
    found: tuple[Match, ...]
    evidence: float
    calibration: Calibration
    degraded: str = ""
    degraded_reason: str = ""
    answer: str = ""
    prompt: tuple[ChatMessage, ...] = ()


class LineError(Record, frozen=True, kw_only=True):
    """What is wrong with a line of a file. `reason` and `facts` say it for programs."""

    line: int
    message: str
    reason: str = ""
    facts: dict[str, str] = {}


class ImportReport(Record, frozen=True, kw_only=True):
    """`created` + `updated` + `unchanged` entries came from the file; all or none are taken."""

    created: int
    updated: int
    unchanged: int
