"""How a file gets into the directory of weights: one writer, room for it, whole or not at all.

A weight is written under a `.part` name, checked, flushed and then renamed, so the final name
never shows a torn or wrong file, whatever dies in between. A lock file per weight keeps two
pulls of the same file apart, also across processes; it ends with its process, so nothing has to
be cleaned up after a crash. Files are for their owner only.

Links are refused where weights are read: a link could point the native parser at a file that
nobody checked.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from io import BufferedReader, BufferedWriter, FileIO
from pathlib import Path

from appliance.errors import Conflict, Invalid, NotFound, Unavailable

Progress = Callable[[int, int], None]
"""Called with the bytes that are here and the bytes there will be."""

CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 64 << 20  # left free, so that logs and databases beside us can still write
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def part_of(target: Path) -> Path:
    """Where the bytes of `target` gather until they are complete."""
    return target.with_name(f"{target.name}.part")


def staging_of(target: Path) -> Path:
    """The directory where what `target` is put together from gathers."""
    return target.with_name(f".{target.name}.staging")


def private_directory(directory: Path) -> Path:
    """Create `directory` for its owner only. One that others may write to is Invalid."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & stat.S_IWOTH:
        raise Invalid(
            f"Anybody on this machine may change the weights in {directory}.",
            hint=f"run `chmod 700 {directory}`, or choose another directory",
            reason="weights_open_to_all",
            facts={"directory": directory},
        )
    return directory


def open_regular(path: Path) -> "BufferedReader[FileIO]":
    """Open a regular file for reading. Raises NotFound, or Invalid for links and devices."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(
            f"There is no file {path}.",
            hint="check the path",
            reason="no_file",
            facts={"path": path},
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Invalid(
                f"{path} is a link; weights are only read from real files.",
                hint="give the path the link points to, or move the file itself here",
                reason="linked_file",
                facts={"path": path},
            ) from None
        raise Unavailable(
            f"{path} cannot be read: {error.strerror}.",
            hint="check its permissions",
            reason="file_unread",
            facts={"why": f"{path}: {error.strerror}"},
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid(
            f"{path} is not a file.",
            hint="give the path of a GGUF file",
            reason="not_a_file",
            facts={"path": path},
        )
    return BufferedReader(FileIO(descriptor, "rb"), CHUNK_BYTES)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a whole regular file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_room(directory: Path, needed_bytes: int) -> None:
    """Raises Unavailable, naming needed and free bytes, unless so much can be written there."""
    free_bytes = shutil.disk_usage(directory).free
    if needed_bytes + RESERVE_BYTES > free_bytes:
        raise _no_room(directory, needed_bytes, free_bytes)


@contextlib.contextmanager
def no_room_is_told(directory: Path, needed_bytes: int) -> Iterator[None]:
    """Turn a full disk, a quota or a file size bound met while writing into Unavailable."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise _no_room(directory, needed_bytes, shutil.disk_usage(directory).free) from None


@contextlib.contextmanager
def only_writer(directory: Path, file: str) -> Iterator[None]:
    """Hold the lock on writing `file`. Raises Conflict at once when another process has it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(private_directory(directory) / f".{file}.lock", flags, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"{file} is being fetched by another process.",
                hint="wait until it is done; `sluice models list` shows it",
                reason="being_fetched",
            ) from None
        yield
    finally:
        os.close(descriptor)  # gives the lock back


def open_private(path: Path, *, append: bool = False) -> BufferedWriter:
    """Open `path` for writing, readable for its owner only; emptied unless `append`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    flags |= os.O_APPEND if append else os.O_TRUNC
    return BufferedWriter(FileIO(os.open(path, flags, 0o600), "wb"), CHUNK_BYTES)


def publish(part: Path, target: Path) -> None:
    """Give a finished `part` its final name, so that it also survives a power cut."""
    os.chmod(part, 0o600)
    _flush(part)
    os.replace(part, target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_room(directory: Path, needed_bytes: int, free_bytes: int) -> Unavailable:
    return Unavailable(
        f"No room in {directory}: {needed_bytes:,} bytes are needed, {free_bytes:,} are free.",
        hint="free some space, or set `models.directory` to a larger disk",
        reason="disk",
        facts={"need": f"{needed_bytes / 1e9:.1f}", "free": f"{free_bytes / 1e9:.1f}"},
    )
