"""Which entry a question belongs to, from the rows near it: one kernel over meaning and words.

Dense and lexical search nominate rows; here they are weighed together. Two texts are as similar as
their vectors' cosine, seen through the FAQ's own `metric`, and their words' cosine, mixed with the
weight that the FAQ's own phrasings prefer (`calibration`). Then the rows vote by kernel ridge
regression on this neighbourhood alone: each row says "1" for its entry, and the score is what the
smoothest such function says of the question. So phrasings that repeat each other count once,
several near ones help each other, and entries that are near both each other and the question take
score from one another, which a best row never shows. It costs a solve of some 80 equations, holds
no state, and needs no training: an edit counts at the next question. `make bench-retrieval` shows
what it gains.

A text without spaces and one with them share no words, so across them only meaning counts. A row
whose vector is not there is compared by its words alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from appliance.knowledge.metric import PLAIN, Metric

Floats = NDArray[np.float32]

SHARPNESS = 3.0
RIDGE = 0.1
PRIOR_LEXICAL = 0.2
"""Weight of words before anything is learned."""


@dataclass(frozen=True, eq=False)
class Text:
    """A question or a row. `vector` has length 1 or is empty; `words` holds weights by term,
    length 1 as a vector; `spaced` says that it is written with spaces between words."""

    vector: Floats
    words: dict[str, float]
    spaced: bool


@dataclass(frozen=True, eq=False)
class Candidate:
    """A row that was nominated."""

    pk: str
    entry_id: str
    text: Text


@dataclass(frozen=True)
class Scored:
    """An entry with its best row. `score` is 0 to 1, `similarity` that of the best row."""

    entry_id: str
    score: float
    similarity: float
    pk: str


class Neighbourhood:
    """The similarities around one question, computed once for any weight and any omission."""

    def __init__(
        self, asked: Text, candidates: Sequence[Candidate], metric: Metric = PLAIN
    ) -> None:
        self._candidates = candidates
        texts = [asked, *(one.text for one in candidates)]
        vectors = _vectors(texts)
        seen = metric.seen(vectors)
        self._meaning = vectors @ vectors[0]
        self._seen = seen @ seen.T
        self._words = _words(texts)
        spaced = np.array([text.spaced for text in texts])
        self._comparable = spaced[:, None] == spaced[None, :]
        meant = np.array([len(text.vector) > 0 for text in texts])
        self._meant = meant[:, None] & meant[None, :]

    def scored(self, lexical: float, *, without: frozenset[str] = frozenset()) -> list[Scored]:
        """Every entry but those left out by `without` (row keys), best first.

        `lexical` is the weight of words where there is meaning beside them.
        """
        return self.scored_by([lexical], without=without)[0]

    def scored_by(
        self, lexicals: Sequence[float], *, without: frozenset[str] = frozenset()
    ) -> list[list[Scored]]:
        """`scored` for each of these weights."""
        kept = [n for n, one in enumerate(self._candidates) if one.pk not in without]
        if not kept:
            return [[] for _ in lexicals]
        meaning, seen, words = self._meaning, self._seen, self._words
        comparable, meant = self._comparable, self._meant
        if len(kept) < len(self._candidates):
            places = np.array([0, *(n + 1 for n in kept)])
            chosen = np.ix_(places, places)
            meaning, seen, words = meaning[places], seen[chosen], words[chosen]
            comparable, meant = comparable[chosen], meant[chosen]
        found = []
        for lexical in lexicals:
            weights = np.where(meant, np.where(comparable, lexical, 0.0), 1.0)
            votes = _votes((1 - weights) * seen + weights * words)
            similar = (1 - weights[0]) * meaning + weights[0] * words[0]
            found.append(self._by_entry(kept, similar[1:], votes))
        return found

    def _by_entry(
        self, kept: list[int], similar: NDArray[np.floating], votes: NDArray[np.floating]
    ) -> list[Scored]:
        scores: dict[str, float] = {}
        best: dict[str, int] = {}
        near = similar.tolist()
        for place, (n, vote) in enumerate(zip(kept, votes.tolist(), strict=True)):
            entry_id = self._candidates[n].entry_id
            scores[entry_id] = scores.get(entry_id, 0.0) + vote
            if entry_id not in best or near[place] > near[best[entry_id]]:
                best[entry_id] = place
        found = [
            Scored(
                entry_id=entry_id,
                score=min(max(score, 0.0), 1.0),
                similarity=near[best[entry_id]],
                pk=self._candidates[kept[best[entry_id]]].pk,
            )
            for entry_id, score in scores.items()
        ]
        return sorted(found, key=lambda one: (-one.score, -one.similarity, one.entry_id))


def _votes(similar: NDArray[np.floating]) -> NDArray[np.floating]:
    """How much of each row's "1" reaches the question."""
    kernel = np.exp(SHARPNESS * (similar - 1))
    rows = kernel[1:, 1:] + RIDGE * np.eye(len(kernel) - 1, dtype=kernel.dtype)
    weights: NDArray[np.floating] = np.linalg.solve(rows, kernel[0, 1:])
    return weights


def _vectors(texts: Sequence[Text]) -> Floats:
    size = max(len(text.vector) for text in texts)
    rows = np.zeros((len(texts), size), dtype=np.float32)
    for n, text in enumerate(texts):
        rows[n, : len(text.vector)] = text.vector
    return rows


def _words(texts: Sequence[Text]) -> Floats:
    terms = list(chain.from_iterable(text.words for text in texts))
    weights = list(chain.from_iterable(text.words.values() for text in texts))
    columns = {term: n for n, term in enumerate(dict.fromkeys(terms))}
    numbers = np.repeat(np.arange(len(texts)), [len(text.words) for text in texts])
    rows = np.zeros((len(texts), max(len(columns), 1)), dtype=np.float32)
    rows[numbers, [columns[term] for term in terms]] = weights
    return rows @ rows.T
