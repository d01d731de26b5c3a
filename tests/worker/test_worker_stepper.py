"""How long a step may be: who reads on and who still waits for a first word are weighed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.stepper import STRETCH, gap_between

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("answers", "prompts", "gap_s"),
    [(1, 0, 1.0), (4, 1, 1.0), (2, 2, 1.0), (2, 3, 1.5), (1, 2, 2.0), (1, 15, 2.0)],
)
def test_answers_wait_longer_only_while_prompts_outnumber_them(
    answers: int, prompts: int, gap_s: float
) -> None:
    assert gap_between(1.0, answers=answers, prompts=prompts) == gap_s


@given(st.floats(0.001, 60), st.integers(1, 256), st.integers(0, 256))
def test_the_gap_stays_within_its_bounds_and_grows_with_the_prompts(
    gap_s: float, answers: int, prompts: int
) -> None:
    gap = gap_between(gap_s, answers=answers, prompts=prompts)
    assert gap_s <= gap <= STRETCH * gap_s
    assert gap <= gap_between(gap_s, answers=answers, prompts=prompts + 1)
