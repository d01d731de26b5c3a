"""Expected times, against sampling and against counting."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.limiter.estimate import SLOTS_SAMPLED, Pace, Starts, mean_output
from appliance.limiter.verdict import Ask, Forecast, Usage

pytestmark = pytest.mark.unit


def starts_s(capacity: int, remaining_s: list[float], line_s: list[float]) -> list[float]:
    slots = Starts(capacity, remaining_s)
    return [slots.give(hold_s) for hold_s in line_s] if slots else []


@pytest.mark.parametrize("done", [0, 50, 100, 300])
def test_what_is_still_to_come_of_an_output_is_what_sampling_says(done: int) -> None:
    draw = random.Random(1)
    spread = 0.6
    forecast = Forecast(100.0, 100.0 * 2.718281828 ** (0.8416 * spread), 1_000_000)
    samples = [100 * 2.718281828 ** draw.gauss(0, spread) for _ in range(200_000)]
    rest = [sample - done for sample in samples if sample > done]
    assert mean_output(forecast, done) == pytest.approx(sum(rest) / len(rest), rel=0.06)


@given(st.floats(0, 5000), st.floats(0.1, 500), st.floats(1.0, 4.0), st.integers(1, 4000))
def test_an_output_never_has_more_to_come_than_it_may(
    done: float, p50: float, ratio: float, most: int
) -> None:
    rest = mean_output(Forecast(p50, p50 * ratio, most), done)
    assert 0 <= rest <= max(0, most - done) + 1e-9 or done == 0


def test_one_slot_serves_the_line_one_after_another() -> None:
    assert starts_s(1, [10.0], [1.0, 2.0, 3.0]) == pytest.approx([10, 11, 13])


def test_a_free_slot_is_there_at_once_and_without_slots_there_is_no_time() -> None:
    assert starts_s(2, [10.0], [1.0])[0] == 0
    assert starts_s(0, [], [1.0]) == []


def test_the_first_of_many_slots_is_free_before_the_least_of_the_expected_times() -> None:
    draw = random.Random(1)
    expected = [10.0 + number for number in range(24)]
    truth = [
        min(time_s * 2.718281828 ** draw.gauss(-0.32, 0.8) for time_s in expected)
        for _ in range(5000)
    ]
    told = starts_s(24, expected, [1.0])[0]
    assert told == pytest.approx(sum(truth) / len(truth), rel=0.4)
    assert told < 8


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=60), st.integers(1, 20))
def test_nobody_overtakes_in_the_line(holds: list[float], capacity: int) -> None:
    times = starts_s(capacity, [5.0] * capacity, holds)
    assert times == sorted(times)


def test_a_sample_of_very_many_slots_gives_the_throughput_of_all() -> None:
    slots = 16 * SLOTS_SAMPLED
    times = starts_s(slots, [10.0] * slots, [10.0] * (3 * slots))
    assert times[-1] == pytest.approx(30.0, rel=0.25)


def ask(output: float, *, most: int = 10_000) -> Ask:
    return Ask("r", "u", "t", "person", 100, 0, Forecast(output, output * 1.01, most), 1e9)


def test_pace_is_what_requests_really_take_beside_as_many_others() -> None:
    pace, draw = Pace(0.01, 0.1), random.Random(1)
    for _ in range(300):
        running = draw.randint(1, 8)
        pace.learn(ask(100), Usage(100, 0, 100), 11.0 * (0.5 + 0.25 * running), running)
    for running in (1, 4, 8):
        expected_s = 11.0 * (0.5 + 0.25 * running)
        assert pace.at(running).hold_s(ask(100)) == pytest.approx(expected_s, rel=0.1)


def test_pace_is_never_less_beside_others_than_alone_nor_all_of_it_theirs() -> None:
    pace = Pace(0.01, 0.1)
    for running in (8, 1) * 50:  # nonsense: the more there are the faster it goes
        pace.learn(ask(100), Usage(100, 0, 100), 11.0 / running, running)
    assert pace.at(8).hold_s(ask(100)) >= pace.at(1).hold_s(ask(100)) > 0


def test_predictions_that_are_too_long_in_the_mean_are_corrected() -> None:
    pace = Pace(0.01, 0.1)
    for _ in range(300):
        pace.learn(ask(200), Usage(100, 0, 100), 11.0, 4.0)
    assert pace.at(4).hold_s(ask(200)) == pytest.approx(11.0, rel=0.1)


def test_what_is_learned_of_the_others_beside_is_not_corrected_twice() -> None:
    """A first crowd after quiet times: what it took once counted for the lengths as well."""
    pace = Pace(0.01, 0.1)
    for _ in range(40):
        pace.learn(ask(100), Usage(100, 0, 100), 11.0, 1.0)
    for _ in range(20):
        pace.learn(ask(100), Usage(100, 0, 100), 33.0, 4.0)
    assert pace.at(4).hold_s(ask(100)) == pytest.approx(33.0, rel=0.05)
    assert pace.at(1).hold_s(ask(100)) == pytest.approx(11.0, rel=0.15)


@given(
    st.lists(st.tuples(st.floats(1, 40), st.floats(0.01, 100)), max_size=60),
    st.floats(0, 100),
)
def test_there_is_a_pace_whatever_was_learned_also_when_all_workers_are_gone(
    seen: list[tuple[float, float]], running: float
) -> None:
    pace, asked = Pace(0.01, 0.05), ask(20)
    for beside, held_s in seen:
        pace.learn(asked, Usage(10, 0, 20), held_s, beside)
    then = pace.at(running)
    assert then.input_s > 0 < then.output_s
    assert then.remaining_s(asked, 0.0, 1.0) >= 0


def test_no_slot_at_all_is_no_faster_than_one_alone() -> None:
    """Below one request the line of times by concurrency once reached zero seconds."""
    pace, asked = Pace(0.01, 0.05), ask(20)
    for _ in range(20):
        for running in (1.0, 2.0, 3.0):
            pace.learn(asked, Usage(10, 0, 20), running, running)
    assert pace.at(0) == pace.at(1)
