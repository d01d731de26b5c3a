"""The store's append-only file, copied while the store runs.

A prefix of the log is the store as it was at one moment: a transaction or script that the prefix
cuts is dropped whole when it is loaded. So nobody has to stop, and no command is needed: read the
manifest, open the files it names, note their lengths, and see that the manifest still is the same.
If it is not, a rewrite replaced files in between, and the look is taken again. Files that are open
stay readable when the store removes them.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from appliance.errors import Unavailable

FOLDER = "appendonlydir"
MANIFEST_NAME = "appendonly.aof.manifest"
LOOKS = 20

_LINE = re.compile(r"^file (?P<name>[A-Za-z0-9._-]+) seq \d+ type (?P<kind>[bih])")


@dataclass(frozen=True)
class LogFile:
    """A file of the log. What counts are its first `size_bytes`."""

    name: str
    stream: IO[bytes]
    size_bytes: int


@dataclass(frozen=True)
class Moment:
    """The log at one moment; `manifest` is empty when there is no log yet."""

    manifest: bytes
    files: tuple[LogFile, ...]


@contextlib.contextmanager
def moment(store: Path) -> Iterator[Moment]:
    """The log of the store in the folder `store`. Raises Unavailable when it never holds still."""
    folder = store / FOLDER
    for _ in range(LOOKS):
        with contextlib.ExitStack() as stack:
            try:
                found = _look(folder, stack)
            except FileNotFoundError:
                continue  # replaced between the manifest and now
            if found is not None:
                yield found
                return
    raise Unavailable(
        f"the log in {folder} is being rewritten all the time", hint="try again in a minute"
    )


def _look(folder: Path, stack: contextlib.ExitStack) -> Moment | None:
    path = folder / MANIFEST_NAME
    if not path.exists():
        return Moment(b"", ())
    manifest = path.read_bytes()
    lines = [_LINE.match(line) for line in manifest.decode("ascii", "replace").splitlines()]
    names = [line["name"] for line in lines if line is not None and line["kind"] != "h"]
    streams = [stack.enter_context((folder / name).open("rb")) for name in names]
    # The last file grows: its length is taken last, so that what precedes it is complete.
    sizes = [Path(folder, name).stat().st_size for name in names]
    if path.read_bytes() != manifest:
        return None
    written = manifest.splitlines(keepends=True)
    kept = [one for one in written if b" type h" not in one]
    files = map(LogFile, names, streams, sizes)
    return Moment(b"".join(kept), tuple(files))
