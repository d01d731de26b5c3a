"""What saved cache cells depend on, as one short text.

Cells mean something only to the very weights that computed them and to a library that computes and
lays them out the same way: its version says too little, for it is built with changes of ours, in
as many kinds as there are CPUs. A model of many gigabytes is not hashed as a whole at each start:
its size, the beginning of the file (metadata and vocabulary) and blocks spread evenly over all of
it tell two models apart, since another training changes every tensor.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

BEGINNING_BYTES = 4_000_000
BLOCKS = 64
BLOCK_BYTES = 4096
MAPS = Path("/proc/self/maps")


def cache_stamp(weights: Path, *layout: object) -> str:
    """Equal for equal weights, library build and cache layout. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    size = weights.stat().st_size
    digest.update(repr((size, layout)).encode())
    with weights.open("rb") as file:
        digest.update(file.read(BEGINNING_BYTES))
        for number in range(BLOCKS):
            file.seek(max(0, size - BLOCK_BYTES) * number // (BLOCKS - 1))
            digest.update(file.read(BLOCK_BYTES))
    return digest.hexdigest()


def files_stamp(files: Iterable[Path]) -> str:
    """Equal for equal contents in the order of the files' names. Raises OSError."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(files, key=lambda one: one.name):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def loaded_from(directory: Path) -> set[Path]:
    """The libraries in a directory that this process has loaded; where the system does not say, all
    that are there. Raises OSError."""
    there = {path.resolve() for path in directory.glob("lib*") if path.is_file()}
    if not MAPS.exists():
        return there
    lines = (line.split(maxsplit=5) for line in MAPS.read_text(errors="replace").splitlines())
    return there & {Path(fields[5]) for fields in lines if len(fields) > 5}
