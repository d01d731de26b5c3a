"""When compute threads spin briefly: the rule, and that the team it needs comes and goes."""

import ctypes
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.spinning import CROWDED_CORES, QUIET_CORES, QUIET_LOOKS, Crowd

pytestmark = pytest.mark.unit


def test_one_busy_program_makes_it_short_at_once_and_only_a_lasting_quiet_long_again() -> None:
    crowd = Crowd(spare_cores=0)
    assert not crowd.look(0.05)
    assert crowd.look(0.9)
    assert all(crowd.look(0.0) for _ in range(QUIET_LOOKS - 1))
    assert crowd.look(0.2), "a stir begins the count anew"
    assert all(crowd.look(0.0) for _ in range(QUIET_LOOKS - 1))
    assert not crowd.look(0.0)


@given(st.lists(st.floats(0, 8), max_size=40), st.integers(0, 8))
def test_what_fits_into_the_cores_we_leave_free_disturbs_nobody(
    others: list[float], spare: int
) -> None:
    crowd = Crowd(spare)
    for cores in others:
        crowded = crowd.look(cores)
        if cores > spare + 1.01 * CROWDED_CORES:
            assert crowded
    if all(cores < spare + 0.99 * CROWDED_CORES for cores in others):
        assert not crowd.crowded
    for _ in range(QUIET_LOOKS):
        crowd.look(spare + QUIET_CORES / 2)
    assert not crowd.crowded


TOGGLES = """
import threading
from appliance.worker import spinning
now = [0.0]
spin = spinning.Spinning(clock=lambda: now[0])
assert not spin.short
busy = [0.0]
spinning._busy_s = lambda: busy[0]
spin._busy_s = 0.0
now[0] += 1.0
busy[0] += 1.0
spin.look(threads=spin._cores, idle=True)
assert not spin.short, "an idle engine looks seldom"
for beat in range(20):
    now[0] += 1.0
    busy[0] += 1.0 if beat < 3 else 0.0
    spin.look(threads=spin._cores, idle=False)
    held = any(thread.name == "spinning" for thread in threading.enumerate())
    assert not spin.short or held
    if beat == 2:
        assert spin.short
assert not spin.short
for thread in threading.enumerate():
    if thread.name == "spinning":
        thread.join(10.0)
        assert not thread.is_alive()
"""


def test_the_team_comes_and_goes() -> None:
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        pytest.skip("this machine has no GNU OpenMP")
    done = subprocess.run(
        [sys.executable, "-c", TOGGLES], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
