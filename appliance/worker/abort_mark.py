"""Remembers in a file that this worker's process was aborted, by a driver for example.

A driver that fails in the middle of a step ends the process; nothing in it can catch that. So the
runtime's own handler of fatal signals (`faulthandler`) writes its words into the file as the
process dies, and the life after this one finds them and leaves the GPU alone. `kill -9` and an
orderly end write nothing. The appliance forgets all marks when it starts.
"""

import faulthandler
import shutil
from pathlib import Path


class AbortMark:
    """One worker's file, kept open as long as the process lives."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self.is_set = path.stat().st_size > 0
        faulthandler.enable(self._file, all_threads=False)


def forget_marks(directory: Path) -> None:
    """Let every worker try again whatever it gave up."""
    shutil.rmtree(directory, ignore_errors=True)
