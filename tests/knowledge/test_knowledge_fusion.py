"""Neighbourhoods scored by several weights at once, against the formula written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.knowledge.fusion import RIDGE, SHARPNESS, Candidate, Neighbourhood, Text
from appliance.knowledge.metric import PLAIN, Metric

pytestmark = pytest.mark.unit

WEIGHTS = (0.0, 0.35, 0.9, 1.0)


def text(chance: np.random.Generator) -> Text:
    vector = chance.normal(size=8).astype(np.float32)
    words = [f"w{n}" for n in chance.choice(12, size=3, replace=False)]
    length = len(words) ** 0.5
    there = chance.integers(0, 4) > 0
    return Text(
        vector / np.linalg.norm(vector) if there else vector[:0],
        dict.fromkeys(words, 1 / length),
        bool(chance.integers(0, 2)),
    )


def similarity(one: Text, other: Text, lexical: float, metric: Metric = PLAIN) -> float:
    words = sum(weight * other.words.get(word, 0.0) for word, weight in one.words.items())
    if not len(one.vector) or not len(other.vector):
        return words
    vectors = metric.seen(np.stack([one.vector, other.vector]))
    weight = lexical if one.spaced == other.spaced else 0.0
    return float((1 - weight) * (vectors[0] @ vectors[1]) + weight * words)


def kernel(one: Text, other: Text, lexical: float, metric: Metric) -> float:
    return float(np.exp(SHARPNESS * (similarity(one, other, lexical, metric) - 1)))


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 12),
    left_out=st.integers(0, 4),
    plain=st.booleans(),
)
def test_each_weight_scores_what_kernel_ridge_says_of_the_rows_that_are_kept(
    seed: int, rows: int, left_out: int, plain: bool
) -> None:
    chance = np.random.default_rng(seed)
    asked = text(chance)
    candidates = [Candidate(f"row-{n}", f"entry-{n % 3}", text(chance)) for n in range(rows)]
    kept = candidates[left_out:]
    without = frozenset(one.pk for one in candidates[:left_out])
    metric = PLAIN if plain else Metric(0.8 * np.eye(8, dtype=np.float32)[:2])
    found = Neighbourhood(asked, candidates, metric).scored_by(WEIGHTS, without=without)
    assert len(found) == len(WEIGHTS)
    for lexical, scored in zip(WEIGHTS, found, strict=True):
        assert {one.entry_id for one in scored} == {one.entry_id for one in kept}
        if not kept:
            continue
        among = np.array([[kernel(a.text, b.text, lexical, metric) for b in kept] for a in kept])
        towards = np.array([kernel(asked, one.text, lexical, metric) for one in kept])
        votes = np.linalg.inv(among + RIDGE * np.eye(len(kept))) @ towards
        for one in scored:
            said = sum(
                vote for vote, row in zip(votes, kept, strict=True) if row.entry_id == one.entry_id
            )
            assert one.score == pytest.approx(min(max(said, 0.0), 1.0), abs=1e-4)
            near = [similarity(asked, r.text, lexical) for r in kept if r.entry_id == one.entry_id]
            assert one.similarity == pytest.approx(max(near), abs=1e-4), "without the metric"
        assert [one.score for one in scored] == sorted((s.score for s in scored), reverse=True)
