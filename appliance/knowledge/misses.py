"""Questions without a good answer, grouped by meaning: an inbox for whoever keeps the FAQ.

A question joins the nearest group that holds no opposite of it, for all phrasings of a group become
those of one entry. One object owns the groups: they are loaded once, changed in memory (`missed`
has the rules), and each change is stored under a growing revision, so a write that comes late
changes nothing. A question counts once per request. A dismissed group stays and takes in the like
of it silently; a promoted one has become an entry, an answered one was answered by a person, and
both open again when their questions are missed in spite of that. Past the bound the least wanted
leaves: first what is settled, then what was asked least and longest ago.
"""

import dataclasses
import logging
from dataclasses import dataclass

import msgspec
import numpy as np

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.errors import NotFound
from appliance.knowledge.clusters import Clusters, Vector, moved
from appliance.knowledge.missed import (
    Kept,
    Missed,
    forgotten,
    grown,
    new,
    parted,
    said_by,
    takes,
    with_sayers,
    worth,
)
from appliance.knowledge.retrieval import Embedded
from appliance.knowledge.text import canonical, tidied_line
from appliance.schema.curation import Miss, MissState
from appliance.schema.fields import MAX_QUESTION_CHARS

log = logging.getLogger(__name__)

# KEYS misses miss; ARGV id at_ms revision body vector stamp: stores what is newer
_STORE = Script("""
local held = tonumber(redis.call('HGET', KEYS[2], 'revision') or -1)
if held >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], 'revision', ARGV[3], 'body', ARGV[4], 'vector', ARGV[5],
  'stamp', ARGV[6])
return 1
""")


@dataclass
class _Group:
    kept: Kept
    vector: Vector
    stamp: str
    revision: int = 0


class Misses:
    """At most `kept` groups with at most `askers_kept` people each."""

    def __init__(self, bus: Bus, *, kept: int, askers_kept: int, least: float) -> None:
        self._bus = bus
        self._bound = kept
        self._askers_kept = askers_kept
        self._groups: dict[str, _Group] = {}
        self._by_text: dict[str, str] = {}
        self._clusters = Clusters(least)
        self._stamp = ""

    async def load(self) -> None:
        """Reads what is stored; before anything else."""
        for raw in await self._bus.zrange(keys.MISSES, 0, -1):
            fields = await self._bus.hgetall(keys.miss(raw.decode()))
            if fields:
                kept = with_sayers(msgspec.json.decode(fields[b"body"], type=Kept))
                vector = np.frombuffer(fields[b"vector"], dtype="<f4").astype(np.float32)
                stamp, revision = fields[b"stamp"].decode(), int(fields[b"revision"])
                self._groups[kept.miss.id] = _Group(kept, vector, stamp, revision)
        for group in list(self._groups.values()):
            await self._part(group)
            self._remember(group.kept.miss)

    async def take(self, missed: Missed) -> Miss:
        """Adds a question to the group it belongs to, or opens one."""
        question = tidied_line(missed.question[:MAX_QUESTION_CHARS])
        missed = dataclasses.replace(missed, question=question)
        group = self._group_of(missed)
        if group is None:
            group = _Group(new(missed), _vector(missed.embedded), missed.embedded.stamp)
            self._groups[group.kept.miss.id] = group
        elif missed.embedded.stamp and missed.embedded.stamp == group.stamp:
            count = group.kept.miss.count
            group.vector = moved(group.vector, missed.embedded.vector, count)
        elif missed.embedded.stamp:
            group.vector, group.stamp = _vector(missed.embedded), missed.embedded.stamp
        group.kept = grown(group.kept, missed, self._askers_kept)
        self._remember(group.kept.miss)
        self._place(group)
        await self._store(group)
        await self._keep_bound()
        return group.kept.miss

    def listed(self, state: MissState) -> list[Miss]:
        """The most asked first, then the latest."""
        found = [g.kept.miss for g in self._groups.values() if g.kept.miss.state == state]
        return sorted(found, key=lambda miss: (-miss.count, -miss.last_at_ms, miss.id))

    def find(self, miss_id: str) -> Miss:
        """Raises NotFound."""
        group = self._groups.get(miss_id)
        if group is None:
            raise NotFound(
                f"no miss {miss_id}", hint="list them with GET /api/faq/misses", reason="no_miss"
            )
        return group.kept.miss

    def untold(self) -> list[Miss]:
        """Those with an answer of which their askers do not know yet."""
        settled = (*self.listed("promoted"), *self.listed("answered"))
        return [miss for miss in settled if not miss.told]

    def asked(self, miss_id: str, uid: str) -> bool:
        """Whether the person is among those who asked it, and was not forgotten since."""
        group = self._groups.get(miss_id)
        return group is not None and any(a.uid == uid for a in group.kept.miss.askers)

    async def change(self, miss_id: str, **fields: object) -> Miss:
        """Sets fields of a miss. Raises NotFound."""
        miss = msgspec.structs.replace(self.find(miss_id), **fields)
        group = self._groups[miss_id]
        group.kept = msgspec.structs.replace(group.kept, miss=miss)
        await self._store(group)
        return miss

    async def forget_person(self, uid: str) -> None:
        """Nothing here names this person any more, and what nobody else has asked is gone; what
        others have asked too stays."""
        for group in list(self._groups.values()):
            left = forgotten(group.kept, uid)
            if left is None:
                await self._remove(group.kept.miss)
            elif left != group.kept:
                gone = {canonical(text) for text in group.kept.miss.phrasings}
                gone -= {canonical(text) for text in left.miss.phrasings}
                self._by_text = {t: i for t, i in self._by_text.items() if t not in gone}
                group.kept = left
                await self._store(group)

    def asked_by(self, uid: str) -> list[str]:
        """What is held here of a person: the questions."""
        found = (text for g in self._groups.values() for text in said_by(g.kept, uid))
        return list(dict.fromkeys(found))

    # -- groups

    def _group_of(self, missed: Missed) -> _Group | None:
        same = self._by_text.get(canonical(missed.question), "")
        if not same and missed.embedded.stamp:
            if missed.embedded.stamp != self._stamp:
                self._stamp = missed.embedded.stamp
                self._clusters.clear()
                for group in self._groups.values():
                    self._place(group)
            same = self._clusters.nearest(
                missed.embedded.vector,
                lambda name: takes(self._groups[name].kept, missed.question),
            )
        return self._groups.get(same)

    async def _part(self, group: _Group) -> None:
        """What an older version let in beside its opposite opens a group of its own, which is
        stored first; after a crash in between it is written again under the same id."""
        rest, *others = parted(group.kept)
        for kept in others:
            other = _Group(kept, np.zeros(0, dtype=np.float32), "")
            self._groups[kept.miss.id] = other
            self._remember(kept.miss)
            await self._store(other)
            group.kept = rest
            await self._store(group)

    def _place(self, group: _Group) -> None:
        """Only vectors of the model in use can be compared."""
        if group.stamp and group.stamp == self._stamp:
            self._clusters.put(group.kept.miss.id, group.vector)

    def _remember(self, miss: Miss) -> None:
        for phrasing in miss.phrasings:
            self._by_text.setdefault(canonical(phrasing), miss.id)

    async def _store(self, group: _Group) -> None:
        group.revision += 1
        miss = group.kept.miss
        await _STORE.run(
            self._bus,
            (keys.MISSES, keys.miss(miss.id)),
            miss.id,
            miss.last_at_ms,
            group.revision,
            msgspec.json.encode(group.kept),
            group.vector.astype("<f4").tobytes(),
            group.stamp,
        )

    async def _keep_bound(self) -> None:
        while len(self._groups) > self._bound:
            miss = min((g.kept.miss for g in self._groups.values()), key=worth)
            if any(asker.waits for asker in miss.askers) and not miss.told:
                log.warning("miss %s leaves, for which people wait: answer some", miss.id)
            await self._remove(miss)

    async def _remove(self, miss: Miss) -> None:
        del self._groups[miss.id]
        self._clusters.drop(miss.id)
        self._by_text = {t: i for t, i in self._by_text.items() if i != miss.id}
        await self._bus.delete(keys.miss(miss.id))
        await self._bus.zrem(keys.MISSES, miss.id)


def _vector(embedded: Embedded) -> Vector:
    return np.asarray(embedded.vector, dtype=np.float32)
