"""The past of FAQ entries: older versions, and deleted entries, both of which can come back.

Nothing is ever moved backwards: restoring writes a new version with an old text, so a restore is
an edit like any other, with its own place in the history, and can itself be undone.
"""

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.errors import Conflict, Invalid, NotFound
from appliance.knowledge.entries import (
    REPLACE_ATTEMPTS,
    Entries,
    VersionConflict,
    content,
    first_version,
    valid_id,
)
from appliance.knowledge.text import tidied
from appliance.schema.curation import DeletedEntry, Revision
from appliance.schema.faq import Entry


class History:
    """Reads what `Entries` leaves behind, and brings it back through `Entries`."""

    def __init__(self, bus: Bus, entries: Entries) -> None:
        self._bus = bus
        self._entries = entries

    async def of(self, entry_id: str) -> tuple[Revision, ...]:
        """The versions that are known, newest first. Raises NotFound when there are none."""
        live = await self._entries.many([entry_id])
        past = await self._past(entry_id)
        newest = [_revision(entry, current=True) for entry in live]
        older = [_revision(past[number], current=False) for number in sorted(past, reverse=True)]
        if not newest and not older:
            raise NotFound(
                f"no FAQ entry {entry_id}", hint="list them with GET /api/faq", reason="no_entry"
            )
        return (*newest, *(r for r in older if not live or r.version < live[0].version))

    async def deleted(self, skip: int, count: int) -> tuple[DeletedEntry, ...]:
        """Deleted entries as they were last, the last deleted first."""
        raws = await self._bus.zrevrange(keys.FAQ_DELETED, skip, skip + count - 1)
        last = await self._entries.last_versions([raw.decode() for raw in raws])
        if not last:
            return ()
        pipeline = self._bus.pipeline(transaction=False)
        for entry_id, version in last.items():
            pipeline.hget(keys.history(entry_id), str(version))
        bodies: list[bytes | None] = await pipeline.execute()
        dates = await self._bus.zmscore(keys.FAQ_DELETED, list(last))
        return tuple(
            DeletedEntry(
                **msgspec.structs.asdict(msgspec.json.decode(body, type=Entry)),
                deleted_at_ms=int(deleted_at_ms),
            )
            for body, deleted_at_ms in zip(bodies, dates, strict=True)
            if body is not None and deleted_at_ms is not None
        )

    async def restore(
        self, entry_id: str, version: int | None, *, expected: int | None = None, by: str = ""
    ) -> Entry:
        """Makes an old text the newest version; of a deleted entry the last when none is named.

        With `expected`, only of an entry that is still at this version, or was deleted at it.
        Raises NotFound, Invalid, VersionConflict, or Conflict while others write.
        """
        past = await self._past(entry_id)
        live = await self._entries.many([entry_id])
        if live and version is None:
            if expected not in (None, live[0].version):
                raise VersionConflict(live[0], None, expected or 0)
            raise Invalid(
                f"FAQ entry {entry_id} is not deleted",
                hint="name the `version` to go back to; GET its /history lists them",
                reason="entry_not_deleted",
            )
        wanted = past.get(version) if version is not None else _latest(past)
        if wanted is None and live and version == live[0].version:
            return live[0]
        if wanted is None:
            raise NotFound(
                f"version {version} of FAQ entry {entry_id} is not kept"
                if version is not None
                else f"no FAQ entry {entry_id}",
                hint="GET its /history lists what can come back",
                reason="no_version",
            )
        if live:
            return await self._entries.replace(entry_id, content(wanted), expected=expected, by=by)
        return await self._undelete(wanted, expected, by)

    async def _undelete(self, wanted: Entry, expected: int | None, by: str) -> Entry:
        for _ in range(REPLACE_ATTEMPTS):
            last = (await self._entries.last_versions([wanted.id])).get(wanted.id)
            if last is None:  # somebody else brought it back
                return await self._entries.replace(
                    wanted.id, content(wanted), expected=expected, by=by
                )
            if expected not in (None, last):
                newest = _latest(await self._past(wanted.id)) or wanted
                raise VersionConflict(newest, content(wanted), expected or 0)
            entry = first_version(
                tidied(content(wanted)),
                at_ms=wanted.created_at_ms,
                entry_id=wanted.id,
                version=last + 1,
                by=by,
            )
            entry = msgspec.structs.replace(entry, updated_at_ms=now_ms())
            if await self._entries.write([entry]):
                return entry
        raise Conflict(
            f"FAQ entry {wanted.id} is being written by others",
            hint="try again",
            reason="entry_busy",
        )

    async def _past(self, entry_id: str) -> dict[int, Entry]:
        """Older versions by number."""
        if not valid_id(entry_id):
            return {}
        fields = await self._bus.hgetall(keys.history(entry_id))
        return {
            int(name): msgspec.json.decode(body, type=Entry)
            for name, body in fields.items()
            if name != b"deleted"
        }


def _latest(past: dict[int, Entry]) -> Entry | None:
    return past[max(past)] if past else None


def _revision(entry: Entry, *, current: bool) -> Revision:
    return Revision(**msgspec.structs.asdict(entry), current=current)
