"""Simpler predictors of the logarithm of a length: prompt length, lexical form, TF-IDF.

They share nothing with the product but the list of forms that the lexical one counts.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.prediction.features import WORD_FEATURES, Asked, features

Numbers = NDArray[np.float64]
WORD = re.compile(r"[a-z']+|\d+|[\u3400-\u9fff]")


def prompt_length(texts: Sequence[str]) -> Numbers:
    """The longer the question, the longer the answer; nothing is learned."""
    return np.array([len(text) for text in texts], dtype=np.float64)


def lexical(
    train: Sequence[str], targets: Numbers, test: Sequence[str], *, ridge: float
) -> Numbers:
    rows = np.array([features(Asked(text=text), 0) for text in (*train, *test)], dtype=np.float64)
    assert rows.shape[1] == WORD_FEATURES, "no embedding here"
    return fitted(rows[: len(train)], targets, rows[len(train) :], ridge=ridge)


def tf_idf(train: Sequence[str], targets: Numbers, test: Sequence[str], *, ridge: float) -> Numbers:
    """Ridge regression on words, characters of Chinese, and pairs of them."""
    bags = [Counter(_terms(text)) for text in train]
    seen = Counter(term for bag in bags for term in bag)
    column = {term: n for n, term in enumerate(t for t, count in seen.items() if count > 1)}

    def rows(of: Sequence[Counter[str]]) -> Numbers:
        made = np.zeros((len(of), len(column)))
        for row, bag in zip(made, of, strict=True):
            for term, count in bag.items():
                if term in column:
                    weight = math.log(len(train) / seen[term])
                    row[column[term]] = (1 + math.log(count)) * weight
        made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
        return made

    return fitted(rows(bags), targets, rows([Counter(_terms(t)) for t in test]), ridge=ridge)


def fitted(train: Numbers, targets: Numbers, test: Numbers, *, ridge: float) -> Numbers:
    """Ridge regression in its dual form."""
    middle, level = train.mean(axis=0), float(targets.mean())
    centred = train - middle
    kernel = centred @ centred.T + ridge * np.eye(len(train))
    weights = centred.T @ np.linalg.solve(kernel, targets - level)
    found: Numbers = (test - middle) @ weights + level
    return found


def _terms(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]
