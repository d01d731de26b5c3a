"""Reads the metadata of a GGUF file without the native parser, and distrusts it.

A worker reads it before loading a model: a file that is cut off or no model at all is then a
clear message instead of a crash in C, and the memory a model will need is known beforehand.
Only scalars and strings are kept; arrays (vocabularies) are walked over. All counts and lengths
are bounded by what the file can hold. Format: the GGUF specification, versions 2 and 3.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Invalid

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEYS_BOUND = 10_000
TENSORS_BOUND = 1_000_000
NESTING_BOUND = 2
STRING_BOUND_BYTES = 1_000_000

Scalar = int | float | bool | str

_FORMATS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Header:
    """`metadata` holds scalars and strings by key; `size_bytes` is the file's size."""

    metadata: dict[str, Scalar]
    tensors: int
    size_bytes: int

    def number(self, name: str, default: int = 0) -> int:
        """An integer of this model's architecture, e.g. `block_count`."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture', '')}.{name}")
        return int(value) if isinstance(value, int | float) else default

    def text(self, key: str) -> str:
        value = self.metadata.get(key, "")
        return value if isinstance(value, str) else ""


def read_header(path: Path) -> Header:
    """The header of a GGUF file. Raises Invalid when it is not one, OSError when unreadable."""
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        if size_bytes < 24:
            raise Invalid(f"{path} is not a GGUF model: it has {size_bytes} bytes")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return _Reader(content).header()
            except ValueError as error:
                raise Invalid(f"{path} is not a GGUF model: {error}") from error


class _Reader:
    """A cursor over the file. Raises ValueError where the file lies."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def header(self) -> Header:
        if self._bytes(4) != MAGIC:
            raise ValueError("wrong magic number")
        version = self._number("<I")
        if version not in VERSIONS:
            raise ValueError(f"unknown version {version}")
        tensors, keys = self._number("<Q"), self._number("<Q")
        if keys > KEYS_BOUND or tensors > TENSORS_BOUND:
            raise ValueError(f"{keys} keys and {tensors} tensors cannot be")
        metadata: dict[str, Scalar] = {}
        for _ in range(keys):
            key = self._string()
            kind = self._number("<I")
            if kind == _ARRAY:
                self._skip_array(0)
            else:
                metadata[key] = self._value(kind)
        return Header(metadata, tensors, len(self._content))

    def _value(self, kind: int) -> Scalar:
        if kind == _STRING:
            return self._string()
        form = _FORMATS.get(kind)
        if form is None:
            raise ValueError(f"unknown value type {kind}")
        value: Scalar = struct.unpack(form, self._bytes(struct.calcsize(form)))[0]
        return value

    def _skip_array(self, depth: int) -> None:
        kind, count = self._number("<I"), self._number("<Q")
        if depth >= NESTING_BOUND or count > len(self._content):
            raise ValueError("an array that cannot be")
        if kind == _ARRAY:
            for _ in range(count):
                self._skip_array(depth + 1)
        elif kind == _STRING:
            for _ in range(count):
                self._bytes(self._number("<Q"), keep=False)
        elif kind in _FORMATS:
            self._bytes(count * struct.calcsize(_FORMATS[kind]), keep=False)
        else:
            raise ValueError(f"unknown value type {kind}")

    def _string(self) -> str:
        length = self._number("<Q")
        if length > STRING_BOUND_BYTES:
            raise ValueError(f"a string of {length} bytes cannot be")
        return self._bytes(length).decode(errors="replace")

    def _number(self, form: str) -> int:
        value: int = struct.unpack(form, self._bytes(struct.calcsize(form)))[0]
        return value

    def _bytes(self, count: int, *, keep: bool = True) -> bytes:
        end = self._at + count
        if end > len(self._content):
            raise ValueError("it is cut off")
        start, self._at = self._at, end
        return self._content[start:end] if keep else b""
