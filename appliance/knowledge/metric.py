"""In which directions vectors differ without meaning something else, learned from the FAQ itself.

Phrasings of one entry say the same in other ways: as a greeting, in haste, as a complaint. The
directions in which they differ most are much the same for every entry of a FAQ and every question
put to it, so there vectors are drawn together before they are compared (within-class covariance
normalisation, Hatch et al. 2006, shrunk as in Friedman's regularised discriminant analysis, 1989).
No direction is ever stretched, so what no phrasing has shown, another language say, counts as
before.

It is a matrix of some 50 KB, made at calibration; an edit needs no new one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DIRECTIONS = 32
SHRINKAGE = 0.9
"""Weight of "all directions differ alike" beside what the phrasings show."""


@dataclass(frozen=True, eq=False)
class Metric:
    """`drawn` has a row per direction, as long as the root of the share taken from it."""

    drawn: Floats

    def seen(self, rows: Floats) -> Floats:
        """The rows as they are compared, of length 1; rows of zeros or without numbers stay so."""
        if not len(self.drawn) or not rows.shape[1]:
            return rows
        moved = rows - (rows @ self.drawn.T) @ self.drawn
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.where(lengths > 0, lengths, 1), dtype=np.float32)


PLAIN = Metric(np.zeros((0, 0), dtype=np.float32))
"""Compares vectors as they are."""


def learned_metric(entries: Sequence[Floats]) -> Metric:
    """From the phrasings of each entry, a row each; `PLAIN` while they differ in fewer ways than
    a vector has directions."""
    several = [rows for rows in entries if len(rows) > 1]
    ways = sum(len(rows) - 1 for rows in several)
    if not several or ways < several[0].shape[1]:
        return PLAIN
    apart = np.concatenate([rows - rows.mean(axis=0) for rows in several])
    variances, directions = np.linalg.eigh(apart.T @ apart / np.float32(ways))
    relative = np.maximum(variances / max(float(variances.mean()), 1e-12), 0.0)
    kept = 1 / np.sqrt((1 - SHRINKAGE) * relative + SHRINKAGE)
    taken = np.sqrt(np.clip(1 - kept, 0.0, 1.0))
    return Metric(np.ascontiguousarray((directions * taken).T[-DIRECTIONS:], dtype=np.float32))
