"""One snapshot as bytes: whose cache cells these are, for which tokens, and proof that they are.

    magic | length of label | label | digest | cells | digest

The label says everything that decides whether the cells may be used: the stamp of model and
build, the scope whose text it is, and every token. Both digests (BLAKE2b, 256 bits) cover all
bytes before them, so a label can be trusted before the cells behind it are read, and cells that
were written under another label cannot pass. The digests find accidents; whoever may write to
the directory owns the data anyway.
"""

import hashlib
import os
import struct
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.worker.backend import Cells

MAGIC = b"SLUICEK1"
LENGTH = struct.Struct("<I")
DIGEST_BYTES = 32
LABEL_BOUND_BYTES = 16_000_000


class DamagedError(Exception):
    """A snapshot that is not what it should be; the message says in what."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What the cells are: those of `tokens` (little-endian 32-bit), computed as `stamp` says.

    The first `public_tokens` tokens may be shown to everybody, the others to `scope` only.
    """

    stamp: str
    session_id: str
    scope: str
    public_tokens: int
    tokens: bytes
    cells_bytes: int

    @property
    def token_ids(self) -> NDArray[np.int32]:
        return np.frombuffer(self.tokens, dtype="<i4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Cache cells of one sequence, and the tokens they belong to."""

    session_id: str
    scope: str
    public_tokens: int
    tokens: NDArray[np.int32]
    cells: Cells

    def label(self, stamp: str) -> Label:
        return Label(
            stamp=stamp,
            session_id=self.session_id,
            scope=self.scope,
            public_tokens=self.public_tokens,
            tokens=self.tokens.astype("<i4").tobytes(),
            cells_bytes=self.cells.nbytes,
        )


def size_bytes(label: Label) -> int:
    """Bytes of the whole file."""
    return len(_head(label)) + label.cells_bytes + 2 * DIGEST_BYTES


def write(file: BinaryIO, label: Label, cells: Cells) -> None:
    """Raises OSError when the disk does."""
    head = _head(label)
    digest = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
    sealed = head + digest.digest()
    digest.update(digest.digest())
    digest.update(cells.data)
    file.write(sealed)
    file.write(cells.data)
    file.write(digest.digest())


def read_label(path: Path) -> Label:
    """The label alone, which is the file's beginning. Raises DamagedError, OSError."""
    with path.open("rb", buffering=0) as file:
        return _read_label(file)[0]


def read(path: Path) -> tuple[Label, Cells]:
    """All of a file, verified. Raises DamagedError, OSError."""
    with path.open("rb", buffering=0) as file:
        label, head = _read_label(file)
        # of the file that is open: another worker may put a newer one in its place meanwhile
        rest = os.fstat(file.fileno()).st_size - len(head)
        if rest != label.cells_bytes + DIGEST_BYTES:
            raise DamagedError("its length is wrong")
        cells = np.empty(label.cells_bytes, dtype=np.uint8)
        _read_into(file, cells.data)
        digest = hashlib.blake2b(head, digest_size=DIGEST_BYTES)
        digest.update(cells.data)
        if _read_exactly(file, DIGEST_BYTES) != digest.digest():
            raise DamagedError("its cells were changed")
    return label, cells


def _head(label: Label) -> bytes:
    body = msgspec.msgpack.encode(label)
    return MAGIC + LENGTH.pack(len(body)) + body


def _read_label(file: FileIO) -> tuple[Label, bytes]:
    """The label and the bytes that were read, its digest included."""
    start = _read_exactly(file, len(MAGIC) + LENGTH.size)
    if start[: len(MAGIC)] != MAGIC:
        raise DamagedError("it is no snapshot of this version")
    (length,) = LENGTH.unpack(start[len(MAGIC) :])
    if length > LABEL_BOUND_BYTES:
        raise DamagedError("its label cannot be that long")
    body = _read_exactly(file, length)
    digest = _read_exactly(file, DIGEST_BYTES)
    if hashlib.blake2b(start + body, digest_size=DIGEST_BYTES).digest() != digest:
        raise DamagedError("its label was changed")
    try:
        label = msgspec.msgpack.decode(body, type=Label)
    except msgspec.DecodeError as error:
        raise DamagedError(f"its label is of another version: {error}") from None
    if len(label.tokens) % 4 or label.cells_bytes < 0:
        raise DamagedError("its label contradicts itself")
    return label, start + body + digest


def _read_exactly(file: FileIO, count: int) -> bytes:
    room = bytearray(count)
    _read_into(file, memoryview(room))
    return bytes(room)


def _read_into(file: FileIO, room: memoryview) -> None:
    """Fill `room`: one read of an unbuffered file may bring less than was asked for."""
    done = 0
    while done < len(room):
        count = file.readinto(room[done:])
        if not count:
            raise DamagedError("it is cut off")
        done += count
