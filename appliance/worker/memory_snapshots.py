"""Snapshots of conversations without a session, in memory only.

A program that brings its whole history with each request has a conversation too, but nothing of it
is kept here by name: its cells wait in memory until the next turn, and a newer turn, which begins
with all that the older one had, takes its place. They leave when they were not used for an hour,
the least recently used ones when there is no room, and all with the process.
"""

import threading
import time
from collections.abc import Callable

from appliance.worker.prefix import Tokens, begins_with
from appliance.worker.snapshot_format import Snapshot

KEPT_S = 3_600.0


class MemorySnapshots:
    """At most `bound_bytes` of cells. Any thread may call its methods."""

    def __init__(self, bound_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._bound_bytes = bound_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: list[tuple[float, Snapshot]] = []  # least recently used first

    @property
    def keeps(self) -> bool:
        return self._bound_bytes > 0

    def put(self, snapshot: Snapshot) -> None:
        """Takes the place of those whose tokens it has all; what alone has no room is not kept."""
        held = snapshot.cells.nbytes
        if held > self._bound_bytes:
            return
        with self._lock:
            kept = [
                (used_s, one)
                for used_s, one in self._fresh()
                if one.scope != snapshot.scope or not begins_with(snapshot.tokens, one.tokens)
            ]
            self._kept = [(self._clock(), snapshot)]
            for used_s, one in reversed(kept):
                held += one.cells.nbytes
                if held > self._bound_bytes:
                    break
                self._kept.insert(0, (used_s, one))

    def has(self, scope: str, tokens: Tokens) -> bool:
        """Whether all of these are kept already; then they count as used."""
        with self._lock:
            for number, (_, one) in enumerate(self._kept):
                if one.scope == scope and begins_with(one.tokens, tokens):
                    del self._kept[number]
                    self._kept.append((self._clock(), one))
                    return True
        return False

    def of(self, scope: str) -> list[Snapshot]:
        """Whatever is kept of a scope, never of the empty one."""
        with self._lock:
            self._kept = self._fresh()
            return [one for _, one in self._kept if scope and one.scope == scope]

    def forget(self, scope: str) -> None:
        """Nothing of a scope stays."""
        with self._lock:
            self._kept = [(used_s, one) for used_s, one in self._kept if one.scope != scope]

    def _fresh(self) -> list[tuple[float, Snapshot]]:
        since_s = self._clock() - KEPT_S
        return [(used_s, one) for used_s, one in self._kept if used_s >= since_s]
