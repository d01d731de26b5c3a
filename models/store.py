"""The directory of weights: what is in it, whether it is whole, and where the runtime finds it.

A file counts as checked while its record (`record`) still holds; otherwise it is hashed again,
and refused if it is no longer what it was. An entry of the catalogue is measured against its
pin, an imported file against the checksum seen at import.

Names never become paths unchecked: a name is looked up in the catalogue or must match a narrow
pattern. Links are refused. Nothing here talks to a network, and nothing is created before
something is written.
"""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import Conflict, Invalid, NotFound
from models import files, record
from models.catalogue import Catalogue, Entry, Kind, shipped, unknown, valid_name
from models.precheck import precheck
from models.record import Record

State = Literal["present", "unverified", "partial", "missing", "corrupt"]

SUFFIX = ".gguf"
MAX_NAME_CHARACTERS = 100


class Listed(msgspec.Struct, frozen=True):
    """One line of `sluice models list`.

    `size_bytes` is what there should be, `here_bytes` what there is. `entry` is None for an
    imported file. Unverified means here, but not hashed since it last changed.
    """

    name: str
    kind: Kind
    path: Path
    size_bytes: int
    here_bytes: int
    state: State
    entry: Entry | None


class Store:
    """The weights in one directory."""

    def __init__(self, directory: Path, catalogue: Catalogue | None = None) -> None:
        self.directory = directory
        self.catalogue = catalogue or shipped()

    def path(self, name: str) -> Path:
        """Where the weights called `name` belong, here or not. Raises NotFound."""
        entry = self.catalogue.by_name(name)
        if entry is not None:
            return self.directory / entry.file
        path = self.directory / f"{name}{SUFFIX}"
        if not valid_name(name) or record.read(path) is None:
            raise unknown(name)
        return path

    def starter(self, role: str) -> Path:
        """The checked file for the role `chat`, `embedding` or `test-chat`. Raises NotFound."""
        entry = self.catalogue.by_role(role)
        if entry is None:
            raise NotFound(
                f"No weights have the role {role[:100]!r}.", hint="roles are chat and embedding"
            )
        return self.checked(entry.name)

    def find(self, wanted: str) -> Path:
        """The file meant by a role, a name or a path, fit to be loaded.

        A file of the store must be what its record says, any other must pass the precheck.
        Raises NotFound, or Invalid for a file that is damaged or no sound GGUF.
        """
        if self.catalogue.by_role(wanted) is not None:
            return self.starter(wanted)
        if not wanted.endswith(SUFFIX) and os.sep not in wanted:
            return self.checked(wanted)
        path = Path(wanted).expanduser().absolute()
        for listed in self.listing():
            if listed.path.absolute() == path:
                return self.checked(listed.name)
        precheck(path)
        return path

    def checked(self, name: str) -> Path:
        """The path of whole weights: at once when nothing changed, else after hashing them.

        Raises NotFound when they are not here and Invalid when they are not what they were.
        """
        path = self.path(name)
        known, found = record.read(path), _status(path)
        if known is None or found is None or not known.still_holds(found):
            self.verify(name)
        elif known.expected_sha256 != self._expected_sha256(name, known):
            self.verify(name)  # the product was updated, and with it the pin
        elif not known.sound:
            raise _damaged(path, name)
        return path

    def has(self, name: str) -> bool:
        """True when the weights are here and whole, see `checked`."""
        try:
            self.checked(name)
        except (NotFound, Invalid):
            return False
        return True

    def verify(self, name: str) -> Record:
        """Hash the whole file and remember the outcome. Raises NotFound, or Invalid if damaged."""
        path = self.path(name)
        known, found = record.read(path), _status(path)
        if found is None:
            raise NotFound(
                f"The weights {name} are not here.",
                hint=self._how_to_get(name),
                reason="weights_missing",
                facts={"name": name},
            )
        entry = self.catalogue.by_name(name)
        outcome = record.record_of(
            found,
            name=name,
            kind=entry.kind if entry else known.kind if known else "chat",
            expected_sha256=self._expected_sha256(name, known),
            sha256=files.sha256_of(path),
        )
        record.write(path, outcome)
        if not outcome.sound:
            raise _damaged(path, name)
        return outcome

    def listing(self) -> list[Listed]:
        """The whole catalogue, then the imported files by name."""
        lines = [self._listed(one.name, self.directory / one.file) for one in self.catalogue.entry]
        taken = {one.path for one in lines}
        for beside in sorted(self.directory.glob(f"*{SUFFIX}.json")):
            path = beside.with_suffix("")
            if path not in taken and valid_name(path.stem) and record.read(path):
                lines.append(self._listed(path.stem, path))
        return lines

    def import_file(self, source: Path, *, kind: Kind | None = None, name: str = "") -> Record:
        """Copy a GGUF into the store; what is catalogued by its checksum takes that name.

        A copy and not a hard link: a link would share later changes and the file's permissions.
        Raises Invalid, Conflict when the name is taken by other weights, and Unavailable.
        """
        source = source.expanduser().resolve()
        header = precheck(source)
        name = name or _name_for(source)
        if not valid_name(name) or name.endswith(SUFFIX):
            raise Invalid(
                f"{name[:100]!r} cannot be the name of weights.",
                hint="use small letters, digits, dots, dashes and underscores, without .gguf",
                reason="bad_weights_name",
                facts={"name": name[:100]},
            )
        with files.only_writer(self.directory, "import"):
            copy = self.directory / ".import.part"
            try:
                sha256 = _copy(source, copy)
                precheck(copy)
                entry = self.catalogue.by_sha256(sha256)
                target = self.directory / (entry.file if entry else f"{name}{SUFFIX}")
                if entry is None and target != source:
                    self._require_free(name, target, sha256)
                with files.only_writer(self.directory, target.name):
                    files.publish(copy, target)
            finally:
                copy.unlink(missing_ok=True)
        if entry is not None:
            return self.remember(entry.name, entry.kind, sha256)
        return self.remember(name, kind or ("embedding" if header.pools else "chat"), sha256)

    def remember(self, name: str, kind: Kind, sha256: str) -> Record:
        """Record that the file of `name` has just been put here with this, the right, checksum."""
        entry = self.catalogue.by_name(name)
        path = self.directory / (entry.file if entry else f"{name}{SUFFIX}")
        outcome = record.record_of(
            path.stat(), name=name, kind=kind, expected_sha256=sha256, sha256=sha256
        )
        record.write(path, outcome)
        return outcome

    def _require_free(self, name: str, target: Path, sha256: str) -> None:
        reserved = any(
            one.name == name or one.file == target.name for one in self.catalogue.entry
        ) or self.catalogue.by_role(name)
        known = record.read(target)
        same = known is not None and known.expected_sha256 == sha256
        if reserved or (target.exists() and not same):
            raise Conflict(
                f"The name {name} is taken by other weights.",
                hint="choose another one with `--name`",
                reason="weights_name_taken",
                facts={"name": name},
            )

    def _how_to_get(self, name: str) -> str:
        if name in (self.catalogue.roles.chat, self.catalogue.roles.embedding):
            return "run `sluice models pull`"
        if self.catalogue.by_name(name) is not None:
            return f"run `sluice models pull {name}`"
        return "import the file again with `sluice models import FILE`"

    def _expected_sha256(self, name: str, known: Record | None) -> str:
        entry = self.catalogue.by_name(name)
        if entry is not None:
            return entry.sha256
        return known.expected_sha256 if known else ""

    def _listed(self, name: str, path: Path) -> Listed:
        entry, known = self.catalogue.by_name(name), record.read(path)
        found = path.lstat() if path.is_symlink() or path.exists() else None
        expected_bytes = entry.size_bytes if entry else known.size_bytes if known else 0
        here_bytes = found.st_size if found else _gathered_bytes(path)
        state: State
        if found is None:
            state = "partial" if here_bytes else "missing"
        elif not stat.S_ISREG(found.st_mode):
            state = "corrupt"
        elif known is None or not known.still_holds(found):
            state = "unverified" if here_bytes == expected_bytes else "corrupt"
        else:
            expected = self._expected_sha256(name, known)
            state = "present" if known.sha256 == expected else "corrupt"
        kind: Kind = entry.kind if entry else known.kind if known else "chat"
        return Listed(name, kind, path, expected_bytes, here_bytes, state, entry)


def _status(path: Path) -> os.stat_result | None:
    """The status of a file; None where there is nothing. Raises Invalid for a link."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise Invalid(
            f"{path} is not a real file; weights are not read through links.",
            hint="put the file itself there, or name the file's own path in the settings",
            reason="linked_file",
            facts={"path": path},
        )
    return found


def _gathered_bytes(path: Path) -> int:
    gathered = [files.part_of(path), *files.staging_of(path).glob("*")]
    return sum(one.stat().st_size for one in gathered if one.is_file())


def _damaged(path: Path, name: str) -> Invalid:
    return Invalid(
        f"{path} is damaged: its checksum is not the one of {name}.",
        hint=f"run `sluice models pull {name}`, or delete it and import it again",
        reason="checksum",
    )


def _name_for(source: Path) -> str:
    name = re.sub(r"[^a-z0-9._-]+", "-", source.stem.lower()).lstrip("._-")
    return name[:MAX_NAME_CHARACTERS] or "imported"


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with files.open_regular(source) as reader:
        size_bytes = os.fstat(reader.fileno()).st_size
        files.require_room(target.parent, size_bytes)
        with (
            files.no_room_is_told(target.parent, size_bytes),
            files.open_private(target) as writer,
        ):
            while chunk := reader.read(files.CHUNK_BYTES):
                digest.update(chunk)
                writer.write(chunk)
    return digest.hexdigest()
