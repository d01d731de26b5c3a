"""One appliance per data directory, and how others find the one that runs.

`lock` is held with flock for as long as the appliance lives: the kernel lets go whatever way the
process ends, so there is no stale lock to clean. `running.json` says where the running appliance
answers; it is locked as well, so a reader learns by trying that lock whether its writer lives,
without ever touching `lock` itself (a reader must not make a starting appliance believe that the
directory is taken). It is there as soon as connections are taken: who starts a second one while the
first is starting attaches to it.
"""

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import AlreadyRunning
from appliance.schema.fields import Record
from appliance.supervisor.directory import told_of_room

LOCK_NAME = "lock"
RUNNING_NAME = "running.json"
LOOK_EVERY_S = 0.05
ANSWERS_WITHIN_S = 30.0  # one that has just taken the data directory


class Running(Record, frozen=True, kw_only=True):
    """Where a running appliance answers. `started_at_ms` is Unix time in milliseconds."""

    pid: int
    url: str
    started_at_ms: int


@dataclass(frozen=True)
class Sighting:
    """What a data directory says about its appliance. `running` is None when absent."""

    state: Literal["running", "stale", "absent"]
    running: Running | None = None


class DataLock:
    """The exclusive right to a data directory, held until `release` or the end of the process."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self._directory = directory
        self._descriptor = descriptor
        self._announcement: int | None = None

    @classmethod
    def take(cls, directory: Path) -> "DataLock":
        """Raises AlreadyRunning naming the pid when another appliance holds the directory, and
        CannotBoot when its disk is full."""
        with told_of_room(directory):
            return cls._taken(directory)

    @classmethod
    def _taken(cls, directory: Path) -> "DataLock":
        descriptor = _open(directory / LOCK_NAME)
        if not _try_lock(descriptor, fcntl.LOCK_EX):
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise AlreadyRunning(
                f"{directory} is in use by the appliance with pid {pid or 'unknown'}",
                hint="attach to it, stop it, or choose another directory with --data",
                reason="already_running",
            )
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        with contextlib.suppress(FileNotFoundError):
            (directory / RUNNING_NAME).unlink()  # of an appliance that was killed
        return cls(directory, descriptor)

    def announce(self, running: Running) -> None:
        """Writes `running.json`, whole or not at all, readable by the owner only."""
        path = self._directory / RUNNING_NAME
        fresh = path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = _open(fresh)
        _try_lock(descriptor, fcntl.LOCK_EX)
        with open(descriptor, "wb", closefd=False) as file:  # a full disk takes half of a write
            file.write(msgspec.json.encode(running))
        os.fsync(descriptor)
        fresh.rename(path)
        self._withdraw(descriptor)

    def release(self) -> None:
        """Removes `running.json` and lets go. Safe to repeat."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(FileNotFoundError):
            (self._directory / RUNNING_NAME).unlink()
        self._withdraw(None)
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1

    def _withdraw(self, successor: int | None) -> None:
        if self._announcement is not None:
            os.close(self._announcement)
        self._announcement = successor


def sight(directory: Path) -> Sighting:
    """Whether an appliance runs on this data directory, and where it answers."""
    try:
        descriptor = os.open(directory / RUNNING_NAME, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return Sighting("absent")
    try:
        content = os.read(descriptor, 65_536)
        lives = not _try_lock(descriptor, fcntl.LOCK_SH)
        return Sighting("running" if lives else "stale", msgspec.json.decode(content, type=Running))
    except msgspec.DecodeError:
        return Sighting("stale")
    finally:
        os.close(descriptor)


def awaited(directory: Path, timeout_s: float = ANSWERS_WITHIN_S) -> Running | None:
    """The appliance that another process is starting here, once it takes connections; None when
    it does not by then."""
    deadline_s = time.monotonic() + timeout_s
    while (seen := sight(directory)).state != "running":
        if time.monotonic() > deadline_s:
            return None
        time.sleep(LOOK_EVERY_S)  # a lock that is taken cannot be waited for
    return seen.running


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
