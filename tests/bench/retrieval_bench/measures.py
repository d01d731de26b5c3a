"""What is counted of the answers to one set."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Ranking:
    """How one way of ranking did: per question the labels found, best first, and its score."""

    right: list[bool] = field(default_factory=list)
    among_three: list[bool] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    outside: list[float] = field(default_factory=list)

    def add(self, label: str, found: Sequence[str], score: float) -> None:
        if not label:
            self.outside.append(score)
            return
        self.inside.append(score)
        self.right.append(found[:1] == [label])
        self.among_three.append(label in found[:3])

    @property
    def recall_1(self) -> float:
        return float(np.mean(self.right))

    @property
    def recall_3(self) -> float:
        return float(np.mean(self.among_three))

    @property
    def auroc(self) -> float | None:
        """How surely a question inside scores above one outside; None without any outside."""
        return auroc(self.inside, self.outside) if self.outside else None


@dataclass
class Decisions:
    """What was decided, of questions with an entry and of those without."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, *, right: bool) -> None:
        self.counts[kind] += 1
        self.wrong[kind] += not right

    def share(self, kind: str) -> float:
        return self.counts[kind] / max(self.counts.total(), 1)

    def error_rate(self, kind: str) -> float:
        return self.wrong[kind] / max(self.counts[kind], 1)


def auroc(inside: Sequence[float], outside: Sequence[float]) -> float:
    """The Mann-Whitney statistic, ties counted half."""
    both = np.concatenate([inside, outside])
    _, number, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[number]
    within = len(inside)
    return float((ranks[:within].sum() - within * (within + 1) / 2) / (within * len(outside)))
