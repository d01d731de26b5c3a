"""The directory of weights: what is in it, whether it is whole, and where the runtime finds it.

Beside each file lies `FILE.json`, a record of what was checked: the SHA-256 and the size, time
and inode the file had then. While those three still agree, the file counts as checked, so that a
start costs three system calls and not half a minute of hashing. When they do not, the file is
hashed again, and refused if it is no longer what it was: an entry of the catalogue is measured
against its pin, an imported file against the checksum seen at import.

Names never become paths unchecked: a name is looked up in the catalogue or matched against a
narrow pattern. Links are refused. Nothing here talks to a network.
"""

import contextlib
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import Conflict, Invalid, NotFound
from models import files
from models.catalogue import Catalogue, Entry, Kind, shipped, valid_name
from models.download import part_of
from models.precheck import Header, precheck

State = Literal["present", "unverified", "partial", "missing", "corrupt"]

MAX_RECORD_BYTES = 64 << 10


class Record(msgspec.Struct, frozen=True):
    """What `FILE.json` holds: the outcome of the last full check."""

    name: str
    kind: Kind
    sha256: str
    size_bytes: int
    mtime_ns: int
    inode: int
    imported: bool = False


class Listed(msgspec.Struct, frozen=True):
    """One line of `sluice models list`. `entry` is None for an imported file."""

    name: str
    kind: Kind
    path: Path
    size_bytes: int
    state: State
    here_bytes: int
    entry: Entry | None


class Store:
    """Weights in one directory. Nothing is created before something is written."""

    def __init__(self, directory: Path, catalogue: Catalogue | None = None) -> None:
        self.directory = directory
        self.catalogue = catalogue or shipped()

    def path(self, name: str) -> Path:
        """Where the weights called `name` belong, here or not. Raises NotFound."""
        entry = self.catalogue.by_name(name)
        if entry is not None:
            return self.directory / entry.file
        record = self._record(self.directory / f"{name}.gguf") if valid_name(name) else None
        if record is None:
            self.catalogue.require(name)  # says what there is
        return self.directory / f"{name}.gguf"

    def starter(self, role: str) -> Path:
        """The checked file that fills `chat`, `embedding` or `test-chat`. Raises NotFound."""
        entry = self.catalogue.by_role(role)
        if entry is None:
            raise NotFound(f"There is no role {role!r}.", hint="roles are chat and embedding")
        return self.checked(entry.name)

    def find(self, wanted: str) -> Path:
        """The file meant by a role, a name or a path, fit to be loaded.

        A file in the store must be what its record says; any other file must pass the precheck.
        Raises NotFound or Invalid.
        """
        if self.catalogue.by_role(wanted) is not None:
            return self.starter(wanted)
        if os.sep not in wanted and not wanted.startswith("~") and not wanted.endswith(".gguf"):
            return self.checked(wanted)
        path = Path(wanted).expanduser().absolute()
        if path.parent == self.directory.absolute():
            for listed in self.listing():
                if listed.path.name == path.name:
                    return self.checked(listed.name)
        precheck(path)
        return path

    def listing(self) -> list[Listed]:
        """The whole catalogue, then the imported files by name."""
        known = [self._listed(entry) for entry in self.catalogue.entry]
        taken = {one.path.name for one in known}
        for sidecar in sorted(self.directory.glob("*.gguf.json")):
            path = sidecar.with_suffix("")
            record = self._record(path)
            if record is None or path.name in taken:
                continue
            found = _stat(path)
            state: State = "missing" if found is None else "present"
            if found is not None and not _unchanged(record, found):
                state = "unverified" if found.st_size == record.size_bytes else "corrupt"
            here = found.st_size if found else 0
            known.append(
                Listed(record.name, record.kind, path, record.size_bytes, state, here, None)
            )
        return known

    def checked(self, name: str) -> Path:
        """The path of weights that are known to be whole: at once if nothing changed since.

        Raises NotFound when they are not here and Invalid when they are not what they were.
        """
        path = self.path(name)
        found = _stat(path)
        record = self._record(path)
        if found is not None and record is not None and _unchanged(record, found):
            entry = self.catalogue.by_name(name)
            if entry is None or entry.sha256 == record.sha256:
                return path
        self.verify(name)
        return path

    def verify(self, name: str) -> Record:
        """Hash the whole file, compare, and remember the outcome. Raises NotFound or Invalid."""
        path = self.path(name)
        entry, record = self.catalogue.by_name(name), self._record(path)
        found = _stat(path)
        if found is None:
            raise NotFound(f"The weights {name} are not here.", hint="run `sluice models pull`")
        expected = entry.sha256 if entry else record.sha256 if record else ""
        expected_bytes = entry.size_bytes if entry else record.size_bytes if record else 0
        sha256 = files.sha256_of(path) if found.st_size == expected_bytes else "of another size"
        if sha256 != expected:
            self._record_path(path).unlink(missing_ok=True) if entry else None
            raise Invalid(
                f"{path} is damaged: its checksum is not the one of {name}.",
                hint="delete the file and run `sluice models pull` or `sluice models import`",
                reason="checksum",
            )
        precheck(path)
        kind = entry.kind if entry else record.kind if record else "chat"
        return self.remember(path, name=name, kind=kind, sha256=sha256)

    def remember(self, path: Path, *, name: str, kind: Kind, sha256: str) -> Record:
        """Record that the file at `path` has just been found to have this checksum."""
        found = path.stat()
        record = Record(
            name=name,
            kind=kind,
            sha256=sha256,
            size_bytes=found.st_size,
            mtime_ns=found.st_mtime_ns,
            inode=found.st_ino,
            imported=self.catalogue.by_name(name) is None,
        )
        part = part_of(self._record_path(path))
        with contextlib.suppress(PermissionError):  # a shared directory: checked, not cached
            with files.open_private(part) as file:
                file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
            files.publish(part, self._record_path(path))
        return record
