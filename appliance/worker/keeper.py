"""What of the cache goes to disk and what comes back, decided on the engine thread.

A session's cells are saved when they are taken away for others, when the engine has been idle for
a moment, and at the end of the process; so a process that is killed costs little. They are looked
for when a request comes whose beginning the cache does not hold. Only the copy out of the cache
and into it happens on the engine thread; files are the `archive`'s.

Saved is what is worth it: somebody's text, and more of it than a few lines. What belongs to no
session is kept in memory when it leaves, and ends with the process.
"""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from appliance.worker.actions import Leave, Restore
from appliance.worker.archive import Archive, Found, Search
from appliance.worker.backend import Backend
from appliance.worker.prefix import Owner, PrefixTree, Tokens
from appliance.worker.schedule import SHARED_AT_LEAST, Scheduler
from appliance.worker.sequence import Sequence
from appliance.worker.snapshot_format import Snapshot

log = logging.getLogger(__name__)

IDLE_S = 1.0  # an engine that has had nothing to do for so long saves
WORTH_TOKENS = 64  # private ones; less is computed again sooner than it is kept
LAST_SAVES_S = 4.0  # for everything that is not on disk when the engine ends
MARKS_KEPT = 4_096
FOUND_BYTES = 512_000_000  # copies of cells that wait for their requests to start


class Keeper:
    """Saves and restores for one engine; without an archive it does neither."""

    def __init__(self, backend: Backend, scheduler: Scheduler, archive: Archive | None) -> None:
        self._backend = backend
        self._scheduler = scheduler
        self._archive = archive if backend.facts.can_share else None
        self._unsaved: OrderedDict[int, None] = OrderedDict()  # idle sequences, oldest first
        self._marks: OrderedDict[str, int] = OrderedDict()  # by session: what is on disk of it
        self._found: dict[str, Found] = {}

    @property
    def _tree(self) -> PrefixTree:
        return self._scheduler.tree

    @property
    def has_unsaved(self) -> bool:
        return self._archive is not None and bool(self._unsaved)

    def start(self, deliver: Callable[[Found], None]) -> None:
        if self._archive is not None:
            self._archive.start(deliver)

    # --- restoring ----------------------------------------------------------------------------

    def search(self, sequence: Sequence, owner: Owner) -> bool:
        """Look for a snapshot, if one could help; its `Found` will be delivered then."""
        if self._archive is None or not owner.scope:
            return False
        wanted = sequence.tokens[:-1]  # one stays to compute
        match = self._tree.match(np.asarray(wanted, dtype=np.int32), owner)
        at_least = (match.tokens if match else 0) + SHARED_AT_LEAST
        if len(wanted) < at_least:
            return False
        self._archive.search(
            Search(
                request_id=sequence.request_id,
                scope=owner.scope,
                tokens=wanted,
                at_least=at_least,
            )
        )
        return True

    def take(self, found: Found) -> int:
        """Keep what was found until its request starts. Returns how many tokens it has.

        What has no room beside those that wait already is computed anew.
        """
        if found.snapshot is None:
            return 0
        waiting = [one.snapshot for one in self._found.values() if one.snapshot is not None]
        held_bytes = sum(one.cells.nbytes for one in waiting)
        if waiting and held_bytes + found.snapshot.cells.nbytes > FOUND_BYTES:
            return 0
        self._found[found.request_id] = found
        return found.tokens

    def restore(self, restore: Restore) -> int:
        """Put the cells into the request's sequence. Returns how many tokens that holds then."""
        found = self._found.pop(restore.request_id, None)
        if found is None or found.snapshot is None:
            return 0
        snapshot = found.snapshot
        if not self._backend.restore(restore.sequence, snapshot.cells, tokens=restore.tokens):
            return 0
        if snapshot.session_id and restore.tokens == len(snapshot.tokens):
            self._mark(snapshot.session_id, snapshot.tokens)
        return restore.tokens

    def drop(self, request_id: str) -> None:
        """The request has ended or started."""
        self._found.pop(request_id, None)

    # --- saving -------------------------------------------------------------------------------

    def parked(self, sequence: int) -> None:
        """A sequence became idle."""
        self._unsaved.pop(sequence, None)
        self._unsaved[sequence] = None

    def leave(self, leave: Leave) -> None:
        """Its cells are about to be taken away."""
        self._unsaved.pop(leave.sequence, None)
        self._save(leave.sequence, leave.owner, leave.tokens)

    def save_idle(self, interrupted: Callable[[], bool]) -> None:
        """Save idle sequences until somebody wants something."""
        while self._unsaved and not interrupted():
            self._save_oldest()

    def finish(self) -> None:
        """Save all that is worth it and end the archive's threads."""
        if self._archive is None:
            return
        deadline_s = time.monotonic() + LAST_SAVES_S
        while self._unsaved and time.monotonic() < deadline_s:
            self._save_oldest()
            self._archive.flush(deadline_s - time.monotonic())  # none is to push out another
        self._archive.close(max(0.0, deadline_s - time.monotonic()))

    def forget(self, session_id: str) -> None:
        """Nothing of the session stays on disk."""
        self._marks.pop(session_id, None)
        if self._archive is not None:
            self._archive.forget(session_id)

    def forget_scope(self, scope: str) -> None:
        """Nothing of a person stays in memory; sessions are forgotten by name."""
        if self._archive is not None:
            self._archive.forget_scope(scope)

    def _save_oldest(self) -> None:
        sequence, _ = self._unsaved.popitem(last=False)
        if sequence in self._tree.idle and self._tree.owner(sequence).session:
            tokens = self._tree.tokens(sequence)
            self._save(sequence, self._tree.owner(sequence), tokens)

    def _save(self, sequence: int, owner: Owner, tokens: Tokens) -> None:
        if self._archive is None or len(tokens) - owner.public_tokens < WORTH_TOKENS:
            return
        if owner.session and self._marks.get(owner.session) == _mark(tokens):
            return
        if not self._archive.wants(owner.scope, owner.session, tokens):
            return
        cells = self._backend.save(sequence)
        if cells is None:
            return
        if owner.session:
            self._mark(owner.session, tokens)
        self._archive.save(
            Snapshot(
                session_id=owner.session,
                scope=owner.scope,
                public_tokens=owner.public_tokens,
                tokens=tokens,
                cells=cells,
            )
        )

    def _mark(self, session_id: str, tokens: Tokens) -> None:
        self._marks.pop(session_id, None)
        self._marks[session_id] = _mark(tokens)
        if len(self._marks) > MARKS_KEPT:
            self._marks.popitem(last=False)


def _mark(tokens: Tokens) -> int:
    """A number that tells two token lists apart."""
    return hash(tokens.tobytes())
