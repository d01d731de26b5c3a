"""What was found when a weight file was last hashed, kept beside it as `FILE.json`.

The record carries the size, time and inode the file had. While those agree, the outcome still
holds, so that a start costs a few system calls and not half a minute of hashing. It says both
which checksum was expected and which was found: a damaged file stays known as damaged.

A record is a cache and a promise, not a defence: whoever can write to the directory can write
records too. The directory is therefore private to its owner (see `files`).
"""

import contextlib
import os
from pathlib import Path

import msgspec

from models import files
from models.catalogue import Kind

MAX_BYTES = 64 << 10


class Record(msgspec.Struct, frozen=True):
    """The outcome of one full check of one file."""

    name: str
    kind: Kind
    expected_sha256: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    inode: int

    @property
    def sound(self) -> bool:
        return self.sha256 == self.expected_sha256

    def still_holds(self, found: os.stat_result) -> bool:
        """True while the file has the size, time and inode it had when it was hashed."""
        now = (found.st_size, found.st_mtime_ns, found.st_ino)
        return now == (self.size_bytes, self.mtime_ns, self.inode)


def record_of(
    found: os.stat_result, *, name: str, kind: Kind, expected_sha256: str, sha256: str
) -> Record:
    """A record of the file that had the status `found` before it was hashed."""
    return Record(
        name=name,
        kind=kind,
        expected_sha256=expected_sha256,
        sha256=sha256,
        size_bytes=found.st_size,
        mtime_ns=found.st_mtime_ns,
        inode=found.st_ino,
    )


def beside(path: Path) -> Path:
    """Where the record of the file at `path` is kept."""
    return path.with_name(f"{path.name}.json")


def read(path: Path) -> Record | None:
    """The record of the file at `path`; None where there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError), beside(path).open("rb") as file:
        return msgspec.json.decode(file.read(MAX_BYTES), type=Record)
    return None


def write(path: Path, record: Record) -> None:
    """Keep the record. Where the directory is read-only, the next check hashes again."""
    part = files.part_of(beside(path))
    with contextlib.suppress(PermissionError):
        with files.open_private(part) as file:
            file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        files.publish(part, beside(path))
