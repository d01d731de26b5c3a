"""How long a step may be: who reads on and who still waits for a first word are weighed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.stepper import KERNEL_TOKENS, PROMPT_AT_LEAST, STRETCH, gap_between, portion

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


@pytest.mark.parametrize(
    ("fitting", "answers", "tokens"),
    [(47, 3, 48), (55, 3, 48), (56, 3, 64), (94, 2, 96), (0, 0, 32), (10, 3, 35), (10, 8, 48)],
)
def test_portions_are_whole_batches_of_the_kernels(fitting: int, answers: int, tokens: int) -> None:
    assert portion(fitting, answers=answers) == tokens


@given(st.integers(0, 10_000), st.integers(0, 256))
def test_a_portion_is_about_what_fits_and_has_something_of_prompts(
    fitting: int, answers: int
) -> None:
    tokens = portion(fitting, answers=answers)
    assert tokens >= answers + PROMPT_AT_LEAST
    assert abs(tokens - max(fitting, answers + PROMPT_AT_LEAST)) <= KERNEL_TOKENS // 2
