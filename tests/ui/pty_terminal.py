"""A program on a terminal of its own (a pseudo-terminal), fed with keys and read byte by byte."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from typing import Self

from ui.texts import LOCALE_VARIABLES

DEADLINE_S = 30.0
_ENVIRONMENT = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_US.UTF-8"}


class Terminal:
    """Use it as a context manager; the program is killed at its end if it still runs."""

    def __init__(self, code: str, *, columns: int = 100, lines: int = 30) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in LOCALE_VARIABLES}
        self.program = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | _ENVIRONMENT,
            start_new_session=True,
        )
        os.close(theirs)
        self._ours = ours
        self.output = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self._ours)

    def press(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def read_until(self, wanted: bytes) -> None:
        """Reads until `wanted` has come since the last call."""
        start = len(self.output)
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.output[start:]:
            if not self._read(deadline - time.monotonic()):
                shown = self.output[start:][-2000:]
                raise AssertionError(f"the terminal never showed {wanted!r}: {shown!r}")

    def wait(self) -> int:
        """Reads to the end; returns the program's exit status."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline - time.monotonic()):
            pass
        return self.program.wait(DEADLINE_S)

    def hang_up(self) -> None:
        """Closes the terminal, as a person closes its window."""
        os.kill(self.program.pid, signal.SIGHUP)
        os.close(self._ours)
        self._ours = os.open(os.devnull, os.O_RDONLY)  # to be closed at the end

    def _read(self, timeout_s: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, timeout_s))
        if not ready:
            return False
        try:
            piece = os.read(self._ours, 65_536)
        except OSError:  # Linux says EIO when the other end is closed
            return False
        self.output += piece
        return bool(piece)
