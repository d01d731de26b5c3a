"""What every form of file has in common: its columns, its rows, and what is wrong with its lines.

A reader yields records: the line on which one stands and its fields by column. `Problems` collects
what is wrong, up to a bound, and then stops the reading: after fifty bad lines it is the wrong
file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from appliance.errors import Invalid
from appliance.schema.faq import Entry, EntryPut, LineError

COLUMNS = ("id", *EntryPut.__struct_fields__, "version")
NEEDED_COLUMNS = ("question", "answer")
LINE_ERRORS = 50

Record: TypeAlias = tuple[int, dict[str, object]]
"""The line on which an entry begins, and its fields by column."""


@dataclass(frozen=True)
class Row:
    """One entry of a file: where it stood, its tidied content, its id and version ('' and 0 for
    none)."""

    line: int
    put: EntryPut
    entry_id: str
    version: int = 0


class ImportRefused(Invalid):
    """A file with at least one bad line. `lines` says which and why; nothing was taken."""

    def __init__(self, lines: Sequence[LineError]) -> None:
        first = lines[0]
        more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
        super().__init__(
            f"line {first.line}: {first.message}{more}; nothing was imported",
            hint="correct the lines named and import the file again; ?dry_run=true only looks",
            reason="bad_lines",
            facts={"line": first.line, "count": len(lines)},
        )
        self.lines = tuple(lines)


def line_error(line: int, fault: Invalid) -> LineError:
    """What is wrong, and where."""
    return LineError(line=line, message=fault.message, reason=fault.reason, facts=fault.facts)


class EnoughProblems(Exception):
    """Reading on makes no sense: too many lines are bad, or one that all others depend on."""


class Problems:
    """The bad lines so far."""

    def __init__(self) -> None:
        self.lines: list[LineError] = []

    def add(self, line: int, fault: Invalid) -> None:
        """Raises EnoughProblems once there are `LINE_ERRORS`."""
        self.lines.append(line_error(line, fault))
        if len(self.lines) >= LINE_ERRORS:
            raise EnoughProblems

    def stop(self) -> None:
        """Raises EnoughProblems if there are any."""
        if self.lines:
            raise EnoughProblems


def fields_of(entry: Entry) -> dict[str, object]:
    """An entry by column."""
    return {column: getattr(entry, column) for column in COLUMNS}
