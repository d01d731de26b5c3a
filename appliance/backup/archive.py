"""One verified file that holds several: the form of backups and bundles.

A ZIP whose last member, `manifest.json`, names every other member with its size and SHA-256. So
whatever is missing, added or damaged shows before anything of it is used, and any tool can look
inside. Written beside its final name and renamed when it is whole.

What is read is not trusted: names must be plain relative paths, and no member may be longer than
the manifest says it is.
"""

import contextlib
import hashlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import msgspec

from appliance import __version__
from appliance.errors import Conflict, Invalid, NotFound, Unavailable

MANIFEST = "manifest.json"
FORMAT = 1
MEMBERS_BOUND = 10_000
MANIFEST_BOUND_BYTES = 4_000_000
CHUNK_BYTES = 1 << 20

Kind = Literal["backup", "bundle"]


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the archive."""

    name: str
    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What an archive says of itself. `layout` is that of the data; times are Unix milliseconds."""

    format: int
    kind: Kind
    version: str
    layout: int
    created_at_ms: int
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Source:
    """A file to take: its first `size_bytes` from an open stream, or all of `content`."""

    name: str
    stream: IO[bytes] | None = None
    size_bytes: int = 0
    content: bytes = b""
    packed: bool = True


def write(
    target: Path, sources: Iterable[Source], *, kind: Kind, layout: int, now_ms: int
) -> Manifest:
    """Writes the archive at `target`, readable for its owner only.

    Raises Conflict when there is such a file already, Unavailable when the disk cannot take it.
    """
    part = target.with_name(f"{target.name}.part")
    with told_of_disk(target):
        if target.exists():
            hint = "choose another name, or remove it first"
            raise Conflict(f"{target} exists already", hint=hint)
        try:
            descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with open(descriptor, "w+b") as file:
                with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                    members = tuple(_add(archive, source) for source in sources)
                    manifest = Manifest(FORMAT, kind, __version__, layout, now_ms, members)
                    archive.writestr(MANIFEST, msgspec.json.encode(manifest))
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        finally:
            part.unlink(missing_ok=True)
    return manifest


@contextlib.contextmanager
def opened(path: Path, kind: Kind) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """An archive whose every member was checked against the manifest.

    Raises NotFound without the file, Invalid when it is no archive of this kind or is damaged.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            manifest = _manifest(archive, path, kind)
            for member in manifest.members:
                if copy(archive, member, None) != member.sha256:
                    raise _damaged(path, member.name)
        except FileNotFoundError:
            raise NotFound(
                f"there is no file {path}",
                hint="check the path",
                reason="no_file",
                facts={"path": path},
            ) from None
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise _damaged(path, str(error)) from None
        except OSError as error:
            raise Invalid(
                f"{path} cannot be read: {error.strerror or error}",
                hint=f"name a file that `{_command(kind)}` has written",
                reason="file_unread",
                facts={"why": f"{path}: {error.strerror or error}"},
            ) from None
        yield archive, manifest


def copy(archive: zipfile.ZipFile, member: Member, target: Path | None) -> str:
    """The SHA-256 of a member, written to `target` (0600) unless that is None.

    Raises Unavailable when the disk cannot take it.
    """
    if target is None:
        return _poured(archive, member, None)
    with told_of_disk(target):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(target, flags, 0o600), "wb") as sink:
            digest = _poured(archive, member, sink)
            sink.flush()
            os.fsync(sink.fileno())
    return digest


@contextlib.contextmanager
def told_of_disk(target: Path) -> Iterator[None]:
    """Words for what keeps `target` from being written. Raises Unavailable."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"{target} cannot be written: {error.strerror or error}",
            hint="choose a folder of yours with enough room",
            reason="unwritable_file",
            facts={"path": target, "why": error.strerror or error},
        ) from None


def _poured(archive: zipfile.ZipFile, member: Member, sink: IO[bytes] | None) -> str:
    digest, left = hashlib.sha256(), member.size_bytes
    with archive.open(member.name) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                return "longer than it says"
            digest.update(chunk)
            if sink is not None:
                sink.write(chunk)
    return digest.hexdigest() if left == 0 else "shorter than it says"


def _add(archive: zipfile.ZipFile, source: Source) -> Member:
    info = zipfile.ZipInfo(source.name)
    info.external_attr = 0o600 << 16
    info.compress_type = zipfile.ZIP_DEFLATED if source.packed else zipfile.ZIP_STORED
    digest, size_bytes = hashlib.sha256(), 0
    info.file_size = source.size_bytes or len(source.content)
    with archive.open(info, "w") as sink:
        for chunk in _chunks(source):
            size_bytes += len(chunk)
            digest.update(chunk)
            sink.write(chunk)
    return Member(source.name, size_bytes, digest.hexdigest())


def _chunks(source: Source) -> Iterator[bytes]:
    if source.stream is None:
        yield source.content
        return
    left = source.size_bytes
    while left and (chunk := source.stream.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _manifest(archive: zipfile.ZipFile, path: Path, kind: Kind) -> Manifest:
    names = archive.namelist()
    if MANIFEST not in names or len(names) > MEMBERS_BOUND:
        raise Invalid(
            f"{path} is no {kind} of Sluice",
            hint=f"make one with `{_command(kind)}`",
            reason="no_archive",
            facts={"path": path},
        )
    with archive.open(MANIFEST) as file:
        text = file.read(MANIFEST_BOUND_BYTES)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as error:
        raise _damaged(path, f"its manifest: {error}") from None
    if manifest.format > FORMAT:
        raise Invalid(
            f"{path} was written by a newer Sluice ({manifest.version})",
            hint="take it with that version",
            reason="newer_archive",
            facts={"path": path, "version": manifest.version},
        )
    if manifest.kind != kind:
        raise Invalid(
            f"{path} is a {manifest.kind}, not a {kind}",
            hint="see `sluice --help`",
            reason="another_archive",
            facts={"path": path, "found": manifest.kind, "wanted": kind},
        )
    listed = [member.name for member in manifest.members]
    if sorted([*listed, MANIFEST]) != sorted(names):
        raise _damaged(path, "it does not hold what its manifest lists")
    for name in listed:
        if not _plain(name):
            raise _damaged(path, f"a name that is no plain path: {name[:100]!r}")
    return manifest


def _plain(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(name)
        and not path.is_absolute()
        and str(path) == name
        and ".." not in path.parts
        and "\0" not in name
        and "\\" not in name
    )


def _command(kind: Kind) -> str:
    return "sluice backup FILE" if kind == "backup" else "sluice bundle export FILE"


def _damaged(path: Path, what: str) -> Invalid:
    return Invalid(
        f"{path} is damaged: {what}",
        hint="nothing was changed; use another copy",
        reason="damaged_archive",
        facts={"path": path},
    )
