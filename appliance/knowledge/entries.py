"""The truth about the FAQ: one hash per entry in Valkey.

Every write is one script that stores the record, lists it, and marks its id in `faq:unindexed`.
The mark means "the index rows of this entry are not known to be current" and goes away only when
the index has caught up with exactly the record that is stored now. A crash between truth and
index therefore loses nothing: the mark is still there at the next start.

A record is written against the version that was read; a writer that lost a race reads again. A
command resent after a lost connection finds its own record and changes nothing.
"""

import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import Conflict, Invalid, NotFound
from appliance.knowledge.text import tidied
from appliance.schema import ID_PATTERN, Entry, EntryPut, Page

BATCH_ENTRIES = 500
REPLACE_ATTEMPTS = 8

# KEYS faq unindexed entry...; ARGV bound, then per entry: id created_ms version body
# 1 when all were stored, 0 when another writer was faster, -1 past the bound. All or none.
_WRITE = """
local created = 0
for i = 3, #KEYS do
  local at = 4 * (i - 3) + 2
  local held = redis.call('HMGET', KEYS[i], 'version', 'body')
  local version = tonumber(held[1] or 0)
  if held[2] ~= ARGV[at + 3] and version ~= tonumber(ARGV[at + 2]) - 1 then return 0 end
  if version == 0 then created = created + 1 end
end
if created > 0 and redis.call('ZCARD', KEYS[1]) + created > tonumber(ARGV[1]) then return -1 end
for i = 3, #KEYS do
  local at = 4 * (i - 3) + 2
  redis.call('HSET', KEYS[i], 'version', ARGV[at + 2], 'body', ARGV[at + 3])
  redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at])
  redis.call('SADD', KEYS[2], ARGV[at])
end
return 1
"""

# KEYS faq unindexed entry; ARGV id
_DELETE = """
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('SADD', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[3])
"""

# KEYS faq; ARGV created_ms id count: ids with their times after that position, in order.
# An entry deleted since is put in its old place for a moment: only the zset knows its order.
_AFTER = """
local held = redis.call('ZSCORE', KEYS[1], ARGV[2])
local start = 0
if held and tonumber(held) == tonumber(ARGV[1]) then
  start = redis.call('ZRANK', KEYS[1], ARGV[2]) + 1
elseif ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
  start = redis.call('ZRANK', KEYS[1], ARGV[2])
  if held then redis.call('ZADD', KEYS[1], held, ARGV[2])
  else redis.call('ZREM', KEYS[1], ARGV[2]) end
end
return redis.call('ZRANGE', KEYS[1], start, start + ARGV[3] - 1, 'WITHSCORES')
"""

# KEYS unindexed entry...; ARGV per entry: id sha1_of_body ('' for none)
_UNMARK = """
for i = 2, #KEYS do
  local body = redis.call('HGET', KEYS[i], 'body')
  local sha1 = body and redis.sha1hex(body) or ''
  if sha1 == ARGV[2 * i - 2] then redis.call('SREM', KEYS[1], ARGV[2 * i - 3]) end
end
return 1
"""

# KEYS unindexed; ARGV id...: how many of them are marked
_MARKED = """
local marked = 0
for _, id in ipairs(ARGV) do marked = marked + redis.call('SISMEMBER', KEYS[1], id) end
return marked
"""

_RESERVED = keys.FAQ_UNINDEXED.removeprefix(keys.entry(""))
_ID = re.compile(ID_PATTERN)


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
    return entry_id != _RESERVED and _ID.fullmatch(entry_id) is not None


def content(entry: Entry) -> EntryPut:
    """What a person wrote of an entry."""
    return EntryPut(
        question=entry.question,
        answer=entry.answer,
        phrasings=entry.phrasings,
        category=entry.category,
        language=entry.language,
        state=entry.state,
        valid_from=entry.valid_from,
        valid_until=entry.valid_until,
    )


def revised(entry: Entry, put: EntryPut, *, at_ms: int) -> Entry:
    """The next version of an entry; `put` must be tidied."""
    return _entry(
        entry.id,
        put,
        version=entry.version + 1,
        created_at_ms=entry.created_at_ms,
        updated_at_ms=max(at_ms, entry.created_at_ms),
    )


def first_version(put: EntryPut, *, at_ms: int, entry_id: str = "") -> Entry:
    """A new entry; `put` must be tidied."""
    return _entry(
        entry_id or keys.new_entry_id(), put, version=1, created_at_ms=at_ms, updated_at_ms=at_ms
    )


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Entries:
    """Reads and writes FAQ entries; nothing here knows the index."""

    def __init__(self, bus: Bus, bound: int) -> None:
        self._bus = bus
        self._bound = bound
        self._changed: Callable[[Sequence[str]], None] = lambda entry_ids: None

    @property
    def bound(self) -> int:
        return self._bound

    def on_change(self, listen: Callable[[Sequence[str]], None]) -> None:
        """Who is told the ids after each write of this process."""
        self._changed = listen

    async def create(self, put: EntryPut) -> Entry:
        """Raises Invalid for an empty text, or when the FAQ is full."""
        entry = first_version(tidied(put), at_ms=now_ms())
        if not await self.write([entry]):
            raise Conflict("the entry was written by somebody else", hint="try again")
        return entry

    async def read(self, entry_id: str) -> Entry:
        found = await self.many([entry_id])
        if not found:
            raise NotFound(f"no FAQ entry {entry_id}", hint="list them with GET /api/faq")
        return found[0]

    async def replace(self, entry_id: str, put: EntryPut) -> Entry:
        """The last writer wins. Raises NotFound, Invalid, or Conflict while many write at once."""
        put = tidied(put)
        for _ in range(REPLACE_ATTEMPTS):
            entry = revised(await self.read(entry_id), put, at_ms=now_ms())
            if await self.write([entry]):
                return entry
        raise Conflict(f"FAQ entry {entry_id} is being written by others", hint="try again")

    async def delete(self, entry_id: str) -> None:
        await self.read(entry_id)
        await self._bus.eval(
            _DELETE, 3, keys.FAQ, keys.FAQ_UNINDEXED, keys.entry(entry_id), entry_id
        )
        self._changed([entry_id])

    async def write(self, entries: Sequence[Entry]) -> bool:
        """Stores all of them or none; False when one is no longer at the version before.

        Raises Invalid when they would pass the bound.
        """
        arguments: list[str | bytes | int] = [self._bound]
        for entry in entries:
            arguments += [entry.id, entry.created_at_ms, entry.version, msgspec.json.encode(entry)]
        outcome = await self._bus.eval(
            _WRITE,
            len(entries) + 2,
            keys.FAQ,
            keys.FAQ_UNINDEXED,
            *(keys.entry(entry.id) for entry in entries),
            *arguments,
        )
        if outcome == -1:
            raise Invalid(
                f"the FAQ holds at most {self._bound} entries",
                hint="delete some, or raise faq.entries_bound in the settings",
            )
        if outcome == 1:
            self._changed([entry.id for entry in entries])
        return bool(outcome)

    async def count(self) -> int:
        return await self._bus.zcard(keys.FAQ)

    async def many(self, entry_ids: Sequence[str]) -> list[Entry]:
        """Those which exist, in the order given."""
        return [s.entry for s in await self.snapshots(entry_ids) if s.entry is not None]

    async def page(
        self, *, cursor: str | None = None, limit: int = 50, category: str = "", language: str = ""
    ) -> Page:
        """Entries from the oldest. A page does not shift when others are written or deleted."""
        position = _parse_cursor(cursor)
        items: list[Entry] = []
        size = BATCH_ENTRIES if category or language else limit + 1
        async for batch in self._batches(position, size):
            items += [
                entry
                for entry in batch
                if category in ("", entry.category) and language in ("", entry.language)
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

    async def _batches(self, position: _Position, size: int) -> AsyncIterator[list[Entry]]:
        while True:
            flat: list[bytes] = await self._bus.eval(
                _AFTER, 1, keys.FAQ, position.created_at_ms, position.entry_id, size
            )
            if not flat:
                return
            position = _Position(int(float(flat[-1])), flat[-2].decode())
            yield await self.many([raw.decode() for raw in flat[::2]])

    # -- marks: which entries the index has to look at

    async def snapshots(self, entry_ids: Sequence[str]) -> list[Snapshot]:
        """The records as they are now, one per id."""
        pipeline = self._bus.pipeline(transaction=False)
        known = [entry_id for entry_id in entry_ids if valid_id(entry_id)]
        for entry_id in known:
            pipeline.hget(keys.entry(entry_id), "body")
        found: list[bytes | None] = await pipeline.execute()
        bodies = dict(zip(known, found, strict=True))
        return [_snapshot(entry_id, bodies.get(entry_id) or b"") for entry_id in entry_ids]

    async def unindexed(self) -> list[str]:
        """Ids whose index rows are not known to be current."""
        return sorted(raw.decode() for raw in await self._bus.smembers(keys.FAQ_UNINDEXED))

    async def count_unindexed(self) -> int:
        return await self._bus.scard(keys.FAQ_UNINDEXED)

    async def are_indexed(self, entry_ids: Sequence[str]) -> bool:
        return not await self._bus.eval(_MARKED, 1, keys.FAQ_UNINDEXED, *entry_ids)

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
        await self._bus.eval(
            _UNMARK,
            len(snapshots) + 1,
            keys.FAQ_UNINDEXED,
            *(keys.entry(snapshot.entry_id) for snapshot in snapshots),
            *arguments,
        )


def _entry(
    entry_id: str, put: EntryPut, *, version: int, created_at_ms: int, updated_at_ms: int
) -> Entry:
    return Entry(
        id=entry_id,
        question=put.question,
        answer=put.answer,
        phrasings=put.phrasings,
        category=put.category,
        language=put.language,
        state=put.state,
        version=version,
        created_at_ms=created_at_ms,
        updated_at_ms=updated_at_ms,
        valid_from=put.valid_from,
        valid_until=put.valid_until,
    )


def _snapshot(entry_id: str, body: bytes) -> Snapshot:
    entry = msgspec.json.decode(body, type=Entry) if body else None
    return Snapshot(entry_id, entry, body)


def _parse_cursor(cursor: str | None) -> _Position:
    if not cursor:
        return _START
    created, _, entry_id = cursor.partition(".")
    if not (created.isascii() and created.isdigit() and len(created) < 16 and valid_id(entry_id)):
        raise Invalid("the cursor is not one of ours", hint="start again without a cursor")
    return _Position(int(created), entry_id)
