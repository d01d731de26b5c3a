"""The records of curation that cross a border: what keeps a FAQ right, beside its entries.

They follow the rules of `schema`: immutable, knowing nothing of how they are stored or sent.
"""

from typing import Annotated, Literal

from msgspec import Meta

from appliance.schema import Body, Entry, EntryPut, ErrorDetail, ImportReport, LineError, Record

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

    `detail` says why the rest is not, when it takes longer than it should.
    """

    id: str
    form: str
    created_at_ms: int
    entries: int
    indexed: int = 0
    state: Literal["indexing", "done"] = "indexing"
    detail: str = ""
