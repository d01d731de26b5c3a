"""The truth about the FAQ: one hash per entry in Valkey.

Every write is one script that stores the record, lists it, keeps the version before (see
`history`), and marks its id in `faq:unindexed`. The mark means "the index rows of this entry are
not known to be current" and goes away only when the index has caught up with exactly the record
that is stored now. A crash between truth and index therefore loses nothing: the mark is still
there at the next start.

A record is written against the version that was read; a writer that lost a race reads again. A
command resent after a lost connection finds its own record and changes nothing.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid, NotFound
from appliance.knowledge import entry_scripts as scripts
from appliance.knowledge.text import tidied
from appliance.schema.faq import Entry, EntryPut, Labels
from appliance.schema.fields import ID_PATTERN, Page

BATCH_ENTRIES = 500
EDITS = 16
"""So many entries written together are edits, which somebody waits for; more are an import."""
REPLACE_ATTEMPTS = 8

_RESERVED = frozenset(
    {
        keys.FAQ_UNINDEXED.removeprefix(keys.entry("")),
        *("search", "test", "import", "imports", "export", "demo"),  # what else is below /api/faq
        *("categories", "deleted", "misses", "regressions", "calibration", "reindex"),
    }
)
_ID = re.compile(ID_PATTERN)


Changed = Mapping[str, Entry | None]
"""What was written by id, None for what was deleted."""


@dataclass(frozen=True)
class Snapshot:
    """A record as it was read: `entry` is None, and `body` empty, when there is none."""

    entry_id: str
    entry: Entry | None
    body: bytes


@dataclass(frozen=True)
class _Position:
    """The entry after which a list goes on."""

    created_at_ms: int
    entry_id: str

    def __str__(self) -> str:
        return f"{self.created_at_ms}.{self.entry_id}"


_START = _Position(-1, "")


def valid_id(entry_id: str) -> bool:
    """Whether an entry may have this id: one of ours, or one that came with an import."""
    return entry_id not in _RESERVED and _ID.fullmatch(entry_id) is not None


def content(entry: Entry) -> EntryPut:
    """What a person wrote of an entry."""
    return EntryPut(**{name: getattr(entry, name) for name in EntryPut.__struct_fields__})


def revised(entry: Entry, put: EntryPut, *, at_ms: int, by: str = "") -> Entry:
    """The next version of an entry; `put` must be tidied."""
    return _entry(
        entry.id,
        put,
        version=entry.version + 1,
        created_at_ms=entry.created_at_ms,
        updated_at_ms=max(at_ms, entry.created_at_ms),
        by=by,
    )


def first_version(
    put: EntryPut, *, at_ms: int, entry_id: str = "", version: int = 1, by: str = ""
) -> Entry:
    """A new entry; `put` must be tidied. One that had been deleted goes on with its versions."""
    return _entry(
        entry_id or keys.new_entry_id(),
        put,
        version=version,
        created_at_ms=at_ms,
        updated_at_ms=at_ms,
        by=by,
    )


@dataclass(frozen=True)
class Job:
    """What is stored of an import together with its entries."""

    job_id: str
    body: bytes
    made_at_ms: int
    kept: int
    ttl_s: int

    def arguments(self) -> list[str | bytes | int]:
        return [self.job_id, self.body, self.made_at_ms, self.kept, self.ttl_s]


class VersionConflict(Conflict):
    """An edit of a version that is not the newest any more: both texts, for a person to merge."""

    def __init__(self, stored: Entry, yours: EntryPut | None, expected: int) -> None:
        super().__init__(
            f"FAQ entry {stored.id} is at version {stored.version}, not {expected}: "
            "somebody else edited it",
            hint=f"compare `stored` with `yours`, then send what is right with If-Match: "
            f'"{stored.version}"',
            reason="edited_since",
        )
        self.stored = stored
        self.yours = yours


class Entries:
    """Reads and writes FAQ entries; nothing here knows the index."""

    def __init__(
        self, bus: Bus, bound: int, *, history_kept: int = 20, deleted_kept: int = 1000
    ) -> None:
        """At most `bound` entries, `history_kept` older versions of each, `deleted_kept` deleted
        ones that can come back."""
        self._bus = bus
        self._bound = bound
        self._history_kept = history_kept
        self._deleted_kept = deleted_kept
        self._listeners: list[Callable[[Changed], None]] = []

    @property
    def bound(self) -> int:
        return self._bound

    def on_change(self, listen: Callable[[Changed], None]) -> None:
        """Who else is told after each write of this process."""
        self._listeners.append(listen)

    async def create(self, put: EntryPut, *, by: str = "") -> Entry:
        """Raises Invalid for an empty text, or when the FAQ is full."""
        entry = first_version(tidied(put), at_ms=now_ms(), by=by)
        if not await self.write([entry]):
            raise Conflict(
                "the entry was written by somebody else", hint="try again", reason="entry_busy"
            )
        return entry

    async def read(self, entry_id: str) -> Entry:
        found = await self.many([entry_id])
        if not found:
            raise NotFound(
                f"no FAQ entry {entry_id}",
                hint="list them with GET /api/faq, and those that can come back with "
                "GET /api/faq/deleted",
                reason="no_entry",
            )
        return found[0]

    async def replace(
        self, entry_id: str, put: EntryPut, *, expected: int | None = None, by: str = ""
    ) -> Entry:
        """Saying what is stored already changes nothing, so a request sent twice is harmless.

        Without the version it `expected` the last writer wins. Raises NotFound, Invalid,
        VersionConflict, or Conflict while many write at once.
        """
        put = tidied(put)
        for _ in range(REPLACE_ATTEMPTS):
            held = await self.read(entry_id)
            if content(held) == put:
                return held
            if expected not in (None, held.version):
                raise VersionConflict(held, put, expected or 0)
            entry = revised(held, put, at_ms=now_ms(), by=by)
            if await self.write([entry]):
                return entry
        raise Conflict(
            f"FAQ entry {entry_id} is being written by others",
            hint="try again",
            reason="entry_busy",
        )

    async def delete(self, entry_id: str, *, expected: int | None = None) -> None:
        """It can come back until `deleted_kept` others were deleted after it.

        Raises NotFound, or VersionConflict when it is not at the version `expected`.
        """
        held = await self.read(entry_id)
        outcome = await scripts.DELETE.run(
            self._bus,
            (
                keys.FAQ,
                keys.FAQ_UNINDEXED,
                keys.FAQ_DELETED,
                keys.entry(entry_id),
                keys.history(entry_id),
                keys.FAQ_REVISION,
            ),
            entry_id,
            "" if expected is None else expected,
            now_ms(),
            self._history_kept,
        )
        if outcome == -1:
            raise VersionConflict(await self._at_least(held), None, expected or 0)
        self._tell({entry_id: None})
        await self._forget_oldest()

    async def write(self, entries: Sequence[Entry], job: Job | None = None) -> bool:
        """Stores all of them or none; False when one is no longer at the version before.

        The import they belong to, if any, is stored in the same step. Raises Invalid when they
        would pass the bound.
        """
        touched: list[str] = []
        arguments: list[str | bytes | int] = (
            ["", "", "", "", ""] if job is None else job.arguments()
        )
        for entry in entries:
            touched += [keys.entry(entry.id), keys.history(entry.id)]
            arguments += [entry.id, entry.created_at_ms, entry.version, msgspec.json.encode(entry)]
        job_id = job.job_id if job else ""
        jobs = (keys.IMPORTS, keys.import_job(job_id), keys.import_entries(job_id))
        outcome = await scripts.WRITE.run(
            self._bus,
            (keys.FAQ, keys.FAQ_UNINDEXED, keys.FAQ_DELETED, *jobs, keys.FAQ_REVISION, *touched),
            self._bound,
            self._history_kept,
            *arguments,
        )
        if outcome == -1:
            raise Invalid(
                f"the FAQ holds at most {self._bound} entries",
                hint="delete some, or raise faq.entries_bound in the settings",
                reason="faq_full",
                facts={"bound": self._bound},
            )
        if outcome == 1:
            self._tell({entry.id: entry for entry in entries})
        return bool(outcome)

    async def revision(self) -> int:
        """Grows with every write, of whatever process."""
        return int(await self._bus.get(keys.FAQ_REVISION) or 0)

    async def count(self) -> int:
        return await self._bus.zcard(keys.FAQ)

    async def many(self, entry_ids: Sequence[str]) -> list[Entry]:
        """Those which exist, in the order given."""
        return [s.entry for s in await self.snapshots(entry_ids) if s.entry is not None]

    async def page(
        self,
        *,
        cursor: str | None = None,
        limit: int = 50,
        category: str = "",
        language: str = "",
        state: str = "",
    ) -> Page:
        """Entries from the oldest. A page does not shift when others are written or deleted."""
        position = _parse_cursor(cursor)
        items: list[Entry] = []
        size = BATCH_ENTRIES if category or language or state else limit + 1
        async for batch in self._batches(position, size):
            items += [
                entry
                for entry in batch
                if category in ("", entry.category)
                and language in ("", entry.language)
                and state in ("", entry.state)
            ]
            if len(items) > limit:
                last = items[limit - 1]
                return Page(
                    items=tuple(items[:limit]), cursor=str(_Position(last.created_at_ms, last.id))
                )
        return Page(items=tuple(items))

    def all(self) -> AsyncIterator[list[Entry]]:
        """Every entry from the oldest, in batches."""
        return self._batches(_START, BATCH_ENTRIES)

    async def labels(self) -> Labels:
        """The categories and languages of all entries, drafts too."""
        categories: set[str] = set()
        languages: set[str] = set()
        async for batch in self.all():
            categories.update(entry.category for entry in batch)
            languages.update(entry.language for entry in batch)
        return Labels(categories=tuple(sorted(categories)), languages=tuple(sorted(languages)))

    async def _batches(self, position: _Position, size: int) -> AsyncIterator[list[Entry]]:
        while True:
            flat: list[bytes] = await scripts.AFTER.run(
                self._bus, (keys.FAQ,), position.created_at_ms, position.entry_id, size
            )
            if not flat:
                return
            position = _Position(int(float(flat[-1])), flat[-2].decode())
            yield await self.many([raw.decode() for raw in flat[::2]])

    async def last_versions(self, entry_ids: Sequence[str]) -> dict[str, int]:
        """Of those which were deleted and are remembered: the number of their last version."""
        pipeline = self._bus.pipeline(transaction=False)
        for entry_id in entry_ids:
            pipeline.hget(keys.history(entry_id), "deleted")
        found: list[bytes | None] = await pipeline.execute()
        return {i: int(raw) for i, raw in zip(entry_ids, found, strict=True) if raw}

    # -- marks: which entries the index has to look at

    async def snapshots(self, entry_ids: Sequence[str]) -> list[Snapshot]:
        """The records as they are now, one per id."""
        known = [entry_id for entry_id in entry_ids if valid_id(entry_id)]
        bodies: dict[str, bytes] = {}
        if known:
            found: list[bytes] = await scripts.BODIES.run(self._bus, [*map(keys.entry, known)])
            bodies = dict(zip(known, found, strict=True))
        return [_snapshot(entry_id, bodies.get(entry_id, b"")) for entry_id in entry_ids]

    async def unindexed(self) -> list[str]:
        """Ids whose index rows are not known to be current."""
        return sorted(raw.decode() for raw in await self._bus.smembers(keys.FAQ_UNINDEXED))

    async def count_unindexed(self) -> int:
        return await self._bus.scard(keys.FAQ_UNINDEXED)

    async def are_indexed(self, entry_ids: Sequence[str]) -> bool:
        return not await scripts.MARKED.run(self._bus, (keys.FAQ_UNINDEXED,), *entry_ids)

    async def mark(self, entry_ids: Sequence[str]) -> None:
        """Has the index look at these entries again."""
        if entry_ids:
            await self._bus.sadd(keys.FAQ_UNINDEXED, *entry_ids)

    async def unmark(self, snapshots: Sequence[Snapshot]) -> None:
        """The index is current with these records; those changed since stay marked."""
        arguments: list[str] = []
        for snapshot in snapshots:
            sha1 = hashlib.sha1(snapshot.body, usedforsecurity=False).hexdigest()
            arguments += [snapshot.entry_id, sha1 if snapshot.body else ""]
        records = (keys.entry(snapshot.entry_id) for snapshot in snapshots)
        await scripts.UNMARK.run(self._bus, (keys.FAQ_UNINDEXED, *records), *arguments)

    def _tell(self, changed: Changed) -> None:
        for listen in self._listeners:
            listen(changed)

    async def _at_least(self, held: Entry) -> Entry:
        """The entry as it is now, or as it was when it is gone."""
        found = await self.many([held.id])
        return found[0] if found else held

    async def _forget_oldest(self) -> None:
        excess = await self._bus.zcard(keys.FAQ_DELETED) - self._deleted_kept
        if excess <= 0:
            return
        for raw in await self._bus.zrange(keys.FAQ_DELETED, 0, excess - 1):
            entry_id = raw.decode()
            await scripts.FORGET.run(
                self._bus,
                (
                    keys.FAQ_DELETED,
                    keys.entry(entry_id),
                    keys.history(entry_id),
                    keys.stats(entry_id),
                ),
                entry_id,
            )


def _entry(
    entry_id: str, put: EntryPut, *, version: int, created_at_ms: int, updated_at_ms: int, by: str
) -> Entry:
    return Entry(
        **msgspec.structs.asdict(put),
        id=entry_id,
        version=version,
        created_at_ms=created_at_ms,
        updated_at_ms=updated_at_ms,
        by=by,
    )


def _snapshot(entry_id: str, body: bytes) -> Snapshot:
    entry = msgspec.json.decode(body, type=Entry) if body else None
    return Snapshot(entry_id, entry, body)


def _parse_cursor(cursor: str | None) -> _Position:
    if not cursor:
        return _START
    created, _, entry_id = cursor.partition(".")
    if not (created.isascii() and created.isdigit() and len(created) < 16 and valid_id(entry_id)):
        raise Invalid(
            "the cursor is not one of ours",
            hint="start again without a cursor",
            reason="bad_cursor",
        )
    return _Position(int(created), entry_id)
