"""Taking a file of entries into the FAQ: all of it, or nothing.

Which entry a row means is decided by `plan`, a pure function: first by id, then by question (same
canonical text). A row that means an existing entry updates it, or changes nothing when it says the
same; any other row creates an entry. The result is written by one script, and when somebody edited
one of the entries meanwhile, it is planned again from what is stored now. So a repeated import is
harmless, and a file that was exported comes back as it was.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.errors import Conflict
from appliance.knowledge.entries import Entries, content, first_version, now_ms, revised
from appliance.knowledge.exchange import Format, Row, parse
from appliance.knowledge.text import canonical
from appliance.schema import Entry, ImportReport

PLAN_ATTEMPTS = 5


@dataclass(frozen=True)
class Plan:
    """What to store, and what to tell."""

    writes: tuple[Entry, ...]
    report: ImportReport


async def import_file(entries: Entries, data: bytes, form: Format) -> Plan:
    """Reads, checks and stores a file; `writes` says which entries the index now has to take up.

    Raises ImportRefused for bad lines, Invalid past the bound of entries, Conflict when others
    keep editing the same entries.
    """
    rows = await asyncio.to_thread(parse, data, form, rows_bound=entries.bound)
    for _ in range(PLAN_ATTEMPTS):
        existing = [entry async for batch in entries.all() for entry in batch]
        planned = await asyncio.to_thread(plan, rows, existing, now_ms())
        if not planned.writes or await entries.write(planned.writes):
            return planned
    raise Conflict("others are editing the same entries", hint="import the file again")


def plan(rows: Sequence[Row], existing: Iterable[Entry], at_ms: int) -> Plan:
    """Pairs rows with entries: each entry goes to the row with its id, else with its question.

    New entries are listed in the order of the file: each a millisecond younger than the one before.
    """
    named = {row.entry_id for row in rows}
    by_id: dict[str, Entry] = {}
    by_question: dict[str, list[Entry]] = {}
    for entry in existing:
        by_id[entry.id] = entry
        if entry.id not in named:
            by_question.setdefault(canonical(entry.question), []).append(entry)
    writes: list[Entry] = []
    created = unchanged = 0
    for made_at_ms, row in enumerate(rows, start=at_ms - len(rows)):
        held = by_id.get(row.entry_id) or _claim(by_question, canonical(row.put.question))
        if held is None:
            writes.append(first_version(row.put, at_ms=made_at_ms, entry_id=row.entry_id))
            created += 1
        elif content(held) == row.put:
            unchanged += 1
        else:
            writes.append(revised(held, row.put, at_ms=at_ms))
    updated = len(writes) - created
    return Plan(tuple(writes), ImportReport(created=created, updated=updated, unchanged=unchanged))


def _claim(by_question: dict[str, list[Entry]], question: str) -> Entry | None:
    """The oldest entry with that question which no row has yet."""
    entries = by_question.get(question)
    return entries.pop(0) if entries else None
