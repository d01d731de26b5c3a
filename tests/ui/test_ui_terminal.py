"""The program on a real (pseudo) terminal: what it writes there, and how it starts and ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pty_terminal import Terminal
from stub_api import KEY, NOW_MS, StubApi

from appliance.errors import EXIT_INTERNAL, EXIT_OK, EXIT_USAGE
from appliance.schema.answers import Match
from appliance.schema.conversations import Turn
from ui.terminal import stderr_in

pytestmark = pytest.mark.ui

EVIL = (
    "[/] \x1b]52;c;aGk=\x07\x1b]0;owned\x07\x9b2J\x1b[2J\x1bPq\x1b\\\x1b_x\x1b\\\x9d0;t\x9c\u202eX"
)
STRINGS = re.compile(rb"\x1b[\]PX^_][^\x07\x1b]{0,40}")
ERASES = re.compile(rb"\x1b\[[0-9;]*[JKST]")
C1 = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae\x8e\x8f]|\xe2\x81[\xa6-\xa9]")


def program(url: str, log: Path, *, before: str = "") -> str:
    return (
        f"import sys; from pathlib import Path; from ui.app import run; {before}\n"
        f"sys.exit(run({url!r}, {KEY!r}, log_file=Path({str(log)!r})))"
    )


def fill(api: StubApi, text: str) -> None:
    """Puts `text` everywhere where a text from outside can stand."""
    match = Match(
        id="e-1",
        question=text,
        phrasing=text,
        answer=text,
        category=text,
        language=text,
        score=0.5,
    )
    turn = Turn(
        id="r-1",
        created_at_ms=NOW_MS,
        question=text,
        answer=f"# {text}\n\n{text}\n\n```\n{text}\n```\n\n|{text}|\n|---|\n|{text}|\n",
        state="done",
        matches=(match,),
    )
    api.add_session(text, turn)
    api.add_entry(text, text, category=text, phrasings=(text,))
    api.is_ready, api.checks = False, {text: text}


def written(api: StubApi, log: Path) -> bytes:
    """All bytes of a walk through every screen."""
    with Terminal(program(api.url, log)) as terminal:
        terminal.read_until(b"Not ready yet")
        terminal.read_until(b"2025-11")  # the session stands in the list
        terminal.press(b"\x1b[1;5B")  # ctrl+down: the first session
        terminal.read_until(b"From the FAQ")
        terminal.press(b"\x1bOR")  # F3
        terminal.read_until(b"Entries: 1")
        terminal.press(b"\r")
        terminal.read_until(b"Edit entry")
        terminal.press(b"\x1b[27u")  # escape, as the kitty protocol reports it
        terminal.read_until(b"Entries: 1")
        terminal.press(b"\x1bOS")  # F4
        terminal.read_until(b"Processes")
        terminal.press(b"\x11")  # ctrl+q
        assert terminal.wait() == EXIT_OK
        return terminal.output


def test_hostile_text_adds_no_sequence_to_what_the_program_writes(tmp_path: Path) -> None:
    with StubApi() as api:
        fill(api, "harmless X")
        baseline = written(api, tmp_path / "log")
    with StubApi() as api:
        fill(api, EVIL)
        hostile = written(api, tmp_path / "log")
    assert set(STRINGS.findall(hostile)) <= set(STRINGS.findall(baseline))
    assert set(ERASES.findall(hostile)) <= set(ERASES.findall(baseline))
    assert C1.findall(hostile) == []
    assert b"owned" not in hostile
    assert (tmp_path / "log").read_bytes() == b""


def test_keys_that_come_in_one_burst_are_taken_in_order(tmp_path: Path) -> None:
    with StubApi() as api:
        fill(api, "harmless")
        with Terminal(program(api.url, tmp_path / "log")) as terminal:
            terminal.read_until(b"Not ready yet")
            terminal.press("怎么办？\nsecond line\r".encode())
            terminal.read_until(b"sent")
            terminal.press(b"\x11")
            assert terminal.wait() == EXIT_OK
        question = api.turns[list(api.sessions)[-1]][0].question
        assert question == "怎么办？\nsecond line"


def test_noise_on_standard_error_goes_to_the_log(tmp_path: Path) -> None:
    noise = (
        "import os, ui.app as a\n"
        "class Loud(a.SluiceApp):\n"
        "    def on_ready(self): os.write(2, b'NOISE from a library')\n"
        "a.SluiceApp = Loud\n"
    )
    log = tmp_path / "log"
    with StubApi() as api:
        fill(api, "harmless")
        with Terminal(program(api.url, log, before=f"exec({noise!r})")) as terminal:
            terminal.read_until(b"Not ready yet")
            terminal.press(b"\x11")
            assert terminal.wait() == EXIT_OK
    assert b"NOISE" not in terminal.output
    assert log.read_bytes() == b"NOISE from a library"
    assert log.stat().st_mode & 0o777 == 0o600


def test_a_mistake_of_our_own_leaves_a_clean_terminal_and_no_secret_in_the_log(
    tmp_path: Path,
) -> None:
    broken = (
        "import ui.screens.chat as c\n"
        "def fail(self):\n"
        "    secret = 'what was asked'\n"
        "    raise RuntimeError('a mistake')\n"
        "c.ChatScreen.on_link_restored = fail\n"
    )
    log = tmp_path / "log"
    with (
        StubApi() as api,
        Terminal(program(api.url, log, before=f"exec({broken!r})")) as terminal,
    ):
        assert terminal.wait() == EXIT_INTERNAL
    last = terminal.output.rsplit(b"\x1b", 1)[1]
    assert b"The terminal UI stopped" in last
    assert str(log).encode() in last
    text = log.read_text(encoding="utf-8")
    assert "RuntimeError: a mistake" in text
    assert "what was asked" not in text
    assert KEY not in text


def test_without_a_terminal_it_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program("http://127.0.0.1:1", tmp_path / "log")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LC_ALL": "C"},
    )
    assert done.returncode == EXIT_USAGE
    assert done.stdout == ""
    assert "needs a terminal" in done.stderr


def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with Terminal(program("ftp://nowhere", tmp_path / "log")) as terminal:
        assert terminal.wait() == EXIT_USAGE
    assert b"'ftp://nowhere' cannot be used" in terminal.output


def test_standard_error_comes_back(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    with stderr_in(log):
        os.write(2, b"inside")
    os.write(2, b"outside")
    assert log.read_bytes() == b"inside"
    assert capfd.readouterr().err == "outside"
    with stderr_in(None):
        os.write(2, b"nowhere")
    assert capfd.readouterr().err == ""


def test_a_terminal_that_is_closed_is_left_in_order(api: StubApi, tmp_path: Path) -> None:
    ended = tmp_path / "ended"
    code = (
        "import os, signal; from pathlib import Path; from ui.app import run\n"
        f"status = run({api.url!r}, {KEY!r}, log_file=Path({str(tmp_path / 'log')!r}))\n"
        "os.kill(os.getpid(), signal.SIGHUP)  # the shell sends one more\n"
        f"Path({str(ended)!r}).write_text(str(status))\n"
    )
    with Terminal(code) as terminal:
        terminal.read_until(b"ready")
        terminal.hang_up()
        assert terminal.program.wait(30) == EXIT_OK
        assert ended.read_text() == str(EXIT_OK)
