"""Garbage is collected while nobody is at the keys.

Python looks for cycles of objects after so many were made, which is while something is shown. A few
open conversations are a million objects, and a look at all of them stops the screen for a tenth of
a second, on a slow machine for half a second. So Python does not look by itself here: what is new
is looked at once the keys have been still for a moment, and everything after many such looks.
Somebody who never pauses is interrupted before memory suffers.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

LOOK_S: Final = 2.0
STILL_S: Final = 1.0
NEW_OBJECTS: Final = 20_000
"""Fewer are not worth a look. A switch of the session makes half as many."""
MOST_NEW: Final = 500_000
"""So many are not left lying, whoever is at the keys: some 100 MB."""
LOOKS: Final = 30
"""Looks at what is new before one at everything; ten times as many, whoever is at the keys."""

Monotonic = Callable[[], float]


class Collector:
    """Decides when; `look` is called every `LOOK_S`."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._touched_s = monotonic()
        self._looks = 0

    def touched(self) -> None:
        """A key was pressed, or the mouse moved."""
        self._touched_s = self._monotonic()

    def look(self) -> None:
        """Collects what is due and does not disturb."""
        made, *_ = gc.get_count()
        is_still = self._monotonic() - self._touched_s >= STILL_S
        if made < (NEW_OBJECTS if is_still else MOST_NEW):
            return
        self._looks += 1
        if self._looks >= (LOOKS if is_still else 10 * LOOKS):
            self._looks = 0
            gc.collect()
        else:
            gc.collect(1)


@contextmanager
def by_hand() -> Iterator[None]:
    """Leaves collecting to a collector; what was imported until now is never looked at."""
    was_on = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_on:
            gc.enable()
