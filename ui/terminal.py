"""Owns the terminal's file descriptors while the UI runs.

Nothing but the UI may write on the terminal, and libraries write to descriptor 2 behind Python's
back. So descriptor 2 points to the log while the UI runs, and Textual, which draws through
standard error, is given its own duplicate of the terminal.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.driver import Driver


def has_terminal() -> bool:
    """Whether both standard input and standard output are a terminal."""
    streams = (sys.__stdin__, sys.__stdout__)
    return all(stream is not None and stream.isatty() for stream in streams)


@contextlib.contextmanager
def stderr_in(log_file: Path | None) -> Iterator[None]:
    """Sends descriptor 2 to `log_file` (None: nowhere), and back when the block ends."""
    target = os.fspath(log_file) if log_file is not None else os.devnull
    log = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        os.dup2(log, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(log)


def driver_class() -> "type[Driver] | None":
    """A driver that draws on a duplicate of standard output; None means Textual's own."""
    if sys.platform == "win32":
        return None  # Textual draws through standard output there
    from textual.drivers.linux_driver import LinuxDriver

    class TerminalDriver(LinuxDriver):
        """Textual's driver on a descriptor of its own."""

        def __init__(self, *args: Any, **options: Any) -> None:  # Any: passed on as given
            super().__init__(*args, **options)
            self._screen = os.fdopen(os.dup(1), "w", encoding="utf-8")
            self._file = self._screen

        def close(self) -> None:
            super().close()
            self._screen.close()

    return TerminalDriver
