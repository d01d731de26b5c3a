"""The closest FAQ entries for a question: the index nominates, the record decides.

Vectors and words nominate rows apart, and `fusion` says which entries they speak for. A nominee
counts only if its entry is published and valid now and still holds the very phrasing the row was
made from; question and answer are taken from the record. So whatever the index has missed, nothing
deleted, drafted, expired or reworded is ever returned. A phrasing that equals the question
scores 1.

A search is good for a second use (`searched`) while nothing has changed that it rests on: the FAQ,
by its revision in the store, the rows of the index, the model, and what scores mean.

Retrieval never fails an answer: when the vectors or the embedding model are away, slow or behind,
words alone find what they can, and the result says so in `degraded`.
"""

import asyncio
import dataclasses
import datetime
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from appliance.errors import SluiceError
from appliance.knowledge.calibration import NOTHING_LEARNED
from appliance.knowledge.decision import CHOICES, decide, floor_for
from appliance.knowledge.entries import Entries
from appliance.knowledge.fusion import Candidate, Neighbourhood, Scored, Text
from appliance.knowledge.index import Index
from appliance.knowledge.metric import PLAIN, Metric
from appliance.knowledge.neighbours import Embedder, row_vectors
from appliance.knowledge.remembered import RememberedEntries
from appliance.knowledge.rows import PASSAGE, PlannedRow, planned_rows, question_key
from appliance.knowledge.text import canonical, tidied_line
from appliance.knowledge.validity import is_valid
from appliance.knowledge.words import is_spaced
from appliance.schema.answers import Match
from appliance.schema.events import Retrieved
from appliance.schema.faq import Calibration, Entry
from appliance.schema.fields import MAX_QUESTION_CHARS
from appliance.settings.faq import Faq
from appliance.vectors.rows import Nominee, entry_of

ROWS_PER_ENTRY = 8
"""Rows asked for per entry wanted: an entry has several phrasings, and all may be near."""
ROWS_MIN = 64
ROWS_MAX = 1_000
WORD_ROWS = 32
NEIGHBOURS = 128
"""Rows weighed together; entries further away than these follow in the order of similarity."""
EXACT_ROWS = 64
SAME_WORDS = 0.99
"""The score of a row with the very words that are asked is 1, but for rounding."""
START_PATIENCE_S = 5.0
"""Waited for the index in the first seconds after a start, see `Index.started`."""


@dataclass(frozen=True)
class Embedded:
    """A question's vector and the stamp of the model that made it, "" for none; `late` when it was
    waited for in vain, and is not waited for again."""

    stamp: str
    vector: Sequence[float]
    late: bool = False


NOT_EMBEDDED = Embedded("", ())
LATE = Embedded("", (), late=True)


@dataclass(frozen=True)
class Only:
    """Which entries may be found; "" is any category or language."""

    category: str = ""
    language: str = ""

    def admits(self, entry: Entry, at: datetime.datetime) -> bool:
        return (
            self.category in ("", entry.category)
            and self.language in ("", entry.language)
            and is_valid(entry, at)
        )


ANY = Only()


@dataclass(frozen=True)
class Supposed:
    """An entry as it would be found if it were published now; vectors by row key."""

    entry: Entry
    vectors: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Searched:
    """What a search has found, and the `weighed` that was decided on. `rests_on` is None when it
    may not be used a second time: part of retrieval was away, or an entry begins or ceases to be
    valid some day."""

    found: Retrieved
    rests_on: "_State | None"
    weighed: tuple[Match, ...] = ()


@dataclass(frozen=True)
class _State:
    """What a search rests on."""

    revision: int
    index: str
    stamp: str
    calibration: Calibration


@dataclass(frozen=True)
class _Found:
    """`timed` when a record that was looked at has a period of validity."""

    found: Retrieved
    timed: bool = False


@dataclass(frozen=True)
class _Nominated:
    """Vectors by row key, empty where there is none; `fault` names what is missing, and
    `reason` does so for programs."""

    vectors: Mapping[str, Sequence[float]]
    asked: Sequence[float]
    complete: bool
    fault: str = ""
    reason: str = ""


class Retrieval:
    """Searches the FAQ."""

    def __init__(
        self,
        entries: Entries,
        index: Index,
        embedder: Embedder,
        faq: Faq,
        *,
        calibration: Callable[[], Calibration] = lambda: NOTHING_LEARNED,
        metric: Callable[[], Metric] = lambda: PLAIN,
    ) -> None:
        self._entries = entries
        self._records = RememberedEntries(entries)
        self._index = index
        self._embedder = embedder
        self._faq = faq
        self._calibration = calibration
        self._metric = metric

    @property
    def calibration(self) -> Calibration:
        """What the scores mean now."""
        return self._calibration()

    @property
    def stamp(self) -> str:
        """Names the embedding model in use, "" while unknown."""
        return self._embedder.stamp

    async def embedded(self, question: str) -> Embedded:
        """The question's vector, empty when the embedding model does not answer."""
        text = tidied_line(question[:MAX_QUESTION_CHARS])
        if not text:
            return NOT_EMBEDDED
        try:
            with self._index.asked():
                async with asyncio.timeout(self._faq.retrieval_timeout_s):
                    (vector,) = await self._embedder.embed([text], kind="query")
        except TimeoutError:
            return LATE
        except SluiceError:
            return NOT_EMBEDDED
        return Embedded(self._embedder.stamp, vector)

    async def stored(self, of: Entry | Match) -> Embedded:
        """The vector of an entry's question as the index holds it, an empty one when it does
        not: that spares embedding it again."""
        pk, stamp = question_key(of), self._index.stamp
        if not stamp or stamp != self._embedder.stamp:
            return NOT_EMBEDDED
        try:
            vector = (await self._index.vectors_of([pk])).get(pk, ())
        except SluiceError:
            return NOT_EMBEDDED
        still = len(vector) and stamp == self._index.stamp
        return Embedded(stamp, vector) if still else NOT_EMBEDDED

    async def suppose(self, entry: Entry) -> Supposed:
        """An entry to search with as if it were published. Raises Unavailable without a model."""
        published = replace(entry, state="published")
        rows = list(planned_rows(published).values())
        vectors = await row_vectors(self._embedder, rows)
        return Supposed(
            published, {row.pk: vector for row, vector in zip(rows, vectors, strict=True)}
        )

    async def closest(
        self, question: str, embedded: Embedded | None = None, *, supposed: Supposed | None = None
    ) -> Retrieved:
        """What to do with the question (`decision`), and the entries to do it with.

        `embedded` spares embedding the question again.
        """
        return (await self.searched(question, embedded, supposed=supposed)).found

    async def searched(
        self,
        question: str,
        embedded: Embedded | None = None,
        *,
        before: Searched | None = None,
        supposed: Supposed | None = None,
    ) -> Searched:
        """Likewise; what was found `before` for this question stands while it may."""
        now = await self._state()
        if before is not None and before.rests_on == now:
            return before
        wanted = max(self._faq.matches, CHOICES)
        made = await self._found(
            question,
            limit=wanted,
            floor=-1.0,
            embedded=embedded or NOT_EMBEDDED,
            only=ANY,
            supposed=supposed,
        )
        decided = self.decided(question, made.found)
        final = not (made.found.degraded or made.timed or supposed)
        return Searched(decided, now if final else None, made.found.matches)

    async def _state(self) -> _State:
        revision = await self._entries.revision()
        return _State(revision, self._index.state, self._embedder.stamp, self.calibration)

    def decided(self, question: str, found: Retrieved) -> Retrieved:
        """The decision on what a search without a floor has found."""
        whole = self._index.is_whole
        made = decide(question, found.matches, self.calibration, self._faq, whole=whole)
        return replace(found, matches=made.matches, decision=made.kind)

    async def exact(self, question: str) -> Retrieved:
        """What needs neither a model nor vectors: entries with this very phrasing, and their
        decision; an empty one when there are none."""
        text = tidied_line(question[:MAX_QUESTION_CHARS])
        await self._index.lexical.loaded(self._faq.retrieval_timeout_s)
        hits = self._index.lexical.search(text, EXACT_ROWS) if text else []
        hits = [hit for hit in hits if hit.score >= SAME_WORDS]
        records = await self._records.many(list(dict.fromkeys(entry_of(hit.pk) for hit in hits)))
        nominated = _Nominated({hit.pk: () for hit in hits}, (), True)
        weighed = self._weighed(text, nominated, records, ANY) if hits else []
        found = Retrieved(matches=tuple(match for match in weighed if match.score == 1.0))
        return self.decided(question, found) if found.matches else found

    async def search(
        self,
        question: str,
        *,
        limit: int | None = None,
        floor: float | None = None,
        embedded: Embedded | None = None,
        only: Only = ANY,
    ) -> Retrieved:
        """At most `limit` entries as similar as `floor` or more, best first; settings fill both,
        but for the floor of what was found by words alone."""
        made = await self._found(
            question,
            limit=self._faq.matches if limit is None else limit,
            floor=floor,
            embedded=embedded or NOT_EMBEDDED,
            only=only,
        )
        return made.found

    async def _found(
        self,
        question: str,
        *,
        limit: int,
        floor: float | None,
        embedded: Embedded,
        only: Only,
        supposed: Supposed | None = None,
    ) -> _Found:
        text = tidied_line(question[:MAX_QUESTION_CHARS])
        if not text:
            return _Found(Retrieved(matches=()))
        await self._index.started(min(START_PATIENCE_S, self._faq.retrieval_timeout_s))
        with self._index.asked():
            made = await self._search(text, limit, embedded, only, supposed)
        matches = tuple(
            match
            for match in made.found.matches[:limit]
            if match.similarity
            >= (floor_for(text, match, self._faq.floor) if floor is None else floor)
        )
        return _Found(replace(made.found, matches=matches), made.timed)

    async def _search(
        self, text: str, limit: int, embedded: Embedded, only: Only, supposed: Supposed | None
    ) -> _Found:
        """Asks for more rows until enough entries are found or there are no more rows."""
        rows = min(max(limit * ROWS_PER_ENTRY, ROWS_MIN), ROWS_MAX)
        while True:
            nominated = await self._nominated(text, rows, embedded, only)
            ids = list(dict.fromkeys(entry_of(pk) for pk in nominated.vectors))
            records = await self._records.many(ids)
            if supposed is not None:
                nominated = _joined(nominated, supposed)
                records = [one for one in records if one.id != supposed.entry.id]
                records.append(supposed.entry)
            matches = self._weighed(text, nominated, records, only)
            if len(matches) >= limit or nominated.complete or rows >= ROWS_MAX:
                degraded, reason = nominated.fault, nominated.reason
                if not degraded:
                    degraded, reason = self._index.degraded, self._index.degraded_reason
                timed = any(record.valid_from or record.valid_until for record in records)
                found = Retrieved(matches=tuple(matches), degraded=degraded, degraded_reason=reason)
                return _Found(found, timed)
            embedded = Embedded(self._embedder.stamp, nominated.asked)
            rows = min(rows * 4, ROWS_MAX)

    async def _nominated(self, text: str, rows: int, embedded: Embedded, only: Only) -> _Nominated:
        """Rows near in meaning and rows that share words, with their vectors. First come those
        whose vectors are still to be made: whatever is near, they are weighed."""
        asked = embedded.vector
        waited_s = self._faq.retrieval_timeout_s
        try:
            if embedded.late:
                raise TimeoutError
            async with asyncio.timeout(waited_s):
                if not embedded.stamp or embedded.stamp != self._embedder.stamp:
                    (asked,) = await self._embedder.embed([text], kind="query")
                near, by_words = await self._near(asked, text, rows, only)
                vectors = {nominee.pk: nominee.vector for nominee in near}
                vectors |= await self._index.vectors_of(
                    [pk for pk in by_words if pk not in vectors]
                )
        except TimeoutError:  # nor is it waited for again with more rows
            fault = f"the FAQ search took longer than {waited_s:g} s"
            vectors = dict.fromkeys(self._by_words(text, rows), ())
            return _Nominated(vectors, (), True, fault, "index_slow")
        except SluiceError as error:
            by_words = self._by_words(text, rows)
            vectors = dict.fromkeys(by_words, ())
            complete = len(by_words) < rows // 4
            return _Nominated(vectors, (), complete, error.message, error.reason)
        unmade = [pk for pk in by_words if pk not in vectors][:WORD_ROWS]
        return _Nominated(dict.fromkeys(unmade, ()) | vectors, asked, len(near) < rows)

    async def _near(
        self, asked: Sequence[float], text: str, rows: int, only: Only
    ) -> tuple[Sequence[Nominee], list[str]]:
        """Rows near in meaning, and rows by words, which are looked for while the index works."""
        nominating = asyncio.create_task(
            self._index.nominate(
                asked, rows, category=only.category or None, language=only.language or None
            )
        )
        try:
            await asyncio.sleep(0)  # it is asked now
            by_words = self._by_words(text, rows)
            return await nominating, by_words
        finally:
            nominating.cancel()

    def _by_words(self, text: str, rows: int) -> list[str]:
        return [hit.pk for hit in self._index.lexical.search(text, max(WORD_ROWS, rows // 4))]

    def _weighed(
        self, text: str, nominated: _Nominated, records: Sequence[Entry], only: Only
    ) -> list[Match]:
        """One match per entry that its record confirms, best first."""
        now = datetime.datetime.now(tz=datetime.UTC)
        held = {entry.id: entry for entry in records if only.admits(entry, now)}
        confirmed = _confirmed(nominated.vectors, held)
        near = Neighbourhood(
            self._text(text, nominated.asked),
            [
                Candidate(pk, row.entry_id, self._text(row.text, nominated.vectors[pk]))
                for pk, row in itertools.islice(confirmed.items(), NEIGHBOURS)
            ],
            self._metric(),
        )
        scored = near.scored(self.calibration.lexical)
        scored += _far([*confirmed][NEIGHBOURS:], scored, nominated)
        asked = canonical(text)
        alike = {
            row.entry_id
            for row in confirmed.values()
            if row.kind != PASSAGE and canonical(row.text) == asked
        }
        matches = [
            _match(
                held[one.entry_id],
                confirmed[one.pk],
                one,
                asked=asked if one.entry_id in alike else "",
                by_words=not len(nominated.vectors[one.pk]),
            )
            for one in scored
        ]
        return sorted(matches, key=lambda match: -match.score)

    def _text(self, text: str, vector: Sequence[float]) -> Text:
        return Text(
            np.asarray(vector, dtype=np.float32), self._index.lexical.words(text), is_spaced(text)
        )


def _confirmed(pks: Iterable[str], held: Mapping[str, Entry]) -> dict[str, PlannedRow]:
    """Those rows which the records still have, in the same order."""
    rows = {entry_id: planned_rows(entry) for entry_id, entry in held.items()}
    found = ((pk, rows.get(entry_of(pk), {}).get(pk)) for pk in pks)
    return {pk: row for pk, row in found if row is not None}


def _joined(nominated: _Nominated, supposed: Supposed) -> _Nominated:
    """With those rows of a supposed entry that the index would have nominated as well."""

    def nearness(vector: Sequence[float]) -> float:
        return _similarity(vector, nominated.asked, otherwise=-1.0)

    near = [nearness(one) for one in nominated.vectors.values()]
    least = -2.0 if nominated.complete or not near else min(near)
    joining = {pk: one for pk, one in supposed.vectors.items() if nearness(one) >= least}
    rows = {**nominated.vectors, **joining}
    ranked = sorted(rows, key=lambda pk: -nearness(rows[pk]) if len(rows[pk]) else -2.0)
    return dataclasses.replace(nominated, vectors={pk: rows[pk] for pk in ranked})


def _similarity(
    vector: Sequence[float], asked: Sequence[float], *, otherwise: float = 0.0
) -> float:
    """Of two vectors of length 1; `otherwise` where one is missing."""
    if len(vector) != len(asked):
        return otherwise
    return float(np.asarray(vector, dtype=np.float32) @ np.asarray(asked, dtype=np.float32))


def _far(pks: Sequence[str], near: Sequence[Scored], nominated: _Nominated) -> list[Scored]:
    """Entries that only rows beyond the neighbourhood speak for: no score, only a similarity."""
    seen = {one.entry_id for one in near}
    found: list[Scored] = []
    for pk in pks:
        if entry_of(pk) in seen:
            continue
        seen.add(entry_of(pk))
        similarity = _similarity(nominated.vectors[pk], nominated.asked)
        found.append(Scored(entry_of(pk), 0.0, similarity, pk))
    return found


def _match(entry: Entry, row: PlannedRow, scored: Scored, *, asked: str, by_words: bool) -> Match:
    phrasings = (entry.question, *entry.phrasings) if asked else ()
    exact = next((one for one in phrasings if canonical(one) == asked), "")
    return Match(
        id=entry.id,
        question=entry.question,
        phrasing=exact or row.phrasing,
        answer=entry.answer,
        category=entry.category,
        language=entry.language,
        score=1.0 if exact else min(scored.score, 0.999),
        similarity=1.0 if exact else scored.similarity,
        by_words=by_words,
    )
