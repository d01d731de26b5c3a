"""A process that is aborted leaves its mark; one that ends in any other way leaves none."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.worker.abort_mark import forget_marks

pytestmark = pytest.mark.unit

LIFE = """
import os, sys
from pathlib import Path
from appliance.worker.abort_mark import AbortMark
print(AbortMark(Path(sys.argv[1])).is_set, flush=True)
"""
ORDERLY = ""
OTHER_ENDS = [ORDERLY, "os._exit(1)", "os.kill(os.getpid(), 9)", "raise SystemExit(78)"]


def live(path: Path, end: str = ORDERLY) -> bool:
    """A life that ends so; returns whether it found a mark."""
    command = [sys.executable, "-c", LIFE + end, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return {"True\n": True, "False\n": False}[said]


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV, signal.SIGILL])
def test_all_later_lives_know_of_an_abort_until_it_is_forgotten(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "aborts" / "worker-0"
    assert not live(path, f"os.kill(os.getpid(), {number:d})")
    assert live(path)
    assert live(path)
    forget_marks(path.parent)
    assert not live(path)


@pytest.mark.parametrize("end", OTHER_ENDS)
def test_no_other_end_leaves_a_mark(tmp_path: Path, end: str) -> None:
    path = tmp_path / "aborts" / "worker-0"
    assert not live(path, end)
    assert not live(path)
