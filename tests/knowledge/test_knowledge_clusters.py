"""Groups of questions: pure, and whatever the order, near ones meet and far ones do not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.knowledge.clusters import Clusters, Vector, moved

pytestmark = pytest.mark.unit


def around(axis: int, chance: np.random.Generator) -> Vector:
    """A direction within 0.2 of an axis."""
    vector = np.zeros(16, dtype=np.float32)
    vector[axis] = 1.0
    noise = chance.normal(size=16)
    return (vector + 0.2 * noise / np.linalg.norm(noise)).astype(np.float32)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_near_questions_meet_and_far_ones_do_not(axes: list[int], seed: int) -> None:
    chance = np.random.default_rng(seed)
    clusters = Clusters(0.8)
    centres: dict[str, Vector] = {}
    counts: dict[str, int] = {}
    named: dict[int, str] = {}
    for axis in axes:
        vector = around(axis, chance)
        name = clusters.nearest(vector)
        assert name == named.get(axis, "")
        name = named.setdefault(axis, f"group of {axis}")
        centres[name] = moved(centres[name], vector, counts[name]) if name in centres else vector
        counts[name] = counts.get(name, 0) + 1
        clusters.put(name, centres[name])
    for name, centre in centres.items():
        assert clusters.nearest(centre) == name
        clusters.drop(name)
        assert clusters.nearest(centre) == ""


def test_a_centre_is_the_mean_direction_and_keeps_moving_a_little() -> None:
    first, second = np.eye(2, dtype=np.float32)
    between = moved(first, second, 1)
    assert between == pytest.approx([0.5**0.5, 0.5**0.5], abs=1e-6)
    late = moved(first, second, 1_000_000)
    assert late[1] > 0.01
    assert np.linalg.norm(late) == pytest.approx(1.0, abs=1e-6)


def test_a_vector_of_length_nothing_is_near_nothing() -> None:
    clusters = Clusters(0.5)
    clusters.put("a", [1.0, 0.0])
    assert clusters.nearest([0.0, 0.0]) == ""


def test_the_nearest_group_that_admits_a_question_takes_it() -> None:
    clusters = Clusters(0.8)
    clusters.put("near", [1.0, 0.0])
    clusters.put("next", [0.9, 0.3])
    assert clusters.nearest([1.0, 0.0]) == "near"
    assert clusters.nearest([1.0, 0.0], lambda name: name != "near") == "next"
    assert clusters.nearest([1.0, 0.0], lambda name: False) == ""
