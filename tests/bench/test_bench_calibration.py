"""The pure parts of the simulator's calibration: constants found again, a replay that is exact."""

import pytest
from calibration_bench.compared import Replay, full_rate, live, simulated, table
from calibration_bench.fit import Fit, Probes, Prompt, Shape, fit
from calibration_bench.live import Asked, planned
from hypothesis import given
from hypothesis import strategies as st

from appliance.simulator.constants import Constants

pytestmark = pytest.mark.unit

SHAPE = Shape(slots=8, step_tokens=512, gap_s=0.5, kv_tokens=16_384)
CPU = Constants(0.0145, 0.005, 0.009, 80, 8, 16_384)


@given(st.floats(0.001, 0.05), st.floats(0.0001, 0.02), st.floats(0.0001, 0.01))
def test_the_constants_that_made_the_times_are_found_again(
    step_s: float, output_s: float, input_s: float
) -> None:
    def prompt(tokens: int) -> Prompt:
        return Prompt(tokens, 0.02 + step_s + tokens * (input_s + step_s / 512))

    probes = Probes(
        step_s + output_s, step_s + 8 * output_s, 8, (prompt(40),) * 3, (prompt(600),) * 3
    )
    found = fit(probes, SHAPE)
    assert found.constants.step_s == pytest.approx(step_s, rel=1e-6)
    assert found.constants.output_s == pytest.approx(output_s, rel=1e-6)
    assert found.constants.input_s == pytest.approx(input_s, rel=1e-3)
    assert 16 <= found.constants.chunk_tokens <= 512
    assert found.around_s == pytest.approx(0.02, abs=40 * step_s / 512 + 1e-6)


def test_a_request_by_itself_takes_what_the_constants_say() -> None:
    asked = [Asked(0.0, "p", 100, 20, 50, 0.0, 0.0)]
    said = simulated(asked, Fit(CPU, around_s=0.03))
    assert said.first_p50_s == pytest.approx(0.03 + CPU.step_s + 80 * CPU.input_s, rel=0.01)
    decoding_s = 49 * (CPU.step_s + CPU.output_s)
    assert said.last_p50_s - said.first_p50_s == pytest.approx(decoding_s, rel=0.01)


def test_a_run_comes_at_its_rate_and_is_told_as_it_was() -> None:
    plans = planned(2.0, 300.0, 1)
    assert len(plans) == pytest.approx(600, rel=0.15)
    assert plans == planned(2.0, 300.0, 1)
    asked = [Asked(float(n), "p", 60, 10, 10, 0.5, 1.0) for n in range(9)]
    found = live(asked)
    assert found.tokens_per_s == pytest.approx(9 * 60 / 9.0)
    assert (found.first_p95_s, found.last_p50_s) == (0.5, 1.0)
    assert "| first word p50, s | 0.5 | 0.5 | 1.00 |" in table(found, found)
    assert len(list(Replay(asked).arrivals())) == 9
    assert full_rate(CPU) == pytest.approx(1.0, rel=0.7)
