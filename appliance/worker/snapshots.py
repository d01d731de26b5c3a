"""The snapshots of one directory: cache cells that outlive the process that computed them.

There is one file per session and model; the newest replaces the older one by an atomic rename.
All workers that see the directory share it without talking to each other: every file proves by
itself what it is, and a file that vanished meanwhile is no error. File names are hashes, so
neither a session nor a person can be read off them, and no id becomes a path.

A snapshot is a cache, never the truth: whatever is wrong with a file or with the disk costs a
prefill and a line in the log, and no answer. A file that does not verify is removed and counted.
The least recently used files leave when the bound is exceeded, and a disk that is nearly full is
left to the store, which needs it for what people wrote.
"""

import contextlib
import hashlib
import logging
import os
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from appliance.worker import snapshot_format
from appliance.worker.backend import Cells
from appliance.worker.prefix import common_length
from appliance.worker.snapshot_format import DamagedError, Label, Snapshot

log = logging.getLogger(__name__)

SUFFIX = ".kv"
PART_SUFFIX = ".part"  # a file being written; a crash may leave one, which ages like the others
FREE_BYTES_KEPT = 500_000_000
LABELS_KEPT = 256


@dataclass(frozen=True, slots=True)
class Match:
    """A file whose first `tokens` tokens are those that were asked for."""

    path: Path
    tokens: int


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size_bytes: int
    used_at_ns: int
    written_at_ns: int


class Snapshots:
    """The directory, as a worker with the model and build of `stamp` sees it.

    One object belongs to one thread; several of one directory need not know of each other.
    """

    def __init__(self, directory: Path, *, bound_bytes: int, stamp: str) -> None:
        self._directory = directory
        self._bound_bytes = bound_bytes
        self._stamp = stamp
        self._labels: OrderedDict[tuple[Path, int], Label] = OrderedDict()
        self._complained: set[str] = set()
        self.dropped = 0  # files that did not verify

    def write(self, snapshot: Snapshot) -> bool:
        """Store it in place of the session's older one. False when that was not possible."""
        label = snapshot.label(self._stamp)
        size = snapshot_format.size_bytes(label)
        if size > self._bound_bytes:
            return False
        name = file_name(snapshot.session_id, snapshot.scope, self._stamp)
        part = self._directory / f"{name}.{secrets.token_hex(4)}{PART_SUFFIX}"
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._trim(self._bound_bytes - size)
            if shutil.disk_usage(self._directory).free < size + FREE_BYTES_KEPT:
                self._complain("the disk is nearly full: no snapshots are written")
                return False
            with os.fdopen(
                os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as file:
                snapshot_format.write(file, label, snapshot.cells)
            part.replace(self._directory / f"{name}{SUFFIX}")
            self._trim(self._bound_bytes)
        except OSError as error:
            self._complain(f"no snapshot was written: {error.strerror}")
            with contextlib.suppress(OSError):
                part.unlink()
            return False
        return True

    def find(self, scope: str, tokens: Sequence[int]) -> Match | None:
        """The scope's snapshot with the longest common beginning with `tokens`, if any."""
        wanted = np.asarray(tokens, dtype=np.int32)
        best: Match | None = None
        for path, label in self._labels_of(scope):
            common = common_length(label.token_ids, wanted)
            if common > (best.tokens if best else 0):
                best = Match(path, common)
        return best

    def read(self, match: Match, scope: str, tokens: Sequence[int]) -> Snapshot | None:
        """The snapshot behind a match, verified again in every respect; None when it is not."""
        try:
            label, cells = snapshot_format.read(match.path)
            self._check(label, scope)
            with contextlib.suppress(OSError):  # a file that vanishes now has been read already
                self._mark_used(match.path)
        except DamagedError as error:
            self._drop(match.path, error)
            return None
        except FileNotFoundError:
            return None
        except OSError as error:
            self._complain(f"a snapshot cannot be read: {error.strerror}")
            return None
        wanted = np.asarray(tokens[: match.tokens], dtype=np.int32)
        if common_length(label.token_ids, wanted) < match.tokens:
            return None  # another worker has written a newer one that goes another way
        return _snapshot(label, cells)

    def forget(self, session_id: str) -> None:
        """Remove everything there is of a session."""
        erase(self._directory, session_id)

    def session_ids(self) -> set[str]:
        """Sessions that have a snapshot here, for any model; unreadable files are dropped."""
        labels = (self._label(file) for file in self._files() if file.path.suffix == SUFFIX)
        return {label.session_id for label in labels if label is not None}

    def _check(self, label: Label, scope: str) -> None:
        if label.stamp != self._stamp:
            raise DamagedError("it is of another model or build")
        if label.scope != scope:
            raise DamagedError("it is somebody else's")

    def _labels_of(self, scope: str) -> Iterator[tuple[Path, Label]]:
        """Readable labels of a scope's files for this model."""
        ending = _ending(scope, self._stamp) + SUFFIX
        for file in self._files():
            if file.path.name.endswith(ending):
                label = self._label(file)
                if label is not None and label.scope == scope and label.stamp == self._stamp:
                    yield file.path, label

    def _label(self, file: _File) -> Label | None:
        """A file's label, read once per version of the file."""
        key = (file.path, file.written_at_ns)
        label = self._labels.get(key)
        if label is None:
            try:
                label = snapshot_format.read_label(file.path)
            except DamagedError as error:
                self._drop(file.path, error)
                return None
            except OSError:
                return None
            self._labels[key] = label
            if len(self._labels) > LABELS_KEPT:
                self._labels.popitem(last=False)
        self._labels.move_to_end(key)
        return label

    def _files(self) -> list[_File]:
        """All files of the directory, those of other models and half-written ones included."""
        found = []
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):  # another worker has removed it
                        facts = entry.stat(follow_symlinks=False)
                        used_at_ns = max(facts.st_atime_ns, facts.st_mtime_ns)
                        path = self._directory / entry.name
                        found.append(_File(path, facts.st_size, used_at_ns, facts.st_mtime_ns))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._complain(f"the snapshots cannot be listed: {error.strerror}")
        return found

    def _trim(self, bound_bytes: int) -> None:
        """Remove the least recently used files until the rest fits."""
        files = sorted(self._files(), key=lambda file: file.used_at_ns)
        held = sum(file.size_bytes for file in files)
        for file in files:
            if held <= bound_bytes:
                break
            file.path.unlink(missing_ok=True)
            held -= file.size_bytes

    def _mark_used(self, path: Path) -> None:
        """Access time: when it was last used. Time of writing: which version it is."""
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def _drop(self, path: Path, reason: DamagedError) -> None:
        log.warning("a snapshot was dropped: %s", reason)
        self.dropped += 1
        with contextlib.suppress(OSError):
            path.unlink()

    def _complain(self, message: str) -> None:
        """Says each kind of trouble once: it may come back with every request."""
        if message not in self._complained:
            self._complained.add(message)
            log.warning("%s; answers go on without", message)


def erase(directory: Path, session_id: str) -> None:
    """Remove every file of a session, finished or not; needs no worker. Raises OSError."""
    beginning = _hash(session_id)
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(beginning):
                (directory / entry.name).unlink(missing_ok=True)


def file_name(session_id: str, scope: str, stamp: str) -> str:
    """The name without its suffix: a session's files share a beginning, a scope's an ending."""
    return _hash(session_id) + _ending(scope, stamp)


def _ending(scope: str, stamp: str) -> str:
    return f"-{_hash(scope)}-{_hash(stamp)}"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def _snapshot(label: Label, cells: Cells) -> Snapshot:
    return Snapshot(
        session_id=label.session_id,
        scope=label.scope,
        public_tokens=label.public_tokens,
        tokens=label.token_ids,
        cells=cells,
    )
