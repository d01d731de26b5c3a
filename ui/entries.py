"""FAQ entries as rows of a table: pure, from the list, from a search, or from both.

A search asks the server by meaning, and only published entries are in its index. So the rows
below the matches are those loaded entries that contain the text literally: a draft is found too,
and a search still gives something when the index is away.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from appliance.schema.answers import Match
from appliance.schema.faq import Entry, EntryPut

Order = Literal["written", "question", "category", "language", "state"]
ORDERS: Final[tuple[Order, ...]] = ("written", "question", "category", "language", "state")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table. `score` is None for a row that no search by meaning found."""

    id: str
    question: str
    answer: str
    category: str
    language: str
    state: Literal["published", "draft"] = "published"
    score: float | None = None


def row_of_entry(entry: Entry) -> Row:
    return Row(
        id=entry.id,
        question=entry.question,
        answer=entry.answer,
        category=entry.category,
        language=entry.language,
        state=entry.state,
    )


def in_order(rows: Iterable[Row], order: Order) -> list[Row]:
    """Rows by one column, equal ones by question; as they were written, they stay as given."""
    if order == "written":
        return list(rows)

    def place(row: Row) -> tuple[str, str]:
        column: str = getattr(row, order)
        return column.casefold(), row.question.casefold()

    return sorted(rows, key=place)


def row_of_match(match: Match) -> Row:
    return Row(
        id=match.id,
        question=match.question,
        answer=match.answer,
        category=match.category,
        language=match.language,
        score=match.score,
    )


def search_rows(
    text: str, matches: tuple[Match, ...], entries: tuple[Entry, ...]
) -> tuple[Row, ...]:
    """Matches by falling score, then the loaded entries that contain `text`."""
    found = {match.id: row_of_match(match) for match in matches}
    literal = [
        row_of_entry(entry) for entry in entries if entry.id not in found and contains(entry, text)
    ]
    return (*found.values(), *literal)


def contains(entry: Entry, text: str) -> bool:
    """Whether any text of the entry has `text` in it, letter case aside."""
    wanted = text.casefold()
    texts = (entry.question, *entry.phrasings, entry.answer, entry.category)
    return any(wanted in part.casefold() for part in texts)


@dataclass(frozen=True, kw_only=True)
class EntryDraft:
    """What stands in the editor: plain fields, phrasings one per line."""

    question: str = ""
    answer: str = ""
    phrasings: str = ""
    category: str = ""
    language: str = ""
    state: Literal["published", "draft"] = "published"


def draft_of(entry: Entry) -> EntryDraft:
    return EntryDraft(
        question=entry.question,
        answer=entry.answer,
        phrasings="\n".join(" ".join(phrasing.split()) for phrasing in entry.phrasings),
        category=entry.category,
        language=entry.language,
        state=entry.state,
    )


def put_of(draft: EntryDraft, entry: Entry | None = None) -> EntryPut:
    """The draft as it is sent: outer white space and empty or repeated phrasings removed.

    What the form has no field for stays as it is in `entry`.
    """
    lines = (line.strip() for line in draft.phrasings.splitlines())
    return EntryPut(
        question=draft.question.strip(),
        answer=draft.answer.strip(),
        phrasings=tuple(dict.fromkeys(line for line in lines if line)),
        category=draft.category.strip(),
        language=draft.language.strip(),
        state=draft.state,
        valid_from=entry.valid_from if entry else "",
        valid_until=entry.valid_until if entry else "",
    )
