"""Weights that travel inside the product's own file, as members of the archive it also is.

They are stored as they are, so taking one out is a copy, made once into the store and checked
against the catalogue's pin like every other way in. Nothing is read at a start whose store has
them already.
"""

import hashlib
import zipfile
from pathlib import Path

from appliance.errors import NotFound, Unavailable
from models import files
from models.catalogue import Entry
from models.files import Progress

FOLDER = "models/"


def carries(carrier: Path, entry: Entry) -> bool:
    """True when the file has a member for these weights. False for anything but an archive."""
    try:
        with zipfile.ZipFile(carrier) as archive:
            return archive.NameToInfo.get(FOLDER + entry.file) is not None
    except (OSError, zipfile.BadZipFile):
        return False


def take_out(carrier: Path, entry: Entry, target: Path, *, progress: Progress) -> None:
    """Puts the checked weights at `target`. The caller holds `files.only_writer`.

    Raises NotFound when the file carries none, Unavailable when it is damaged or there is no room.
    """
    if not carries(carrier, entry):
        raise NotFound(f"{carrier} carries no weights of {entry.name}.")
    part = files.part_of(target)
    files.require_room(target.parent, entry.size_bytes)
    try:
        with files.no_room_is_told(target.parent, entry.size_bytes):
            sha256 = _copy(carrier, entry, part, progress)
    except (zipfile.BadZipFile, EOFError) as error:
        raise _damaged(carrier, entry, str(error)) from None
    if sha256 != entry.sha256:
        part.unlink()
        raise _damaged(carrier, entry, "another checksum")
    files.publish(part, target)


def _copy(carrier: Path, entry: Entry, part: Path, progress: Progress) -> str:
    digest, done_bytes = hashlib.sha256(), 0
    with (
        zipfile.ZipFile(carrier) as archive,
        archive.open(FOLDER + entry.file) as member,
        files.open_private(part) as file,
    ):
        while chunk := member.read(files.CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
            done_bytes += len(chunk)
            progress(done_bytes, entry.size_bytes)
    return digest.hexdigest()


def _damaged(carrier: Path, entry: Entry, what: str) -> Unavailable:
    return Unavailable(
        f"The weights of {entry.name} inside {carrier} are damaged: {what}.",
        hint="copy that file again from where it came",
        reason="checksum",
    )
