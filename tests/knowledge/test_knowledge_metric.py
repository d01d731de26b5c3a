"""What phrasings of one entry differ in counts less; nothing is learned from few, or stretched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.knowledge.metric import DIRECTIONS, PLAIN, SHRINKAGE, learned_metric

pytestmark = pytest.mark.unit

SIZE = 48
Floats = NDArray[np.float32]


def unit(rows: NDArray[np.floating]) -> Floats:
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / lengths, dtype=np.float32)


def faq(chance: np.random.Generator, entries: int, phrasings: int) -> list[Floats]:
    """Entries anywhere, whose phrasings differ along the first axis most."""
    spread = np.full(SIZE, 0.02)
    spread[0] = 0.5
    centres = unit(chance.normal(size=(entries, SIZE)))
    return [unit(c + spread * chance.normal(size=(phrasings, SIZE))) for c in centres]


def test_a_question_asked_in_another_manner_comes_nearer_to_its_entry() -> None:
    chance = np.random.default_rng(1)
    metric = learned_metric(faq(chance, 30, 5))
    meant, other = unit(chance.normal(size=(2, SIZE)))
    manner = np.eye(SIZE, dtype=np.float32)[0]
    asked = unit(meant + 1.5 * manner)
    other = unit(other + 1.5 * manner)
    rows = np.stack([asked, meant, other])
    assert rows[0] @ rows[1] < rows[0] @ rows[2], "as they are, the manner decides"
    seen = metric.seen(rows)
    assert seen[0] @ seen[1] > seen[0] @ seen[2]


@given(seed=st.integers(0, 2**32 - 1), entries=st.integers(13, 30), phrasings=st.integers(5, 8))
def test_it_is_shrunk_within_class_normalisation_of_the_widest_directions(
    seed: int, entries: int, phrasings: int
) -> None:
    chance = np.random.default_rng(seed)
    groups = faq(chance, entries, phrasings)
    row = chance.normal(size=SIZE)
    scatter = sum(
        (np.cov(group.T.astype(np.float64), ddof=0) * phrasings for group in groups),
        np.zeros((SIZE, SIZE)),
    ) / (entries * (phrasings - 1))
    shrunk = (1 - SHRINKAGE) * scatter / (np.trace(scatter) / SIZE) + SHRINKAGE * np.eye(SIZE)
    variances, directions = np.linalg.eigh(shrunk)
    kept = np.ones(SIZE)
    kept[-DIRECTIONS:] = np.minimum(variances[-DIRECTIONS:] ** -0.5, 1)
    expected = unit((directions * kept) @ directions.T @ row)
    found = learned_metric(groups).seen(row.astype(np.float32)[None, :])[0]
    assert found == pytest.approx(expected, abs=2e-3)


def test_too_few_phrasings_teach_nothing_and_single_ones_do_not_count() -> None:
    chance = np.random.default_rng(2)
    few = faq(chance, SIZE // 4, 4)
    assert learned_metric(few) is PLAIN
    assert learned_metric([*few, *faq(chance, 200, 1)]) is PLAIN
    assert learned_metric([]) is PLAIN
    assert learned_metric(faq(chance, SIZE // 3, 4)) is not PLAIN
    rows = unit(chance.normal(size=(3, SIZE)))
    assert PLAIN.seen(rows) is rows


def test_a_row_without_a_vector_stays_without_one() -> None:
    metric = learned_metric(faq(np.random.default_rng(3), 30, 5))
    assert not metric.seen(np.zeros((2, SIZE), dtype=np.float32)).any()
