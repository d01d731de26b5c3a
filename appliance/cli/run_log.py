"""The files that keep what a run writes to standard error where nobody reads it.

What is logged is in `logs/` as well; these have the words before that begins, and those of a crash.
So they stay small: one that is long is moved aside at a start, and begun anew while it is written.
"""

import io
import os
import sys
from pathlib import Path

DESKTOP_LOG = "desktop.log"
UI_LOG = "tui.log"
LOG_BYTES = 1_000_000


def move_aside(log: Path) -> None:
    """Before a start, when it is long."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))


def bound_errors(log: Path) -> None:
    """Keeps standard error short from now on, if it goes to the end of this file."""
    try:
        is_ours = os.path.samestat(os.fstat(2), log.stat())
    except OSError:
        return
    if is_ours:
        raw = io.FileIO(2, "w", closefd=False)
        sys.stderr = _Bounded(raw, encoding="utf-8", errors="backslashreplace", write_through=True)


class _Bounded(io.TextIOWrapper):
    def write(self, text: str) -> int:
        if os.fstat(self.fileno()).st_size > LOG_BYTES:
            os.ftruncate(self.fileno(), 0)
        return super().write(text)
