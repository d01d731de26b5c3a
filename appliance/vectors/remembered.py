"""Vectors that were read before, so that a question need not fetch those of the rows it finds.

A row's key names its text (`knowledge.rows`), so a vector never changes; one that is written again
or deleted is forgotten all the same. Fetching the vectors of some forty rows takes longer than
finding them.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

ROWS_REMEMBERED = 20_000  # 30 MB of vectors of 384 numbers


class Remembered:
    """The vectors asked for last, by collection and primary key."""

    def __init__(self, bound: int = ROWS_REMEMBERED) -> None:
        self._bound = bound
        self._vectors: OrderedDict[tuple[str, str], Sequence[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def of(self, collection: str, pks: Iterable[str]) -> dict[str, Sequence[float]]:
        """Those that are known, which are the last to be forgotten now."""
        found: dict[str, Sequence[float]] = {}
        for pk in pks:
            vector = self._vectors.get((collection, pk))
            if vector is not None:
                self._vectors.move_to_end((collection, pk))
                found[pk] = vector
        return found

    def keep(self, collection: str, vectors: Mapping[str, Sequence[float]]) -> None:
        """Likewise for these."""
        for pk, vector in vectors.items():
            self._vectors[collection, pk] = array("f", vector)
            self._vectors.move_to_end((collection, pk))
        while len(self._vectors) > self._bound:
            self._vectors.popitem(last=False)

    def forget(self, collection: str, pks: Iterable[str]) -> None:
        """What these rows said; unknown ones are no error."""
        for pk in pks:
            self._vectors.pop((collection, pk), None)

    def forget_all(self, collection: str) -> None:
        """What the rows of a collection said."""
        self.forget(collection, [pk for name, pk in self._vectors if name == collection])
