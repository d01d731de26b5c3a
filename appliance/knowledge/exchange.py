"""FAQ entries as files: CSV for spreadsheets, JSON lines for programs. Both ways, without loss.

**CSV** (RFC 4180, UTF-8, commas; the first line names the columns): `question` and `answer` are
needed; `id`, `phrasings`, `category`, `language` and `state` are optional, in any order. Line
breaks may stand inside quotes. Several phrasings in one cell are separated by line breaks, and by
nothing else. A cell that a spreadsheet would run as a formula is written with an apostrophe in
front, and that apostrophe is taken off again when the file is read. A written file starts with a
byte order mark, without which spreadsheets misread Chinese.

**JSON lines**: one object per line with the same names; `phrasings` is a list.

Reading collects what is wrong with every line (up to a bound) and then takes nothing at all.
"""

import csv
import difflib
import io
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance.errors import Invalid
from appliance.knowledge.entries import Entries, valid_id
from appliance.knowledge.text import canonical, checked, tidied, worded
from appliance.schema import Entry, EntryPut, LineError

Format = Literal["csv", "jsonl"]

COLUMNS = ("id", "question", "answer", "phrasings", "category", "language", "state")
NEEDED_COLUMNS = ("question", "answer")
LINE_ERRORS = 50

_FORMULA = re.compile("'*[=+\\-@＝＋－＠]")  # full-width forms are formulas to some spreadsheets
_ESCAPED = re.compile("'+[=+\\-@＝＋－＠]")
_LINE_BREAK = re.compile(r"\r\n?|\n")
_BOM = "\ufeff"


@dataclass(frozen=True)
class Row:
    """One entry of a file: where it stood, its tidied content, and its id ('' for none)."""

    line: int
    put: EntryPut
    entry_id: str


class ImportRefused(Invalid):
    """A file with at least one bad line. `lines` says which and why; nothing was taken."""

    def __init__(self, lines: Sequence[LineError]) -> None:
        first = lines[0]
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        super().__init__(
            f"line {first.line}: {first.message}{more}; nothing was imported",
            hint="correct the lines named and import the file again",
            reason="bad_lines",
        )
        self.lines = tuple(lines)


class _JsonLine(EntryPut, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str = ""


class _Problems:
    """The bad lines so far; refuses the file once there are `LINE_ERRORS` of them."""

    def __init__(self) -> None:
        self._lines: list[LineError] = []

    def add(self, line: int, message: str) -> None:
        self._lines.append(LineError(line=line, message=message))
        if len(self._lines) >= LINE_ERRORS:
            self.refuse()

    def refuse(self) -> None:
        """Raises ImportRefused if there are any."""
        if self._lines:
            raise ImportRefused(self._lines)


def parse(data: bytes, form: Format, *, rows_bound: int) -> list[Row]:
    """The entries of a file, tidied. Raises ImportRefused that names every bad line."""
    problems = _Problems()
    text = _text(data)
    rows: list[Row] = []
    records = _csv_records(text, problems) if form == "csv" else _json_records(text, problems)
    for line, fields in records:
        if len(rows) >= rows_bound:
            problems.add(line, f"the file holds more than {rows_bound} entries, which is the bound")
            break
        row = _row(line, fields, problems)
        if row is not None:
            rows.append(row)
    _refuse_repeats(rows, problems)
    problems.refuse()
    return rows


async def export(entries: Entries, form: Format) -> AsyncIterator[bytes]:
    """Every entry, draft ones too, as the pieces of a file."""
    if form == "csv":
        yield (_BOM + _csv_text([COLUMNS])).encode()
    async for batch in entries.all():
        yield written(batch, form)


def written(entries: Sequence[Entry], form: Format) -> bytes:
    """Entries as lines of a file; a CSV file needs its header before them."""
    if form == "jsonl":
        return b"".join(msgspec.json.encode(_as_fields(entry)) + b"\n" for entry in entries)
    rows = []
    for entry in entries:
        fields = _as_fields(entry)
        cells = {**fields, "phrasings": "\n".join(entry.phrasings)}
        rows.append([_escape(str(cells[column])) for column in COLUMNS])
    return _csv_text(rows).encode()


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _as_fields(entry: Entry) -> dict[str, object]:
    return {column: getattr(entry, column) for column in COLUMNS}


def _text(data: bytes) -> str:
    try:
        return data.decode().removeprefix(_BOM)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ImportRefused(
            [LineError(line=line, message="not UTF-8 text; save the file as UTF-8")]
        ) from None


def _row(line: int, fields: dict[str, object], problems: _Problems) -> Row | None:
    entry_id = str(fields.pop("id", ""))
    if entry_id and not valid_id(entry_id):
        problems.add(line, "id: 1 to 63 of a-z, 0-9, - and _, not the name of one of our own keys")
        return None
    try:
        return Row(line, tidied(checked(fields)), entry_id)
    except Invalid as error:
        problems.add(line, error.message)
        return None


def _refuse_repeats(rows: Sequence[Row], problems: _Problems) -> None:
    """Two rows may not mean one entry. The same question twice needs two ids to be two entries."""
    ids: dict[str, Row] = {}
    questions: dict[str, Row] = {}
    for row in rows:
        same_id = ids.setdefault(row.entry_id, row)
        same_question = questions.setdefault(canonical(row.put.question), row)
        if same_id is not row and row.entry_id:
            problems.add(row.line, f"id: the same as in line {same_id.line}")
        elif same_question is not row and not (row.entry_id and same_question.entry_id):
            problems.add(row.line, f"question: the same as in line {same_question.line}")


# -- JSON lines


def _json_records(text: str, problems: _Problems) -> Iterator[tuple[int, dict[str, object]]]:
    decoder = msgspec.json.Decoder(_JsonLine)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.structs.asdict(decoder.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            problems.add(number, worded(error))


# -- CSV


def _csv_records(text: str, problems: _Problems) -> Iterator[tuple[int, dict[str, object]]]:
    records = _numbered(text, problems)
    header = next(records, None)
    if header is None:
        problems.add(1, f"no header; the first line must name the columns {', '.join(COLUMNS)}")
        return
    columns = _columns(header.line, header.cells, problems)
    for record in records:
        if len(record.cells) != len(columns):
            problems.add(
                record.line, f"{len(record.cells)} cells where the header names {len(columns)}"
            )
            continue
        yield record.line, _fields(dict(zip(columns, record.cells, strict=True)))


@dataclass(frozen=True)
class _Record:
    line: int
    cells: list[str]


def _numbered(text: str, problems: _Problems) -> Iterator[_Record]:
    """Records with the line they begin on. After a quoting error nothing can be told apart."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, f"not valid CSV from here on: {error}")
            return
        if any(cell.strip() for cell in cells):
            yield _Record(line, cells)


def _columns(line: int, cells: Sequence[str], problems: _Problems) -> list[str]:
    """The columns a header names. A wrong header makes every row wrong: raises ImportRefused."""
    columns = [cell.strip().lower() for cell in cells]
    for position, column in enumerate(columns):
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            problems.add(line, f"unknown column {column!r}; {hint}")
        elif column in columns[:position]:
            problems.add(line, f"column {column} is named twice")
    for column in NEEDED_COLUMNS:
        if column not in columns:
            problems.add(line, f"no column {column}; columns are separated by commas")
    problems.refuse()
    return columns


def _fields(cells: dict[str, str]) -> dict[str, object]:
    """Cells as the fields of an entry; what is empty and optional takes its default."""
    fields: dict[str, object] = {
        column: cell if column in ("question", "answer") else cell.strip()
        for column, cell in ((name, _unescape(cell)) for name, cell in cells.items())
    }
    phrasings = str(fields.pop("phrasings", ""))
    fields["phrasings"] = tuple(line for line in _LINE_BREAK.split(phrasings) if line.strip())
    if not fields.get("state"):
        fields.pop("state", None)
    return fields


def _escape(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell
