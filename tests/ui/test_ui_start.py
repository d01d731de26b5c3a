"""`sluice` on a terminal: the UI opens while the appliance it has started is still loading."""

import contextlib
import time
from pathlib import Path

import psutil
import pytest
from pty_terminal import DEADLINE_S, Terminal

from appliance.errors import EXIT_CANNOT_BOOT, EXIT_OK

pytestmark = pytest.mark.ui


def program(data: Path, model: str) -> str:
    words = ["sluice", "--data", str(data), "--port", "0", "--engine", "fake", "--model", model]
    return (
        f"import sys; sys.argv = {words!r}; from appliance.__main__ import main; sys.exit(main())"
    )


def worker_of(terminal: Terminal) -> psutil.Process:
    """The worker, as soon as there is one."""
    program = psutil.Process(terminal.program.pid)
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        for child in program.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "worker" in child.cmdline():
                    return child
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def test_a_question_can_be_asked_before_the_model_is_there(tmp_path: Path) -> None:
    with Terminal(program(tmp_path, "slow#load=3000"), columns=120) as terminal:
        worker = worker_of(terminal)
        worker.suspend()  # it loads for as long as this test wants
        terminal.read_until(b"The server is starting")
        for question in (b"Which language", b"Which model", b"What should it know", b"Your key"):
            terminal.read_until(question)
            terminal.press(b"\x1b[27u")  # escape, as the kitty protocol reports it
        terminal.read_until(b"Ask a question")
        terminal.press(b"hello there\r")
        terminal.read_until(b"hello there")
        worker.resume()
        terminal.read_until(b"\xe2\x97\x8f ready")
        terminal.read_until(b"tokens/s")
        terminal.press(b"\x11")
        assert terminal.wait() == EXIT_OK


def test_the_ui_leaves_when_the_start_fails_and_says_why(tmp_path: Path) -> None:
    with Terminal(program(tmp_path, "bad#load=3000#broken"), columns=120) as terminal:
        terminal.read_until(b"\x1b[?1049h")
        assert terminal.wait() == EXIT_CANNOT_BOOT
        left = terminal.output.rpartition(b"\x1b[?1049l")[2]
    assert b"the appliance did not start" in left
    assert b"the model bad is broken" in left
