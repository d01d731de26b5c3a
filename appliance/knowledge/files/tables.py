"""Entries as a table, for spreadsheets: CSV, and what a sheet of a workbook has in common with it.

The first line names the columns: `question` and `answer` are needed, the others are optional, in
any order. Several phrasings in one cell are separated by line breaks, and by nothing else; the
column `phrasings` may stand more than once, for a cell of a workbook has a bound.

CSV is RFC 4180 with commas, in UTF-8. A cell that a spreadsheet would run as a formula is written
with an apostrophe in front, and that apostrophe is taken off again when the file is read. A
written file starts with a byte order mark, without which spreadsheets misread Chinese.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from appliance.errors import Invalid
from appliance.knowledge.files.rows import COLUMNS, NEEDED_COLUMNS, Problems, Record, fields_of
from appliance.schema.faq import Entry

BOM = "\ufeff"

_FORMULA = re.compile("'*[=+\\-@＝＋－＠]")  # full-width forms are formulas to some spreadsheets
_ESCAPED = re.compile("'+[=+\\-@＝＋－＠]")
_LINE_BREAK = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class TableRow:
    """Cells, and the line they begin on."""

    line: int
    cells: list[str]


def csv_records(text: str, problems: Problems) -> Iterator[Record]:
    rows = (TableRow(row.line, list(map(_unescape, row.cells))) for row in _rows(text, problems))
    return table_records(rows, problems)


def csv_header() -> bytes:
    return (BOM + _csv_text([COLUMNS])).encode()


def csv_lines(entries: Sequence[Entry]) -> bytes:
    """Entries without the header."""
    return _csv_text([[_escape(cell) for cell in cells(entry)] for entry in entries]).encode()


def cells(entry: Entry) -> list[str]:
    """An entry as one row of a table."""
    fields = fields_of(entry) | {"phrasings": "\n".join(entry.phrasings)}
    return ["" if fields[column] is None else str(fields[column]) for column in COLUMNS]


def table_records(rows: Iterator[TableRow], problems: Problems) -> Iterator[Record]:
    """Rows as records; the first one names the columns, and empty ones are passed over."""
    filled = (row for row in rows if any(cell.strip() for cell in row.cells))
    header = next(filled, None)
    if header is None:
        columns = ", ".join(COLUMNS)
        fault = Invalid(
            f"no header; the first line must name the columns {columns}",
            reason="no_header",
            facts={"columns": columns},
        )
        problems.add(1, fault)
        return
    named = _columns(header, problems)
    for row in filled:
        if len(row.cells) != len(named):
            fault = Invalid(
                f"{len(row.cells)} cells where the header names {len(named)}",
                reason="cell_count",
                facts={"cells": len(row.cells), "columns": len(named)},
            )
            problems.add(row.line, fault)
            continue
        yield row.line, _fields(named, row.cells)


def _columns(header: TableRow, problems: Problems) -> list[str]:
    """The columns a header names. A wrong header makes every row wrong."""
    columns = [cell.strip().lower() for cell in header.cells]
    for position, column in enumerate(columns):
        if column not in COLUMNS:
            near = difflib.get_close_matches(column, COLUMNS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(COLUMNS)}"
            fault = Invalid(
                f"unknown column {column!r}; {hint}",
                reason="unknown_column",
                facts={"column": column, "known": near[0] if near else ", ".join(COLUMNS)},
            )
            problems.add(header.line, fault)
        elif column in columns[:position] and column != "phrasings":
            fault = Invalid(
                f"column {column} is named twice", reason="column_twice", facts={"column": column}
            )
            problems.add(header.line, fault)
    for column in NEEDED_COLUMNS:
        if column not in columns:
            fault = Invalid(
                f"no column {column}; columns are separated by commas",
                reason="no_column",
                facts={"column": column},
            )
            problems.add(header.line, fault)
    problems.stop()
    return columns


def _fields(columns: Sequence[str], row: Sequence[str]) -> dict[str, object]:
    """Cells as the fields of an entry; what is empty and optional takes its default."""
    fields: dict[str, object] = {}
    phrasings: list[str] = []
    for column, cell in zip(columns, row, strict=True):
        if column == "phrasings":
            phrasings += [line for line in _LINE_BREAK.split(cell) if line.strip()]
        elif column in NEEDED_COLUMNS:
            fields[column] = cell
        elif cell.strip():  # a spreadsheet shows a time with a space where ISO 8601 has a T
            is_moment = column.startswith("valid_")
            fields[column] = cell.strip().replace(" ", "T") if is_moment else cell.strip()
    return fields | {"phrasings": tuple(phrasings)}


def _rows(text: str, problems: Problems) -> Iterator[TableRow]:
    """After a quoting error nothing can be told apart any more."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            yield TableRow(line, next(reader))
        except StopIteration:
            return
        except csv.Error as error:
            problems.add(line, Invalid(f"not valid CSV from here on: {error}", reason="not_csv"))
            return


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue()


def _escape(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) else cell


def _unescape(cell: str) -> str:
    return cell[1:] if _ESCAPED.match(cell) else cell
