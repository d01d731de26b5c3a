"""What the engine learns of its steps: predictions, and how many tokens fit into a time."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.gauge import FRESH_STEPS, Gauge, SmallStepTimes, StepTimes

pytestmark = pytest.mark.unit


@given(
    st.floats(0.001, 1),
    st.floats(0.0001, 0.1),
    st.lists(st.integers(1, 500), min_size=3, max_size=60),
)
def test_steps_that_lie_on_a_line_are_predicted(base: float, each: float, sizes: list[int]) -> None:
    times = StepTimes()
    for size in [1, 200, *sizes, 1, 200] * 3:
        times.note(size, base + each * size)
    for size in (1, 50, 200):
        assert times.predict(size) == pytest.approx(base + each * size, rel=0.25)


def test_before_the_first_step_nothing_is_known() -> None:
    assert StepTimes().fitting(1.0) is None
    assert StepTimes().predict(4) > StepTimes().predict(1) > 0


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(1e-6, 10)), min_size=1, max_size=80))
def test_no_measurements_make_a_prediction_absurd(steps: list[tuple[int, float]]) -> None:
    times = StepTimes()
    for size, seconds in steps:
        times.note(size, seconds)
    assert 0 < times.predict(1) <= times.predict(100)
    assert (times.fitting(0.5) or 0) >= 0


def test_what_fits_takes_no_longer_than_asked() -> None:
    times = StepTimes()
    for size in (1, 512, 1, 8, 128):
        times.note(size, 0.02 + 0.005 * size)
    fitting = times.fitting(0.5)
    assert fitting is not None
    assert times.predict(fitting) <= 0.5 < times.predict(fitting + 2)


def test_one_disturbed_step_hardly_moves_the_line() -> None:
    times = StepTimes()
    for size in [1, 8] * 30:
        times.note(size, 0.02 + 0.005 * size)
    before = times.predict(8)
    times.note(8, 60.0)
    assert times.predict(8) < 1.5 * before


def by_twos(tokens: int) -> float:
    """A kernel that computes two tokens at a time: an odd one costs as much as two."""
    return 0.02 + 0.03 * ((tokens + 1) // 2)


def test_steps_of_one_size_are_predicted_by_their_own() -> None:
    times = SmallStepTimes()
    for _ in range(30):
        for size in (1, 3, 4, 8):
            times.note(size, by_twos(size))
        times.note(400, 60.0)
    for size in (1, 3, 4, 8):
        assert times.predict(size) == pytest.approx(by_twos(size), rel=0.05)
    assert times.predict(3) == pytest.approx(times.predict(4), rel=0.05)


def test_what_was_learnt_of_one_size_long_ago_is_learnt_anew() -> None:
    times = SmallStepTimes()
    for _ in range(30):
        times.note(1, 0.005)
    assert times.knows(1)
    for _ in range(FRESH_STEPS + 1):
        times.note(4, by_twos(4))
    assert not times.knows(1)
    for _ in range(20):
        times.note(1, by_twos(1))
    assert times.knows(1)
    assert times.predict(1) == pytest.approx(by_twos(1), rel=0.2)


def test_the_library_s_time_is_not_python_s(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=iter((10.0, 10.9, 11.0)).__next__)
    monkeypatch.setattr("appliance.worker.gauge.time", clock)
    gauge = Gauge(0.0)
    gauge.woke(0.0)
    gauge.native(10.0)  # nine tenths of it
    gauge.stepped(1.0)
    assert gauge.status().python_share == pytest.approx(0.1)
