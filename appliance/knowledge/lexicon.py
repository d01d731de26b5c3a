"""Which rows share words with a question: BM25 over the texts of all rows, in memory.

The words are derived from the records, like the vectors, but they are read from them at each start
(100,000 rows in a few seconds) and changed with each edit. So they are searched in about a
millisecond, whatever was written last, and they answer when the vector server is away. Milvus
Lite's own BM25 is Python and takes 30 to 60 ms at 10,000 rows, a second where rows are unflushed.

A score is BM25 (Robertson and Zaragoza, 2009) divided by the score of a row that would say exactly
what was asked, so it lies between 0 and 1 and means the same for every question: words that no
row knows weigh most, and make it small.

A row has a slot; a term has growing arrays of slots and counts. Deleted rows leave dead slots, and
when they outnumber the living the whole is packed.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.knowledge.words import terms

K1 = 1.2
B = 0.5
TEXTS_REMEMBERED = 20_000
PACK_SLOTS = 1024
"""Fewer dead slots than this are never packed."""

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Hit:
    """A row with words of the question; `score` from 0 to 1."""

    pk: str
    score: float


@dataclass(slots=True, eq=False)
class _Postings:
    slots: "array[int]" = field(default_factory=lambda: array("i"))
    counts: "array[int]" = field(default_factory=lambda: array("i"))
    living: int = 0


class Lexicon:
    """Owns the words of all rows."""

    def __init__(self) -> None:
        self._slot_of: dict[str, int] = {}
        self._pks: list[str] = []
        self._lengths: array[int] = array("i")
        self._total_length = 0
        self._terms_of: list[array[int]] = []
        self._number_of: dict[str, int] = {}
        self._postings: list[_Postings] = []
        self._weights: dict[str, dict[str, float]] = {}
        self._rarities: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def __contains__(self, pk: str) -> bool:
        return pk in self._slot_of

    def add(self, pk: str, text: str) -> None:
        """Adds a row; one that is there already stays as it is, for a key names its text."""
        if pk in self._slot_of:
            return
        self._edited()
        slot, counted = len(self._pks), Counter(terms(text))
        self._slot_of[pk] = slot
        self._pks.append(pk)
        self._lengths.append(counted.total())
        self._total_length += counted.total()
        numbers = array("i", map(self._number, counted))
        self._terms_of.append(numbers)
        for number, count in zip(numbers, counted.values(), strict=True):
            postings = self._postings[number]
            postings.slots.append(slot)
            postings.counts.append(count)
            postings.living += 1

    def remove(self, pks: Iterable[str]) -> None:
        """Removes rows; unknown ones are no error."""
        for pk in pks:
            slot = self._slot_of.pop(pk, None)
            if slot is None:
                continue
            self._edited()
            for number in self._terms_of[slot]:
                self._postings[number].living -= 1
            self._total_length -= self._lengths[slot]
            self._lengths[slot] = 0
            self._terms_of[slot] = array("i")
            self._pks[slot] = ""
        dead = len(self._pks) - len(self._slot_of)
        if dead > max(PACK_SLOTS, len(self._slot_of)):
            self._pack()

    def words(self, text: str) -> dict[str, float]:
        """Weights of a text's terms, rare ones high; together a vector of length 1.

        Kept until the next edit, which changes what is rare. Not to be changed.
        """
        known = self._weights.get(text)
        if known is None:
            if len(self._weights) >= TEXTS_REMEMBERED:
                self._weights.clear()
            known = self._weights[text] = self._weighed(text)
        return known

    def _weighed(self, text: str) -> dict[str, float]:
        weights = {
            term: (1 + math.log(count)) * self._rarity(term)
            for term, count in Counter(terms(text)).items()
        }
        length = math.hypot(*weights.values())
        return {term: weight / length for term, weight in weights.items()} if length else {}

    def search(self, text: str, limit: int) -> list[Hit]:
        """The rows that share most with the text, best first; none that shares nothing."""
        asked = Counter(terms(text))
        if not self._slot_of or not asked:
            return []
        scores = self._scores(asked)
        least = 1e-6
        if len(scores) > limit:
            least = max(least, float(np.partition(scores, -limit)[-limit]))
        found = np.nonzero(scores >= least)[0]
        order = found[np.argsort(-scores[found], kind="stable")][:limit]
        return [Hit(self._pks[slot], float(scores[slot])) for slot in order.tolist()]

    def _scores(self, asked: Counter[str]) -> NDArray[np.float32]:
        """By slot; 0 for dead ones."""
        mean_length = max(self._total_length / len(self._slot_of), 1.0)
        lengths = np.frombuffer(self._lengths, dtype=np.int32)
        scores = np.zeros(len(self._pks), dtype=np.float32)
        whole, own_norm = 0.0, K1 * (1 - B + B * asked.total() / mean_length)
        for term, wanted in asked.items():
            rarity = self._rarity(term)
            whole += rarity * wanted * (K1 + 1) / (wanted + own_norm)
            number = self._number_of.get(term)
            if number is None or not self._postings[number].living:
                continue
            slots = np.frombuffer(self._postings[number].slots, dtype=np.int32)
            counts = np.frombuffer(self._postings[number].counts, dtype=np.int32)
            counts = np.minimum(counts, wanted)
            norms = K1 * (1 - B + B * lengths[slots] / mean_length)
            scores[slots] += rarity * counts * (K1 + 1) / (counts + norms)
        scores[lengths == 0] = 0.0
        return scores / np.float32(whole)

    def _rarity(self, term: str) -> float:
        """The inverse document frequency, kept until the next edit; of a term that no row knows,
        which is rarest, it is not."""
        known = self._rarities.get(term)
        if known is not None:
            return known
        number = self._number_of.get(term)
        holders = self._postings[number].living if number is not None else 0
        rarity = math.log(1 + (len(self._slot_of) - holders + 0.5) / (holders + 0.5))
        if number is not None:
            self._rarities[term] = rarity
        return rarity

    def _edited(self) -> None:
        """What is rare has changed."""
        self._weights.clear()
        self._rarities.clear()

    def _number(self, term: str) -> int:
        number = self._number_of.setdefault(term, len(self._postings))
        if number == len(self._postings):
            self._postings.append(_Postings())
        return number

    def _pack(self) -> None:
        """Gives the living slots new numbers, in their order, and forgets terms without any."""
        alive = np.array([bool(pk) for pk in self._pks])
        moved = (np.cumsum(alive) - 1).astype(np.int32)
        names = list(self._number_of)
        self._number_of, held, self._postings = {}, self._postings, []
        terms_of = [array("i") for pk in self._pks if pk]
        for name, old in zip(names, held, strict=True):
            if not old.living:
                continue
            new = self._postings_of(old, alive, moved)
            for slot in new.slots:
                terms_of[slot].append(len(self._postings))
            self._number_of[name] = len(self._postings)
            self._postings.append(new)
        self._terms_of = terms_of
        self._lengths = array("i", np.frombuffer(self._lengths, dtype=np.int32)[alive].tolist())
        self._pks = [pk for pk in self._pks if pk]
        self._slot_of = {pk: slot for slot, pk in enumerate(self._pks)}

    def _postings_of(self, old: _Postings, alive: NDArray[np.bool_], moved: Ints) -> _Postings:
        slots = np.frombuffer(old.slots, dtype=np.int32)
        counts = np.frombuffer(old.counts, dtype=np.int32)
        kept = alive[slots]
        return _Postings(
            slots=array("i", moved[slots[kept]].tolist()),
            counts=array("i", counts[kept].tolist()),
            living=int(kept.sum()),
        )
