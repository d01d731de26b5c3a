"""Entries that may say what another says already: told as a warning, never refused.

Two entries are near when a question of one finds the other by meaning. The same search that
answers people finds them, so what is told apart there is told apart here.
"""

from collections.abc import Sequence

import numpy as np

from appliance.knowledge.files.rows import Row
from appliance.knowledge.retrieval import Retrieval
from appliance.schema.answers import Match
from appliance.schema.curation import NearEntry, NearLine
from appliance.schema.faq import Entry

NEAR_TOLD = 3


class Near:
    """Finds entries at least as near as `least`; of a file, for its first `lines_bound` lines."""

    def __init__(self, retrieval: Retrieval, *, least: float, lines_bound: int) -> None:
        self._retrieval = retrieval
        self._least = least
        self._lines_bound = lines_bound

    async def to_entry(self, entry: Entry) -> tuple[NearEntry, ...]:
        """Other published entries which this one's question finds, the nearest first."""
        found = await self._matches(entry.question, entry.id)
        return tuple(
            NearEntry(id=m.id, question=m.question, phrasing=m.phrasing, score=_nearness(m))
            for m in found[:NEAR_TOLD]
        )

    async def in_file(self, rows: Sequence[Row]) -> tuple[NearLine, ...]:
        """Lines near an entry that they do not mean, or near an earlier line."""
        told: list[NearLine] = []
        vectors: list[np.ndarray] = []
        for index, row in enumerate(rows[: self._lines_bound]):
            embedded = await self._retrieval.embedded(row.put.question)
            vector = np.asarray(embedded.vector, dtype=np.float32)
            told += await self._near_entry(row)
            if len(vector) and vectors and len(vector) == len(vectors[0]):
                cosines = np.stack(vectors) @ vector
                best = int(np.argmax(cosines))
                if cosines[best] >= self._least:
                    told.append(_near_line(row, rows[best], float(cosines[best])))
            vectors.append(vector if len(vector) or not vectors else np.zeros_like(vectors[0]))
            if not len(vectors[index]):
                break  # no embedding model: nothing can be compared
        return tuple(told)

    @property
    def lines_bound(self) -> int:
        return self._lines_bound

    async def _near_entry(self, row: Row) -> list[NearLine]:
        found = await self._matches(row.put.question, row.entry_id)
        return [
            NearLine(
                line=row.line,
                question=row.put.question,
                id=match.id,
                other_question=match.phrasing,
                score=_nearness(match),
            )
            for match in found[:1]
        ]

    async def _matches(self, question: str, own_id: str) -> list[Match]:
        found = await self._retrieval.search(question, limit=NEAR_TOLD + 1, floor=self._least)
        return [match for match in found.matches if match.id != own_id]


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
