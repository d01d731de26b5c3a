"""Questions that mean the same, grouped as they come: leader clustering with moving centres.

A question joins the nearest group whose centre is at least `least` away in cosine, else it opens
one (Hartigan, "Clustering Algorithms", 1975, ch. 3). A centre is the mean direction of its
questions, and stops moving much once it has many. Pure: vectors in, groups out.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]

WEIGHT_MAX = 50
"""A centre of more questions moves no slower than one of so many: meanings drift."""


class Clusters:
    """Centres by name, for vectors of one embedding model."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._names: list[str] = []
        self._centres: list[Vector] = []

    def nearest(
        self,
        vector: Sequence[float] | Vector,
        admits: Callable[[str], bool] = lambda name: True,
    ) -> str:
        """The group a question belongs to, of those that admit it; "" for none."""
        if not self._names:
            return ""
        cosines = np.stack(self._centres) @ _unit(vector)
        near = (int(at) for at in np.argsort(-cosines) if cosines[at] >= self._least)
        return next((self._names[at] for at in near if admits(self._names[at])), "")

    def put(self, name: str, centre: Sequence[float] | Vector) -> None:
        """Adds a group, or sets its centre."""
        unit = _unit(centre)
        if name in self._names:
            self._centres[self._names.index(name)] = unit
        else:
            self._names.append(name)
            self._centres.append(unit)

    def drop(self, name: str) -> None:
        if name in self._names:
            index = self._names.index(name)
            del self._names[index], self._centres[index]

    def clear(self) -> None:
        self._names.clear()
        self._centres.clear()


def moved(centre: Sequence[float] | Vector, vector: Sequence[float] | Vector, count: int) -> Vector:
    """The centre after one more question; `count` were in it before."""
    weight = min(max(count, 1), WEIGHT_MAX)
    return _unit(_unit(centre) * np.float32(weight) + _unit(vector))


def _unit(vector: Sequence[float] | Vector) -> Vector:
    array = np.asarray(vector, dtype=np.float32)
    length = float(np.linalg.norm(array))
    return array / np.float32(length) if length > 0 else array
