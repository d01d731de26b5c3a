"""Entries that may say what another says already: told as a warning, never refused.

Two entries are near when a question of one finds the other by meaning. The same search that
answers people finds them, so what is told apart there is told apart here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from appliance.knowledge.files.rows import Row
from appliance.knowledge.retrieval import Embedded, Retrieval
from appliance.schema.answers import Match
from appliance.schema.curation import NearEntry, NearLine
from appliance.schema.faq import Entry

NEAR_TOLD = 3


@dataclass(frozen=True)
class Compared:
    """The lines that are near something; `checked` of the first were compared by meaning."""

    lines: tuple[NearLine, ...]
    checked: int


class Near:
    """Finds entries at least as near as `least`; of a file, for its first `lines_bound` lines."""

    def __init__(self, retrieval: Retrieval, *, least: float, lines_bound: int) -> None:
        self._retrieval = retrieval
        self._least = least
        self._lines_bound = lines_bound

    async def to_entry(self, entry: Entry) -> tuple[NearEntry, ...]:
        """Other published entries which this one's question finds, the nearest first."""
        found = await self._retrieval.search(
            entry.question,
            limit=NEAR_TOLD + 1,
            floor=self._least,
            embedded=await self._retrieval.stored(entry),
        )
        others = [match for match in found.matches if match.id != entry.id]
        return tuple(
            NearEntry(id=m.id, question=m.question, phrasing=m.phrasing, score=_nearness(m))
            for m in others[:NEAR_TOLD]
        )

    async def in_file(self, rows: Sequence[Row]) -> Compared:
        """Lines near an entry that they do not mean, or near an earlier line."""
        told: list[NearLine] = []
        vectors: list[np.ndarray] = []
        for row in rows[: self._lines_bound]:
            embedded = await self._retrieval.embedded(row.put.question)
            vector = np.asarray(embedded.vector, dtype=np.float32)
            near = await self._near_entry(row, embedded)
            if near is None or (vectors and len(vector) != len(vectors[0])):
                break  # the model is away, or another one
            told += near
            if vectors:
                cosines = np.stack(vectors) @ vector
                best = int(np.argmax(cosines))
                if cosines[best] >= self._least:
                    told.append(_near_line(row, rows[best], float(cosines[best])))
            vectors.append(vector)
        return Compared(tuple(told), len(vectors))

    async def _near_entry(self, row: Row, embedded: Embedded) -> list[NearLine] | None:
        """None while the model or the index is away, which compare by meaning."""
        if not embedded.stamp:
            return None
        found = await self._retrieval.search(
            row.put.question, limit=2, floor=self._least, embedded=embedded
        )
        if found.degraded:
            return None
        return [
            NearLine(
                line=row.line,
                question=row.put.question,
                id=match.id,
                other_question=match.phrasing,
                score=_nearness(match),
            )
            for match in [one for one in found.matches if one.id != row.entry_id][:1]
        ]


def _nearness(match: Match) -> float:
    return match.similarity


def _near_line(row: Row, other: Row, score: float) -> NearLine:
    return NearLine(
        line=row.line,
        question=row.put.question,
        other_line=other.line,
        other_question=other.put.question,
        score=score,
    )
