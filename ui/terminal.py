"""Owns the terminal's file descriptors while the UI runs.

Nothing but the UI may write on the terminal, and libraries write to descriptor 2 behind Python's
back. So descriptor 2 points to the log while the UI runs, and Textual, which draws through
standard error, is given its own duplicate of the terminal.
"""

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def at_hangup(leave: Callable[[], object]) -> Iterator[None]:
    """Calls `leave` when the terminal is closed, instead of dying of it; inside an event loop.

    Once it is closed, no second signal interrupts what ends in order.
    """
    if sys.platform == "win32":
        yield
        return
    loop, is_closed = asyncio.get_running_loop(), False

    def closed() -> None:
        nonlocal is_closed
        is_closed = True
        leave()

    loop.add_signal_handler(signal.SIGHUP, closed)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        if is_closed:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


class _Screen(io.TextIOWrapper):
    """Drawing on a terminal that is gone does nothing: the thread that draws must not die of it,
    for the app would wait for it for ever."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            super().flush()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


def driver_class() -> "type[Driver] | None":
    """A driver that draws on a duplicate of standard output; None means Textual's own."""
    if sys.platform == "win32":
        return None  # Textual draws through standard output there
    from textual.drivers.linux_driver import LinuxDriver

    class TerminalDriver(LinuxDriver):
        """Textual's driver on a descriptor of its own."""

        def __init__(self, *args: Any, **options: Any) -> None:  # Any: passed on as given
            super().__init__(*args, **options)
            self._screen = _Screen(os.fdopen(os.dup(1), "wb"), encoding="utf-8")
            self._file = self._screen

        def close(self) -> None:
            super().close()
            self._screen.close()

    return TerminalDriver
