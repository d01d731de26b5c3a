"""Questions without a good answer, grouped by meaning: an inbox for whoever keeps the FAQ.

A question joins the nearest group that holds no opposite of it, for all phrasings of a group become
those of one entry.
One object owns the groups: they are loaded once, changed in memory, and each change is stored
under a growing revision, so a write that comes late changes nothing. A question counts once per
request. A dismissed group stays and takes in the like of it silently; a promoted one has become an
entry, an answered one was answered by a person, and both open again when their questions are missed
in spite of that. Past the bound the least
wanted leaves: first what is settled, then what was asked least and longest ago.
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.errors import NotFound
from appliance.knowledge.clusters import Clusters, Vector, moved
from appliance.knowledge.opposites import are_opposite
from appliance.knowledge.retrieval import Embedded
from appliance.knowledge.text import canonical, tidied_line
from appliance.schema.curation import Asker, Miss, MissReason, MissState
from appliance.schema.fields import MAX_QUESTION_CHARS

log = logging.getLogger(__name__)

PHRASINGS_KEPT = 32
REQUESTS_KEPT = 64

# KEYS misses miss; ARGV id at_ms revision body vector stamp: stores what is newer
_STORE = Script("""
local held = tonumber(redis.call('HGET', KEYS[2], 'revision') or -1)
if held >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('HSET', KEYS[2], 'revision', ARGV[3], 'body', ARGV[4], 'vector', ARGV[5],
  'stamp', ARGV[6])
return 1
""")


class Kept(msgspec.Struct, frozen=True):
    """`body` of a miss: what is shown, and the requests that were counted last."""

    miss: Miss
    requests: tuple[str, ...] = ()


@dataclass(frozen=True)
class Missed:
    """A question to take in. `uid` is empty for nobody who could be told; `waits` for who is to
    hear that a person has been asked."""

    request_id: str
    uid: str
    question: str
    reason: MissReason
    at_ms: int
    embedded: Embedded
    session_id: str = ""
    waits: bool = False


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
                kept = msgspec.json.decode(fields[b"body"], type=Kept)
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
            group = _Group(Kept(_new(missed)), _vector(missed.embedded), missed.embedded.stamp)
            self._groups[group.kept.miss.id] = group
        elif missed.embedded.stamp and missed.embedded.stamp == group.stamp:
            count = group.kept.miss.count
            group.vector = moved(group.vector, missed.embedded.vector, count)
        elif missed.embedded.stamp:
            group.vector, group.stamp = _vector(missed.embedded), missed.embedded.stamp
        group.kept = _grown(group.kept, missed, self._askers_kept)
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
            raise NotFound(f"no miss {miss_id}", hint="list them with GET /api/faq/misses")
        return group.kept.miss

    def untold(self) -> list[Miss]:
        """Those with an answer of which their askers do not know yet."""
        settled = (*self.listed("promoted"), *self.listed("answered"))
        return [miss for miss in settled if not miss.told]

    async def change(self, miss_id: str, **fields: object) -> Miss:
        """Sets fields of a miss. Raises NotFound."""
        miss = msgspec.structs.replace(self.find(miss_id), **fields)
        group = self._groups[miss_id]
        group.kept = Kept(miss, group.kept.requests)
        await self._store(group)
        return miss

    async def forget_person(self, uid: str) -> None:
        """Nothing here names this person any more; what was asked stays without a name."""
        for miss_id, group in list(self._groups.items()):
            left = tuple(asker for asker in group.kept.miss.askers if asker.uid != uid)
            if len(left) < len(group.kept.miss.askers):
                await self.change(miss_id, askers=left)

    def asked_by(self, uid: str) -> list[str]:
        """What is held here of a person: the questions."""
        askers = (a for g in self._groups.values() for a in g.kept.miss.askers)
        return [asker.question for asker in askers if asker.uid == uid]

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
                lambda name: not _opposed(missed.question, self._groups[name].kept.miss.phrasings),
            )
        return self._groups.get(same)

    async def _part(self, group: _Group) -> None:
        """What an older version let in beside its opposite opens a group of its own, which is
        stored first; after a crash in between it is written again under the same id."""
        miss = group.kept.miss
        others = _parted(miss)
        if miss.state != "open" or others is None:
            return
        self._groups[others.id] = _Group(Kept(others), np.zeros(0, dtype=np.float32), "")
        await self._store(self._groups[others.id])
        self._remember(others)
        texts = {canonical(text) for text in others.phrasings}
        rest = msgspec.structs.replace(
            miss,
            phrasings=tuple(text for text in miss.phrasings if canonical(text) not in texts),
            askers=tuple(asker for asker in miss.askers if asker not in others.askers),
            count=max(miss.count - others.count, 1),
        )
        group.kept = Kept(rest, group.kept.requests)
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
            miss = min((g.kept.miss for g in self._groups.values()), key=_worth)
            if any(asker.waits for asker in miss.askers) and not miss.told:
                log.warning("miss %s leaves, for which people wait: answer some", miss.id)
            del self._groups[miss.id]
            self._clusters.drop(miss.id)
            self._by_text = {t: i for t, i in self._by_text.items() if i != miss.id}
            await self._bus.zrem(keys.MISSES, miss.id)
            await self._bus.delete(keys.miss(miss.id))


def _worth(miss: Miss) -> tuple[int, int, int]:
    """The least leaves first: what is settled, what nobody was promised an answer to, what was
    asked least, what was asked long ago."""
    unsettled = miss.state == "open" or (_has_answer(miss) and not miss.told)
    promised = unsettled and any(asker.waits for asker in miss.askers)
    return (unsettled + promised, miss.count, miss.last_at_ms)


def _has_answer(miss: Miss) -> bool:
    return miss.state in ("promoted", "answered")


def _parted(miss: Miss) -> Miss | None:
    """A group of what is the opposite of this one's question, None where nothing is."""
    opposed = tuple(text for text in miss.phrasings if are_opposite(miss.question, text))
    if not opposed:
        return None
    return msgspec.structs.replace(
        miss,
        id=f"{miss.id}-o",
        question=opposed[0],
        phrasings=opposed,
        askers=tuple(a for a in miss.askers if are_opposite(miss.question, a.question)),
        count=len(opposed),
        reasons={"no_match": len(opposed)},
    )


def _opposed(question: str, phrasings: Sequence[str]) -> bool:
    return any(are_opposite(question, phrasing) for phrasing in phrasings)


def _vector(embedded: Embedded) -> Vector:
    return np.asarray(embedded.vector, dtype=np.float32)


def _new(missed: Missed) -> Miss:
    return Miss(
        id=keys.new_miss_id(),
        question=missed.question,
        phrasings=(),
        askers=(),
        count=0,
        reasons={},
        first_at_ms=missed.at_ms,
        last_at_ms=missed.at_ms,
    )


def _grown(kept: Kept, missed: Missed, askers_kept: int) -> Kept:
    """The group with one question more; a request that was counted only adds its reason."""
    miss, mark = kept.miss, f"{missed.request_id} {missed.reason}"
    if mark in kept.requests:
        return kept
    counted = any(known.partition(" ")[0] == missed.request_id for known in kept.requests)
    reopened = _has_answer(miss) and miss.told
    askers = () if reopened else miss.askers  # those have their answer
    if miss.state == "dismissed":
        missed = dataclasses.replace(missed, waits=False)
    grown = msgspec.structs.replace(
        miss,
        phrasings=_with_phrasing(miss.phrasings, missed.question),
        askers=_with_asker(askers, missed, askers_kept),
        count=miss.count + (not counted),
        reasons=miss.reasons | {missed.reason: miss.reasons.get(missed.reason, 0) + 1},
        last_at_ms=max(miss.last_at_ms, missed.at_ms),
        state="open" if reopened else miss.state,
        told=miss.told and not reopened,
    )
    return Kept(grown, (*kept.requests, mark)[-REQUESTS_KEPT:])


def _with_phrasing(phrasings: Sequence[str], question: str) -> tuple[str, ...]:
    known = {canonical(phrasing) for phrasing in phrasings}
    if canonical(question) in known or len(phrasings) >= PHRASINGS_KEPT:
        return tuple(phrasings)
    return (*phrasings, question)


def _with_asker(askers: Sequence[Asker], missed: Missed, kept: int) -> tuple[Asker, ...]:
    """Past the bound the longest known leave, but nobody who waits."""
    known = next((asker for asker in askers if asker.uid == missed.uid), None)
    if not missed.uid or (known and (known.waits or not missed.waits)):
        return tuple(askers)
    new = Asker(
        uid=missed.uid,
        question=missed.question,
        waits=missed.waits,
        session_id=missed.session_id,
        request_id=missed.request_id,
    )
    joined = [asker for asker in askers if asker is not known] + [new]
    free = [asker for asker in joined if not asker.waits][: max(len(joined) - kept, 0)]
    return tuple(asker for asker in joined if asker not in free)[:kept]
