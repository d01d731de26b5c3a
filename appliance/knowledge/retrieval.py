"""The closest FAQ entries for a question: the index nominates, the record decides.

A nominee counts only if its entry is published now and still holds the very phrasing the row was
made from; question and answer are taken from the record. So whatever the index has missed, nothing
deleted, drafted or reworded is ever returned. A phrasing that equals the question scores 1.

Retrieval never fails an answer: when the index or the embedding model is away, slow or behind,
the result says so in `degraded`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import SluiceError
from appliance.knowledge.entries import Entries
from appliance.knowledge.index import Index
from appliance.knowledge.neighbours import Embedder
from appliance.knowledge.rows import entry_of, planned_rows
from appliance.knowledge.text import canonical, tidied_line
from appliance.schema import MAX_QUESTION_CHARS, Entry, Match, Retrieved
from appliance.settings import Faq
from appliance.vectors.rows import Nominee

ROWS_PER_ENTRY = 8
"""Rows asked for per entry wanted: an entry has several phrasings, and all may be near."""
ROWS_MAX = 1_000
NEAR_BEST = 0.8
"""Share of the best score below which an entry is kept from the model: small models mix entries
up, a 36-month warranty with a 12-month one."""


@dataclass(frozen=True)
class Embedded:
    """A question's vector and the stamp of the model that made it, "" for none."""

    stamp: str
    vector: Sequence[float]


NOT_EMBEDDED = Embedded("", ())


class Retrieval:
    """Searches the FAQ."""

    def __init__(self, entries: Entries, index: Index, embedder: Embedder, faq: Faq) -> None:
        self._entries = entries
        self._index = index
        self._embedder = embedder
        self._faq = faq

    async def embedded(self, question: str) -> Embedded:
        """The question's vector, empty when the embedding model does not answer."""
        text = tidied_line(question[:MAX_QUESTION_CHARS])
        if not text:
            return NOT_EMBEDDED
        try:
            async with asyncio.timeout(self._faq.retrieval_timeout_s):
                (vector,) = await self._embedder.embed([text], kind="query")
        except (TimeoutError, SluiceError):
            return NOT_EMBEDDED
        return Embedded(self._embedder.stamp, vector)

    async def closest(self, question: str, embedded: Embedded | None = None) -> Retrieved:
        """What an answer is made from: without entries far behind the best, which mislead.

        `embedded` spares embedding the question again.
        """
        found = await self.search(question, embedded=embedded)
        if not found.matches:
            return found
        least = NEAR_BEST * found.matches[0].score
        kept = tuple(match for match in found.matches if match.score >= least)
        return Retrieved(matches=kept, degraded=found.degraded)

    async def search(
        self,
        question: str,
        *,
        limit: int | None = None,
        floor: float | None = None,
        embedded: Embedded | None = None,
    ) -> Retrieved:
        """At most `limit` entries of at least score `floor`, best first; settings fill both."""
        text = tidied_line(question[:MAX_QUESTION_CHARS])
        if not text:
            return Retrieved(matches=())
        limit = self._faq.matches if limit is None else limit
        floor = self._faq.floor if floor is None else floor
        try:
            async with asyncio.timeout(self._faq.retrieval_timeout_s):
                found = await self._search(text, limit, embedded or NOT_EMBEDDED)
        except TimeoutError:
            waited_s = self._faq.retrieval_timeout_s
            return Retrieved(matches=(), degraded=f"the FAQ search took longer than {waited_s:g} s")
        except SluiceError as error:
            return Retrieved(matches=(), degraded=error.message)
        matches = tuple(match for match in found[:limit] if match.score >= floor)
        return Retrieved(matches=matches, degraded=self._index.degraded)

    async def _search(self, text: str, limit: int, embedded: Embedded) -> list[Match]:
        """Asks for more rows until enough entries are found or there are no more rows."""
        vector = embedded.vector
        if not embedded.stamp or embedded.stamp != self._embedder.stamp:
            (vector,) = await self._embedder.embed([text], kind="query")
        rows = min(limit * ROWS_PER_ENTRY, ROWS_MAX)
        while True:
            nominees = await self._index.nominate(vector, rows)
            ids = list(dict.fromkeys(entry_of(nominee.pk) for nominee in nominees))
            matches = _decide(text, nominees, await self._entries.many(ids))
            if len(matches) >= limit or len(nominees) < rows or rows >= ROWS_MAX:
                return matches
            rows = min(rows * 4, ROWS_MAX)


def _decide(text: str, nominees: Sequence[Nominee], records: Sequence[Entry]) -> list[Match]:
    """One match per entry that its record confirms, by its best phrasing."""
    asked = canonical(text)
    scores = {nominee.pk: min(nominee.score, 1.0) for nominee in nominees}
    matches: list[Match] = []
    for entry in records:
        confirmed = [row for row in planned_rows(entry).values() if row.pk in scores]
        if not confirmed:
            continue
        exact = next((p for p in (entry.question, *entry.phrasings) if canonical(p) == asked), "")
        best = max(confirmed, key=lambda row: scores[row.pk])
        matches.append(_match(entry, exact or best.phrasing, 1.0 if exact else scores[best.pk]))
    return sorted(matches, key=lambda match: (-match.score, match.id))


def _match(entry: Entry, phrasing: str, score: float) -> Match:
    return Match(
        id=entry.id,
        question=entry.question,
        phrasing=phrasing,
        answer=entry.answer,
        category=entry.category,
        language=entry.language,
        score=score,
    )
