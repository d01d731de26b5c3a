"""Where warm conversations wait: sessions on disk, those without one in memory.

A thread reads snapshots and one writes them.

The engine thread asks and hands over; it never waits for a disk. Whatever goes wrong here, a
search is answered, if with nothing.
"""

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.worker.memory_snapshots import MemorySnapshots
from appliance.worker.prefix import Tokens, common_length
from appliance.worker.snapshot_format import Snapshot
from appliance.worker.snapshot_writer import SnapshotWriter
from appliance.worker.snapshots import Snapshots

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Wanted: a snapshot of `scope` that has at least so many of the first `tokens`."""

    request_id: str
    scope: str
    tokens: list[int]
    at_least: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The answer to a search: `tokens` of the `snapshot` are those that were asked for."""

    request_id: str
    snapshot: Snapshot | None
    tokens: int


class Archive:
    """One directory of snapshots for one engine, and `memory_bytes` for those without a session.

    `start` before anything else.
    """

    def __init__(
        self, directory: Path, *, bound_bytes: int, stamp: str, memory_bytes: int = 0
    ) -> None:
        # Two objects, for each belongs to one thread.
        self._reading = Snapshots(directory, bound_bytes=bound_bytes, stamp=stamp)
        writing = Snapshots(directory, bound_bytes=bound_bytes, stamp=stamp)
        self._writer = SnapshotWriter(writing)
        self._memory = MemorySnapshots(memory_bytes)
        self._searches: queue.SimpleQueue[Search | None] = queue.SimpleQueue()
        self._deliver: Callable[[Found], None] = lambda found: None
        self._thread = threading.Thread(target=self._run, name="snapshot-reader", daemon=True)

    def start(self, deliver: Callable[[Found], None]) -> None:
        """`deliver` gets the answers, on another thread."""
        self._deliver = deliver
        self._thread.start()
        self._writer.start()

    def search(self, search: Search) -> None:
        self._searches.put(search)

    def wants(self, scope: str, session_id: str, tokens: Tokens) -> bool:
        """Whether these are worth copying; nothing without an owner is kept."""
        if session_id:
            return True
        return bool(scope) and self._memory.keeps and not self._memory.has(scope, tokens)

    def save(self, snapshot: Snapshot) -> None:
        if snapshot.session_id:
            self._writer.save(snapshot)
        else:
            self._memory.put(snapshot)

    def forget(self, session_id: str) -> None:
        self._writer.forget(session_id)

    def forget_scope(self, scope: str) -> None:
        """Nothing of a person without a session stays; sessions are forgotten one by one."""
        self._memory.forget(scope)

    def flush(self, timeout_s: float) -> bool:
        """Wait for what was handed over to be on disk. False when that took too long."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float) -> None:
        self._searches.put(None)
        self._writer.close(timeout_s)

    def _run(self) -> None:
        while (search := self._searches.get()) is not None:
            try:
                found = self._answer(search)
            except Exception:
                log.exception("a search for a snapshot failed")
                found = Found(request_id=search.request_id, snapshot=None, tokens=0)
            self._deliver(found)

    def _answer(self, search: Search) -> Found:
        """The best of what is on disk, on its way there, and in memory."""
        wanted = np.asarray(search.tokens, dtype=np.int32)
        best, tokens = None, search.at_least - 1
        for snapshot in (*self._writer.unwritten(search.scope), *self._memory.of(search.scope)):
            common = common_length(snapshot.tokens, wanted)
            if common > tokens:
                best, tokens = snapshot, common
        match = self._reading.find(search.scope, search.tokens)
        if match and match.tokens > tokens:
            read = self._reading.read(match, search.scope, search.tokens)
            best, tokens = (read, match.tokens) if read else (best, tokens)
        return Found(
            request_id=search.request_id, snapshot=best, tokens=tokens if best is not None else 0
        )
