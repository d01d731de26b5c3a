"""Taking a file of entries into the FAQ: all of it, or nothing.

Which entry a row means is decided by `plan`, a pure function: first by id, then by question (same
canonical text). A row that means an existing entry updates it, or changes nothing when it says the
same; any other row creates an entry. A row that was exported before somebody edited its entry is a
conflict, and the file is refused unless its sender says that it goes first.

The result and the record of the import (see `import_jobs`) are written by one script, and when
somebody edited one of the entries meanwhile, it is planned again from what is stored now. So
nothing is ever half visible whenever a process dies, a repeated import is harmless, and a file
that was exported comes back as it was.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid
from appliance.knowledge.entries import Entries, content, first_version, revised
from appliance.knowledge.exchange import Format, Parsed, read
from appliance.knowledge.files.rows import ImportRefused, Row, line_error
from appliance.knowledge.import_jobs import ImportJobs
from appliance.knowledge.text import canonical
from appliance.schema.curation import LineConflict
from appliance.schema.faq import Entry, ImportReport, LineError

PLAN_ATTEMPTS = 5


@dataclass(frozen=True)
class Plan:
    """What to store, and what to tell. `job_id` names the import once it is stored."""

    writes: tuple[Entry, ...]
    report: ImportReport
    conflicts: tuple[LineConflict, ...] = ()
    job_id: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """What an import would do, and what is wrong with the file."""

    plan: Plan
    parsed: Parsed


class ImportConflict(Conflict):
    """Rows that would undo edits made since they were exported; nothing was taken."""

    def __init__(self, conflicts: Sequence[LineConflict]) -> None:
        first = conflicts[0]
        more = f" and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
        super().__init__(
            f"line {first.line}: {first.message}{more}; nothing was imported",
            hint="export again and edit that, or send the file with ?overwrite=true",
            reason="edited_since",
        )
        self.lines = tuple(
            LineError(line=c.line, message=c.message, reason=c.kind, facts={"id": c.id})
            for c in conflicts
        )


async def import_file(
    entries: Entries,
    data: bytes,
    form: Format,
    *,
    jobs: ImportJobs | None = None,
    overwrite: bool = False,
    by: str = "",
) -> Plan:
    """Reads, checks and stores a file; `writes` says which entries the index now has to take up.
    `by` is who sent it.

    Raises ImportRefused for bad lines, ImportConflict unless `overwrite`, Invalid past the bound
    of entries, Conflict when others keep editing the same entries.
    """
    parsed = await asyncio.to_thread(read, data, form, rows_bound=entries.bound)
    if parsed.problems:
        raise ImportRefused(parsed.problems)
    for _ in range(PLAN_ATTEMPTS):
        planned = await _planned(entries, parsed.rows)
        late = [c for c in planned.conflicts if c.kind == "edited_since"]
        if late and not overwrite:
            raise ImportConflict(late)
        if not planned.writes:
            return planned
        writes = tuple(msgspec.structs.replace(entry, by=by) for entry in planned.writes)
        job = jobs.new(form, planned.report, len(writes), by=by) if jobs else None
        if await entries.write(writes, job):
            return replace(planned, writes=writes, job_id=job.job_id if job else "")
    raise Conflict(
        "others are editing the same entries", hint="import the file again", reason="entry_busy"
    )


async def rehearse(entries: Entries, data: bytes, form: Format) -> Rehearsal:
    """What `import_file` would do now with the good lines; nothing is stored."""
    parsed = await asyncio.to_thread(read, data, form, rows_bound=entries.bound)
    planned = await _planned(entries, parsed.rows)
    excess = await entries.count() + planned.report.created - entries.bound
    if excess > 0:
        message = f"the FAQ holds at most {entries.bound} entries, which is {excess} too few"
        fault = Invalid(message, reason="faq_full", facts={"bound": entries.bound})
        parsed.problems.append(line_error(1, fault))
    return Rehearsal(planned, parsed)


async def _planned(entries: Entries, rows: Sequence[Row]) -> Plan:
    existing = [entry async for batch in entries.all() for entry in batch]
    gone = await entries.last_versions([row.entry_id for row in rows if row.entry_id])
    return await asyncio.to_thread(plan, rows, existing, now_ms(), gone)


def plan(
    rows: Sequence[Row], existing: Iterable[Entry], at_ms: int, gone: Mapping[str, int]
) -> Plan:
    """Pairs rows with entries: each entry goes to the row with its id, else with its question.

    `gone` has the last versions of deleted entries, which a row with their id brings back. New
    entries are listed in the order of the file: each a millisecond younger than the one before.
    """
    named = {row.entry_id for row in rows}
    by_id: dict[str, Entry] = {}
    by_question: dict[str, list[Entry]] = {}
    for entry in existing:
        by_id[entry.id] = entry
        if entry.id not in named:
            by_question.setdefault(canonical(entry.question), []).append(entry)
    writes: list[Entry] = []
    conflicts: list[LineConflict] = []
    created = unchanged = 0
    for made_at_ms, row in enumerate(rows, start=at_ms - len(rows)):
        held = by_id.get(row.entry_id) or _claim(by_question, canonical(row.put.question))
        if held is None:
            writes.append(_new(row, made_at_ms, gone))
            created += 1
        elif content(held) == row.put:
            unchanged += 1
        else:
            writes.append(revised(held, row.put, at_ms=at_ms))
            conflicts += _conflicts(row, held)
    updated = len(writes) - created
    report = ImportReport(created=created, updated=updated, unchanged=unchanged)
    return Plan(tuple(writes), report, tuple(conflicts))


def _new(row: Row, made_at_ms: int, gone: Mapping[str, int]) -> Entry:
    version = gone.get(row.entry_id, 0) + 1
    return first_version(row.put, at_ms=made_at_ms, entry_id=row.entry_id, version=version)


def _claim(by_question: dict[str, list[Entry]], question: str) -> Entry | None:
    """The oldest entry with that question which no row has yet."""
    entries = by_question.get(question)
    return entries.pop(0) if entries else None


def _conflicts(row: Row, held: Entry) -> list[LineConflict]:
    if row.entry_id == held.id and row.version and row.version < held.version:
        message = (
            f"{held.id} was edited since: the file has version {row.version}, "
            f"stored is {held.version}"
        )
        return [LineConflict(line=row.line, id=held.id, kind="edited_since", message=message)]
    if row.entry_id != held.id:
        message = f"replaces the text of {held.id}, which has the same question"
        return [LineConflict(line=row.line, id=held.id, kind="same_question", message=message)]
    return []
