"""Writes snapshots on a thread of its own, so that a slow disk never stops an answer.

What waits is bounded by count and bytes, because each waiting snapshot is a copy of cache cells
in memory. When there is no room the oldest waiting one is given up: it is the one whose session
was left first. A newer snapshot of a session replaces its waiting older one. Erasing a session
takes its place in the same line, after everything that was handed over before it.
"""

import logging
import threading
from collections import OrderedDict

from appliance.worker.snapshot_format import Snapshot
from appliance.worker.snapshots import Snapshots

log = logging.getLogger(__name__)

WAITING_SNAPSHOTS = 8
WAITING_BYTES = 512_000_000


class SnapshotWriter:
    """Owns the writing side of a directory. Any thread may call its methods."""

    def __init__(self, snapshots: Snapshots) -> None:
        self._snapshots = snapshots
        self._changed = threading.Condition()
        # By session, oldest first; None is a session to erase.
        self._waiting: OrderedDict[str, Snapshot | None] = OrderedDict()
        self._busy = False
        self._being_written: Snapshot | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self.written = 0
        self.given_up = 0

    def start(self) -> None:
        self._thread.start()

    def save(self, snapshot: Snapshot) -> None:
        """Take a snapshot to write; never waits."""
        with self._changed:
            if self._waiting.pop(snapshot.session_id, snapshot) is None:
                self._waiting[snapshot.session_id] = None  # what is to be erased stays away
                return
            self._waiting[snapshot.session_id] = snapshot
            self._give_up_oldest()
            self._changed.notify_all()

    def forget(self, session_id: str) -> None:
        """Erase a session's snapshots, also one that waits or is being written."""
        with self._changed:
            self._waiting.pop(session_id, None)
            self._waiting[session_id] = None
            self._changed.notify_all()

    def unwritten(self, scope: str) -> list[Snapshot]:
        """A scope's snapshots that are on their way to the disk."""
        with self._changed:
            erased = {one for one, snapshot in self._waiting.items() if snapshot is None}
            found = [self._being_written, *self._waiting.values()]
        return [
            one
            for one in found
            if one is not None and one.scope == scope and one.session_id not in erased
        ]

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing waits any more. False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._waiting or self._busy), timeout_s)

    def close(self, timeout_s: float) -> None:
        """Write what waits, then end the thread."""
        self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy, self._being_written = False, None
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                session_id, snapshot = self._waiting.popitem(last=False)
                self._busy, self._being_written = True, snapshot
            try:
                if snapshot is None:
                    self._snapshots.forget(session_id)
                elif self._snapshots.write(snapshot):
                    self.written += 1
            except Exception:
                log.exception("the snapshots of a session could not be changed")

    def _give_up_oldest(self) -> None:
        """Keep the newest one whatever its size, and the others within the bounds."""
        waiting = [one for one in self._waiting.values() if one is not None]
        held = sum(one.cells.nbytes for one in waiting)
        for one in waiting[:-1]:
            if len(waiting) <= WAITING_SNAPSHOTS and held <= WAITING_BYTES:
                break
            waiting = waiting[1:]
            held -= one.cells.nbytes
            del self._waiting[one.session_id]
            self.given_up += 1
