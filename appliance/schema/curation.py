"""The records of curation: what keeps a FAQ right, beside its entries."""

from typing import Annotated, Literal

from msgspec import Meta

from appliance.schema.faq import MAX_PHRASINGS, Entry, EntryPut, ImportReport, LineError
from appliance.schema.fields import (
    END,
    ID,
    MAX_ANSWER_CHARS,
    Answer,
    Body,
    Category,
    Identifier,
    Language,
    Question,
    Record,
)
from appliance.schema.problems import ErrorDetail

DRAFTS_UID = "faq.drafts"
"""In whose name drafts of missing answers are asked for; no uid of a person has a dot."""
Version = Annotated[int, Meta(ge=1, le=2**53)]


class Revision(Entry, frozen=True, kw_only=True):
    """A version of an entry; `current` is the one that answers are made from."""

    current: bool


class DeletedEntry(Entry, frozen=True, kw_only=True):
    """An entry as it was when it was deleted."""

    deleted_at_ms: int


class RestorePost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`version` may be left out for a deleted entry: then the last one comes back."""

    version: Version | None = None


class EditConflict(ErrorDetail, frozen=True, kw_only=True):
    """Somebody edited the entry since it was read. `yours` is None for a deletion."""

    stored: Entry
    yours: EntryPut | None


class LineConflict(Record, frozen=True, kw_only=True):
    """A line that changes an entry its writer may not know of.

    edited_since: the entry `id` was edited after the file was exported; such a file is refused
    unless sent with `overwrite`. same_question: a line without this `id` has the same question.
    """

    line: int
    id: str
    kind: Literal["edited_since", "same_question"]
    message: str


class NearLine(Record, frozen=True, kw_only=True):
    """A line whose question means nearly the same as another's: that of the entry `id`, or of
    `other_line` of the same file (0 for none)."""

    line: int
    question: str
    id: str = ""
    other_line: int = 0
    other_question: str
    score: float


class ImportOutcome(ImportReport, frozen=True, kw_only=True):
    """What an import did, or with `dry_run` what it would do with its good lines.

    `import_id` names it under /api/faq/imports, "" when nothing was stored. `checked_lines` were
    compared by meaning for `duplicates`.
    """

    dry_run: bool = False
    import_id: str = ""
    errors: tuple[LineError, ...] = ()
    conflicts: tuple[LineConflict, ...] = ()
    duplicates: tuple[NearLine, ...] = ()
    checked_lines: int = 0


class ImportJob(ImportReport, frozen=True, kw_only=True):
    """A stored import. Of the `entries` it wrote `indexed` can be found by meaning.

    `detail` says why the rest is not, when it takes longer than it should; `reason` for programs.
    `by` is the name of the key it was sent with.
    """

    id: str
    form: str
    created_at_ms: int
    entries: int
    indexed: int = 0
    state: Literal["indexing", "done"] = "indexing"
    detail: str = ""
    reason: str = ""
    by: str = ""


Thumb = Literal["up", "down", "none"]


class EntryStats(Record, frozen=True, kw_only=True):
    """`hits` answers were made from the entry; `up` and `down` are thumbs for those answers."""

    hits: int = 0
    last_hit_ms: int = 0
    up: int = 0
    down: int = 0


class NearEntry(Record, frozen=True, kw_only=True):
    """Another entry that is reached by nearly the same question."""

    id: str
    question: str
    phrasing: str
    score: float


class EntryView(Entry, frozen=True, kw_only=True):
    """An entry with how it does. `near` is filled after it was written: entries it may repeat."""

    stats: EntryStats = EntryStats()
    near: tuple[NearEntry, ...] = ()


class FeedbackPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person thinks of an answer; "none" takes an earlier thumb back."""

    thumb: Thumb
    comment: Annotated[str, Meta(max_length=2_000)] = ""


MissReason = Literal["no_match", "thumbs_down"]
MissState = Literal["open", "promoted", "answered", "dismissed"]


class Asker(Record, frozen=True, kw_only=True):
    """Who asked, and in which words first. `waits` when told that a person has been asked; then
    the answer also comes to the session, after the turn of that request."""

    uid: str
    question: str
    waits: bool = False
    session_id: str = ""
    request_id: str = ""


class Miss(Record, frozen=True, kw_only=True):
    """Questions that mean the same and got no good answer.

    `phrasings` are their different wordings, `count` counts every time one was asked, `reasons`
    says why they are here. A promoted miss became `entry_id`, and its askers are `told` once that
    is published; those of an answered one are told its `answer`.
    """

    id: str
    question: str
    phrasings: tuple[str, ...]
    askers: tuple[Asker, ...]
    count: int
    reasons: dict[str, int]
    first_at_ms: int
    last_at_ms: int
    state: MissState = "open"
    entry_id: str = ""
    answer: str = ""
    told: bool = False


class MissAnswer(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What those who asked are told, without an entry of the FAQ."""

    answer: Answer


class MissPromote(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a miss becomes an entry: with `answer` a new one, with `entry_id` more phrasings of an
    existing one. What is left out is filled from the questions that were asked."""

    answer: Annotated[str, Meta(min_length=1, max_length=MAX_ANSWER_CHARS)] | None = None
    entry_id: Identifier | None = None
    question: Question | None = None
    phrasings: Annotated[tuple[Question, ...], Meta(max_length=MAX_PHRASINGS)] | None = None
    category: Category = ""
    language: Language = ""
    state: Literal["published", "draft"] = "published"


class Outcome(Record, frozen=True, kw_only=True):
    """What a regression question found: its first entry, "" for none."""

    entry_id: str
    score: float
    passed: bool
    at_ms: int


class RegressionPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`entry_id` is the entry that should come first; "" when the FAQ should have no answer."""

    question: Question
    entry_id: Annotated[str, Meta(pattern=f"^({ID})?{END}")] = ""


class Regression(Record, frozen=True, kw_only=True):
    """A saved question, and what it found last."""

    id: str
    question: str
    entry_id: str
    outcome: Outcome | None


class Flip(Record, frozen=True, kw_only=True):
    """A question whose outcome changed."""

    id: str
    question: str
    was: Outcome
    now: Outcome


class RegressionPreview(Record, frozen=True, kw_only=True):
    """What all questions would find if an entry were published as it was sent. A new entry has an
    id that is good for nothing else."""

    entry_id: str
    passed: int
    failed: int
    flips: tuple[Flip, ...]


class RegressionRun(Record, frozen=True, kw_only=True):
    """All questions asked once, and why."""

    at_ms: int
    cause: str
    passed: int
    failed: int
    flips: tuple[Flip, ...]
