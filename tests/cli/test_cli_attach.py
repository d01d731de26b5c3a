"""Opening the UI while another start is under way: it attaches instead of starting a second one."""

import asyncio
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.backup.layout import settings_of
from appliance.cli.attach import _Started, keep_theme
from appliance.errors import SluiceError
from appliance.settings import FILE_NAME
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import DataLock, Running, sight

pytestmark = pytest.mark.integration

TIMEOUT_S = 90.0
DRAWN = b"\x1b[?1049h"  # the UI has taken the screen over


class Screen:
    """A command on a pseudo-terminal."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "--data", str(data), *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | {"TERM": "xterm-256color", "SLUICE_WINDOW": ""},
            start_new_session=True,
        )
        os.close(theirs)
        self.output = b""

    def read_until(self, wanted: bytes) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while wanted not in self.output:
            ready, _, _ = select.select([self._ours], [], [], deadline_s - time.monotonic())
            try:
                piece = os.read(self._ours, 65_536) if ready else b""
            except OSError:  # how the end of a terminal's program is told
                piece = b""
            assert piece, f"never shown: {wanted!r} in {self.output!r}"
            self.output += piece

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextmanager
def screen(data: Path, *arguments: str) -> Iterator[Screen]:
    made = Screen(data, *arguments)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = prepare_data_directory(tmp_path / "data")
    (made / "admin.key").write_text("sk-sluice-" + "x" * 30)
    return made


def await_words(file: Path, words: str, process: "subprocess.Popen[bytes]") -> None:
    while not (file.exists() and words in file.read_text()):
        assert process.poll() is None, file.read_text() if file.exists() else "no words"


def test_it_is_announced_as_soon_as_connections_are_taken(data: Path) -> None:
    command = [sys.executable, "-m", "appliance", "serve", "--early", "--data", str(data)]
    process = subprocess.Popen(
        [*command, "--engine", "fake", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        word, _, url = process.stdout.readline().strip().partition(" ")
        seen = sight(data)
        assert (word, seen.state) == ("serving", "running")
        assert seen.running is not None
        assert seen.running.url == url
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


@pytest.mark.parametrize(
    ("first", "said", "status"),
    [("ready http://x", "has ended", 70), ("nothing more", "did not start", 70)],
)
async def test_the_ui_of_an_appliance_that_ended_leaves_with_its_last_words(
    tmp_path: Path, first: str, said: str, status: int
) -> None:
    log = tmp_path / "log"
    script = f"echo serving http://x; echo {first}; read go; echo its words >&2; exit {status}"
    with (
        log.open("wb") as sink,
        subprocess.Popen(
            ["sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            bufsize=0,
        ) as process,
    ):
        started = _Started(process, log)
        assert started.serving() == "http://x"
        ended = asyncio.create_task(started.ended())
        _, waits = await asyncio.wait([ended], timeout=0.2)
        assert waits, "it is left only when the appliance has ended"
        started.require()
        assert process.stdin is not None
        process.stdin.write(b"\n")
        await ended
        with pytest.raises(SluiceError, match=f"{said}:\nits words") as left:
            started.require()
    assert left.value.exit_status == status


def test_a_ui_that_loses_the_race_attaches_to_the_winner(data: Path) -> None:
    lock = DataLock.take(data)
    (data / "tui.log").write_bytes(b"x" * 2_000_000)
    try:
        with screen(data, "--engine", "fake", "--port", "0") as shown:
            await_words(data / "tui.log", "in use by", shown.process)
            lock.announce(Running(pid=os.getpid(), url="http://127.0.0.1:9", started_at_ms=1))
            shown.read_until(DRAWN)
        assert (data / "tui.1.log").stat().st_size == 2_000_000, "the log of earlier starts"
        assert (data / "tui.log").stat().st_size < 100_000
        assert "正在启动".encode() in shown.output
    finally:
        lock.release()


def test_the_theme_of_the_ui_is_kept_in_the_settings_of_this_machine(data: Path) -> None:
    assert settings_of(data).ui.theme == "dark"
    keep_theme(data, "light")
    assert settings_of(data).ui.theme == "light"
    (data / FILE_NAME).write_text("[ui")
    keep_theme(data, "dark")  # what cannot be written stays as it is
    assert (data / FILE_NAME).read_text() == "[ui"
