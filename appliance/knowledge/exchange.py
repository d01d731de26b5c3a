"""FAQ entries as files, both ways and without loss: CSV, JSON lines, workbooks and Markdown.

| form     | made for      | see              |
|----------|---------------|------------------|
| csv      | spreadsheets  | `files.tables`   |
| xlsx     | spreadsheets  | `files.xlsx`     |
| markdown | people        | `files.markdown` |
| jsonl    | programs      | one object per line with the same names; `phrasings` is a list |

Reading collects what is wrong with every line (up to a bound). A file with a bad line is taken
not at all.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Literal

import msgspec

from appliance.errors import Invalid
from appliance.knowledge.entries import Entries, valid_id
from appliance.knowledge.files import tables
from appliance.knowledge.files.markdown import markdown_lines, markdown_records
from appliance.knowledge.files.rows import (
    COLUMNS,
    EnoughProblems,
    ImportRefused,
    Problems,
    Record,
    Row,
    fields_of,
    line_error,
)
from appliance.knowledge.files.xlsx import CELL_CHARS, NotAWorkbook, read_rows, write_workbook
from appliance.knowledge.text import canonical, checked, field_fault, tidied
from appliance.schema.faq import Entry, EntryPut, LineError

Format = Literal["csv", "jsonl", "xlsx", "markdown"]

SHEET_NAME = "FAQ"
PIECE_BYTES = 262_144


@dataclass(frozen=True)
class Parsed:
    """The good rows of a file, and what is wrong with the others."""

    rows: list[Row]
    problems: list[LineError]


class _JsonLine(EntryPut, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str = ""
    version: int = 0


def parse(data: bytes, form: Format, *, rows_bound: int) -> list[Row]:
    """The entries of a file, tidied. Raises ImportRefused that names every bad line."""
    parsed = read(data, form, rows_bound=rows_bound)
    if parsed.problems:
        raise ImportRefused(parsed.problems)
    return parsed.rows


def read(data: bytes, form: Format, *, rows_bound: int) -> Parsed:
    """What can be read of a file, and every bad line up to a bound."""
    problems = Problems()
    rows: list[Row] = []
    try:
        for line, fields in _records(data, form, problems):
            if len(rows) >= rows_bound:
                fault = Invalid(
                    f"the file holds more than {rows_bound} entries, which is the bound",
                    reason="too_many_rows",
                    facts={"bound": rows_bound},
                )
                problems.add(line, fault)
                break
            row = _row(line, fields, problems)
            if row is not None:
                rows.append(row)
        rows = _without_repeats(rows, problems)
    except NotAWorkbook as error:
        problems.lines.append(line_error(1, error))
    except EnoughProblems:
        pass
    return Parsed(rows, problems.lines)


async def export(entries: Entries, form: Format) -> AsyncIterator[bytes]:
    """Every entry, draft ones too, as the pieces of a file."""
    if form == "xlsx":
        async for piece in _exported_workbook(entries):
            yield piece
        return
    if form == "csv":
        yield tables.csv_header()
    async for batch in entries.all():
        yield written(batch, form)


def written(entries: Sequence[Entry], form: Literal["csv", "jsonl", "markdown"]) -> bytes:
    """Entries as lines of a file; a CSV file needs its header before them."""
    if form == "jsonl":
        return b"".join(msgspec.json.encode(fields_of(entry)) + b"\n" for entry in entries)
    return tables.csv_lines(entries) if form == "csv" else markdown_lines(entries)


def workbook(entries: Sequence[Entry], target: IO[bytes]) -> None:
    """Entries as a workbook; the column `phrasings` stands as often as the longest list needs."""
    columns = max((len(_phrasing_cells(entry)) for entry in entries), default=1)
    where = COLUMNS.index("phrasings")
    header = [*COLUMNS[:where], *["phrasings"] * columns, *COLUMNS[where + 1 :]]
    write_workbook(target, SHEET_NAME, itertools.chain([header], _sheet_rows(entries, columns)))


async def _exported_workbook(entries: Entries) -> AsyncIterator[bytes]:
    """A workbook is a ZIP file: it is written to the end before its first byte is right."""
    held = [entry async for batch in entries.all() for entry in batch]
    with tempfile.TemporaryFile() as target:
        await asyncio.to_thread(workbook, held, target)
        target.seek(0)
        while piece := target.read(PIECE_BYTES):
            yield piece


def _sheet_rows(entries: Iterable[Entry], columns: int) -> Iterator[list[str]]:
    where = COLUMNS.index("phrasings")
    for entry in entries:
        row, phrasings = tables.cells(entry), _phrasing_cells(entry)
        phrasings += [""] * (columns - len(phrasings))
        yield [*row[:where], *phrasings, *row[where + 1 :]]


def _phrasing_cells(entry: Entry) -> list[str]:
    """Phrasings in as few cells as hold them; a cell's bound counts UTF-16 units."""
    found, room = [""], CELL_CHARS
    for phrasing in entry.phrasings:
        units = len(phrasing.encode("utf-16-le")) // 2 + 1
        if units > room:
            found.append("")
            room = CELL_CHARS
        found[-1] += f"\n{phrasing}" if found[-1] else phrasing
        room -= units
    return found


# -- reading


def _records(data: bytes, form: Format, problems: Problems) -> Iterator[Record]:
    if form == "xlsx":
        return tables.table_records(_sheet(data, problems), problems)
    text = _text(data, problems)
    if form == "csv":
        return tables.csv_records(text, problems)
    return markdown_records(text, problems) if form == "markdown" else _json(text, problems)


def _sheet(data: bytes, problems: Problems) -> Iterator[tables.TableRow]:
    """Rows as wide as the first one; those with a cell that holds an error are bad."""
    width = 0
    for row in read_rows(data):
        width = width or len(row.cells)
        if row.fault:
            problems.add(row.number, Invalid(row.fault, reason="error_cell"))
        else:
            yield tables.TableRow(row.number, row.cells + [""] * (width - len(row.cells)))


def _text(data: bytes, problems: Problems) -> str:
    try:
        return data.decode().removeprefix(tables.BOM)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(line, Invalid("not UTF-8 text; save the file as UTF-8", reason="not_utf8"))
        raise EnoughProblems from None


def _json(text: str, problems: Problems) -> Iterator[Record]:
    decoder = msgspec.json.Decoder(_JsonLine)
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, msgspec.structs.asdict(decoder.decode(line))
        except (msgspec.DecodeError, RecursionError) as error:
            problems.add(number, field_fault(error))


def _row(line: int, fields: dict[str, object], problems: Problems) -> Row | None:
    entry_id, version = str(fields.pop("id", "")), str(fields.pop("version", 0))
    if entry_id and not valid_id(entry_id):
        fault = Invalid(
            "id: 1 to 63 of a-z, 0-9, - and _, not the name of one of our own keys",
            reason="bad_id",
        )
        problems.add(line, fault)
        return None
    if not (version.isascii() and version.isdigit() and len(version) < 16):
        fault = Invalid(
            "version: expected the number that an export wrote, or nothing", reason="bad_version"
        )
        problems.add(line, fault)
        return None
    try:
        return Row(line, tidied(checked(fields, strict=False)), entry_id, int(version))
    except Invalid as error:
        problems.add(line, error)
        return None


def _without_repeats(rows: Sequence[Row], problems: Problems) -> list[Row]:
    """Two rows may not mean one entry. The same question twice needs two ids to be two entries."""
    ids: dict[str, Row] = {}
    questions: dict[str, Row] = {}
    kept = []
    for row in rows:
        same_id = ids.setdefault(row.entry_id, row)
        same_question = questions.setdefault(canonical(row.put.question), row)
        if same_id is not row and row.entry_id:
            fault = Invalid(
                f"id: the same as in line {same_id.line}",
                reason="same_as_line",
                facts={"field": "id", "line": same_id.line},
            )
            problems.add(row.line, fault)
        elif same_question is not row and not (row.entry_id and same_question.entry_id):
            fault = Invalid(
                f"question: the same as in line {same_question.line}",
                reason="same_as_line",
                facts={"field": "question", "line": same_question.line},
            )
            problems.add(row.line, fault)
        else:
            kept.append(row)
    return kept
