"""Reads a GGUF's header in pure Python and refuses what no sound file contains.

llama.cpp parses weights in native code, inside a process that also holds people's questions. A
crafted or torn file must therefore be refused before that parser sees it. This check walks the
whole header: mark, version, counts, string lengths, value types, tensor shapes, and that every
tensor lies inside the file, in order, aligned, without overlap. It reads no weights.

Work is bounded by the limits below, not by numbers in the file: a count is compared with the
bytes that are left before anything is done that many times. Every fault is `Invalid`.

The store asks before it takes a file in, a worker before it loads one; what the header says of
layers and heads tells both how much memory the model will need.

It does not prove that a model is a good one: only that its tables are what they claim to be.
Format: the GGUF specification, versions 2 and 3, and the limits of llama.cpp's own reader.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NoReturn

from appliance.errors import Invalid
from models.files import open_regular

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_HEADER_BYTES = 128 << 20  # the largest vocabularies in use need 20 MB
MAX_KEYS = 4096
MAX_TENSORS = 65_536
MAX_KEY_BYTES = 1024
MAX_NAME_BYTES = 63  # ggml keeps names in 64 bytes with a closing zero
MAX_STRING_BYTES = 8 << 20
MAX_KEPT_CHARACTERS = 4096  # longer values, such as chat templates, are walked but not kept
MAX_ELEMENTS = 16 << 20
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 16
BLOCK_BYTES = 1 << 20
DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<B",  # bool
    10: "<Q",
    11: "<q",
    12: "<d",
}
# ggml's tensor types: how many weights one block holds, and in how many bytes.
_BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 40),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
}

Scalar = int | float | str


@dataclass(frozen=True)
class Header:
    """What a sound GGUF says of itself. `values` has no arrays and no text beyond 4096 letters.

    `tensors` is the size of each in bytes, by name.
    """

    architecture: str
    tensor_count: int
    values: dict[str, Scalar]
    size_bytes: int
    tensors: dict[str, int] = field(default_factory=dict)

    def number(self, name: str, default: int = 0) -> int:
        """An integer of this model's architecture, e.g. `block_count`."""
        value = self.values.get(f"{self.architecture}.{name}")
        return int(value) if isinstance(value, int | float) else default

    @property
    def pools(self) -> bool:
        """True for a model that yields one vector per text, so serves as an embedding model."""
        return f"{self.architecture}.pooling_type" in self.values


@dataclass
class _Reader:
    file: BinaryIO
    size_bytes: int
    position: int = 0
    values: dict[str, Scalar] = field(default_factory=dict)

    @property
    def left_bytes(self) -> int:
        return min(self.size_bytes, MAX_HEADER_BYTES) - self.position

    def _need(self, count: int) -> None:
        if self.position + count > self.size_bytes:
            _refuse("it ends in the middle of its header")
        if self.position + count > MAX_HEADER_BYTES:
            _refuse(f"its header is longer than {MAX_HEADER_BYTES} bytes")

    def take(self, count: int) -> bytes:
        self._need(count)
        taken = self.file.read(count)
        if len(taken) != count:
            _refuse("it became shorter while it was read")
        self.position += count
        return taken

    def skip(self, count: int) -> None:
        self._need(count)
        self.file.seek(count, os.SEEK_CUR)
        self.position += count

    def skip_strings(self, count: int, key: str) -> None:
        """Block by block: a vocabulary has a quarter of a million, and every start looks at it."""
        block, at = b"", 0
        for _ in range(count):
            if at + 8 > len(block):  # the next length is not in the block, or not whole
                self._need(at + 8)
                self.skip(at)
                block, at = self.file.read(BLOCK_BYTES), 0
                self.file.seek(self.position)
                if len(block) < 8:
                    _refuse("it became shorter while it was read")
            (length,) = _LENGTH.unpack_from(block, at)
            if length > MAX_STRING_BYTES:
                _refuse(f"a string in the array {key[:64]!r} is {length} bytes long")
            at += 8 + length
        self.skip(at)

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self, what: str, high_bytes: int) -> str:
        length = self.u64()
        if length > high_bytes:
            _refuse(f"{what} is {length} bytes long, at most {high_bytes} are allowed")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            _refuse(f"{what} is not UTF-8")

    def scalar(self, kind: int) -> Scalar:
        layout = _SCALARS[kind]
        value: Scalar = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value


def precheck(path: Path) -> Header:
    """Raises Invalid unless `path` is a regular file, not a link, with a sound GGUF header."""
    with open_regular(path) as file:
        reader = _Reader(file, os.fstat(file.fileno()).st_size)
        try:
            return _check(reader)
        except Invalid as error:
            raise Invalid(
                f"{path.name}: {error.message}",
                hint=error.hint,
                reason="unsound_weights",
                facts={"file": path.name},
            ) from None


def _refuse(why: str) -> NoReturn:
    raise Invalid(
        f"this is not a sound GGUF file: {why}",
        hint="fetch the file again, or take another conversion of the model",
    )


def _check(reader: _Reader) -> Header:
    if reader.size_bytes < 24 or reader.take(4) != MAGIC:
        _refuse("it does not begin with the GGUF mark")
    version = reader.u32()
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS
        _refuse("it is big-endian" if swapped else f"its version {version} is not known")
    tensor_count = _count(reader, "tensors", MAX_TENSORS, 24)
    key_count = _count(reader, "metadata keys", MAX_KEYS, 13)
    keys: set[str] = set()
    for _ in range(key_count):
        key = reader.text("a metadata key", MAX_KEY_BYTES)
        if not key or key in keys:
            _refuse(f"its metadata key {key[:64]!r} is empty or comes twice")
        keys.add(key)
        _read_value(reader, key)
    architecture = reader.values.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        _refuse("it does not name its architecture")
    parts = reader.values.get("split.count", 0)
    if isinstance(parts, int) and parts > 1:
        _refuse(f"it is one of {parts} parts; join them with `llama-gguf-split --merge` first")
    tensors = _check_tensors(reader, tensor_count, _alignment(reader.values))
    return Header(architecture, tensor_count, reader.values, reader.size_bytes, tensors)


def _count(reader: _Reader, what: str, high: int, least_bytes: int) -> int:
    count = reader.u64()
    if count > high or count * least_bytes > reader.left_bytes:
        _refuse(f"it claims {count} {what}")
    return count


def _read_value(reader: _Reader, key: str) -> None:
    kind = reader.u32()
    if kind in _SCALARS:
        reader.values[key] = reader.scalar(kind)
    elif kind == _STRING:
        text = reader.text(f"the value of {key[:64]!r}", MAX_STRING_BYTES)
        if len(text) <= MAX_KEPT_CHARACTERS:
            reader.values[key] = text
    elif kind == _ARRAY:
        _skip_array(reader, key)
    else:
        _refuse(f"the value of {key[:64]!r} has the unknown type {kind}")


def _skip_array(reader: _Reader, key: str) -> None:
    kind = reader.u32()
    element_bytes = 8 if kind == _STRING else struct.calcsize(_SCALARS.get(kind, "<"))
    if not element_bytes:
        _refuse(f"the array {key[:64]!r} has elements of type {kind}")
    count = _count(reader, f"elements in the array {key[:64]!r}", MAX_ELEMENTS, element_bytes)
    if kind != _STRING:
        reader.skip(count * element_bytes)
        return
    reader.skip_strings(count, key)


def _alignment(values: dict[str, Scalar]) -> int:
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    sound = isinstance(alignment, int) and 8 <= alignment <= MAX_ALIGNMENT
    if not isinstance(alignment, int) or not sound or alignment & (alignment - 1):
        _refuse(f"its alignment {str(alignment)[:32]!r} is not a power of two from 8")
    return alignment


def _check_tensors(reader: _Reader, count: int, alignment: int) -> dict[str, int]:
    sizes: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for _ in range(count):
        name = reader.text("a tensor name", MAX_NAME_BYTES)
        if name in sizes:
            _refuse(f"its tensor {name!r} comes twice")
        size_bytes = sizes[name] = _tensor_bytes(reader, name)
        offset = reader.u64()
        if offset % alignment:
            _refuse(f"its tensor {name!r} is not aligned to {alignment} bytes")
        spans.append((offset, size_bytes))
    start = reader.position + -reader.position % alignment
    end = 0
    for offset, size_bytes in sorted(spans):
        if offset < end:
            _refuse("two of its tensors overlap")
        end = offset + size_bytes
    if spans and start + end > reader.size_bytes:
        _refuse(f"its tensors need {start + end} bytes, it has {reader.size_bytes}")
    return sizes


def _tensor_bytes(reader: _Reader, name: str) -> int:
    dimensions = reader.u32()
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        _refuse(f"its tensor {name!r} has {dimensions} dimensions")
    shape = [reader.u64() for _ in range(dimensions)]
    kind = reader.u32()
    if kind not in _BLOCKS:
        _refuse(f"its tensor {name!r} has the unknown type {kind}")
    block_weights, block_bytes = _BLOCKS[kind]
    weights = 1
    for extent in shape:
        weights *= extent
        if not 0 < weights < 1 << 63:
            _refuse(f"its tensor {name!r} has an impossible shape")
    if shape[0] % block_weights:
        _refuse(f"a row of its tensor {name!r} is not a whole number of blocks")
    return weights // block_weights * block_bytes
