"""Backups of a data directory: made while it is in use, checked, and put back whole.

A backup holds what cannot be made again: settings, keys, and the store's log (see `aof`). The FAQ
index, saved caches and logs are left out, for the appliance makes them anew; weights too.

Restoring checks everything first: every checksum, the layout, and that the store loads. Then what
was there moves into a folder of its own, and the backup takes its place. A file marks the time in
between, so a directory that lost its power half-way is never started as if it were empty.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.backup import aof, archive
from appliance.backup.archive import Manifest, Source
from appliance.backup.layout import LAYOUT, layout_of, newer
from appliance.errors import Invalid, NotFound
from appliance.settings import FILE_NAME as SETTINGS
from appliance.supervisor.directory import private_directory, socket_directory, socket_path
from appliance.supervisor.environment import current_environment
from appliance.supervisor.guard import own_command
from appliance.supervisor.lock import DataLock
from appliance.supervisor.valkey import (
    USER,
    ValkeyEndpoint,
    answers,
    configuration,
    find_binary,
    literal,
)

STORE = "valkey"
RESTORING = "restoring"
REPLACED = "before-restore"
LOAD_TIMEOUT_S = 120.0
FILE_BOUND_BYTES = 64_000_000
# Made anew, or of one run only. Everything else at the top of the directory is taken.
LEFT_OUT = ("milvus", "snapshots", "logs", "run", "models", "backups", STORE)
LEFT_OUT_FILES = ("lock", "running.json", "sockets.path", RESTORING)
LEFT_OUT_ENDINGS = (".log", ".sock", ".new", ".part")


def back_up(data: Path, target: Path) -> Manifest:
    """Writes a backup of `data` at `target`; an appliance that runs on it goes on meanwhile.

    Raises NotFound where there are neither settings nor a store, Conflict when there is such a
    file, Unavailable when it cannot be written.
    """
    require_data(data)
    with aof.moment(data / STORE) as log:
        sources = [*_plain_files(data), *_log_files(log)]
        return archive.write(
            target, sources, kind="backup", layout=layout_of(data), now_ms=time.time_ns() // 10**6
        )


def require_data(data: Path) -> None:
    """Raises NotFound for a directory that no appliance ever had."""
    if not (data / SETTINGS).exists() and not (data / STORE / aof.FOLDER).exists():
        raise NotFound(
            f"nothing to back up in {data}", hint="name the directory of the data with --data"
        )


def check(path: Path) -> Manifest:
    """What a backup says of itself, once all of it was checked. Raises NotFound and Invalid."""
    with archive.opened(path, "backup") as (_, manifest):
        return manifest


def restore(data: Path, path: Path) -> tuple[Manifest, Path | None]:
    """Puts the backup at `path` in the place of what `data` holds.

    Also where that was moved to, None when there was nothing. Raises Conflict while an appliance
    runs, and NotFound, Invalid or Unavailable (a full disk) before anything was changed.
    """
    lock = DataLock.take(data)
    try:
        with (
            archive.opened(path, "backup") as (opened, manifest),
            archive.told_of_disk(data),
            tempfile.TemporaryDirectory(prefix=".restore-", dir=data) as scratch,
        ):
            if manifest.layout > LAYOUT:
                raise newer(path, manifest.layout, manifest.version)
            staged = Path(scratch, "staged")
            staged.mkdir(mode=0o700)
            for member in manifest.members:
                if archive.copy(opened, member, staged / member.name) != member.sha256:
                    raise Invalid(f"{path} changed while it was read", hint="try again")
            if (staged / STORE / aof.FOLDER).exists():
                asyncio.run(_load(staged / STORE, socket_directory(data)))
            return manifest, _swap(data, staged)
    finally:
        lock.release()


def _plain_files(data: Path) -> Iterator[Source]:
    for path in sorted(data.rglob("*")):
        name = path.relative_to(data)
        top = name.parts[0]
        if top in LEFT_OUT or top.startswith((".", REPLACED)) or path.is_symlink():
            continue
        if str(name) in LEFT_OUT_FILES or path.name.endswith(LEFT_OUT_ENDINGS):
            continue
        if path.is_file() and path.stat().st_size <= FILE_BOUND_BYTES:
            yield Source(name.as_posix(), content=path.read_bytes())


def _log_files(log: aof.Moment) -> Iterator[Source]:
    folder = f"{STORE}/{aof.FOLDER}"
    for one in log.files:
        yield Source(f"{folder}/{one.name}", stream=one.stream, size_bytes=one.size_bytes)
    if log.manifest:
        yield Source(f"{folder}/{aof.MANIFEST_NAME}", content=log.manifest)


async def _load(store: Path, sockets: Path) -> None:
    """Starts a Valkey on the copy, which cuts a torn end off. Raises Invalid if it refuses."""
    endpoint = ValkeyEndpoint(socket_path(sockets, "check.sock"), USER, os.urandom(16).hex())
    file = store / "check.conf"
    file.write_text(configuration(endpoint, store, fsync="no", memory_bytes=0), encoding="utf-8")
    words = store / "check.log"
    with words.open("wb") as sink:
        process = subprocess.Popen(  # noqa: ASYNC220 # nothing else runs in this loop
            own_command("guard", "--", str(find_binary()), literal(file), "--port", "0"),
            env=current_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=store,
        )
    try:
        deadline_s = time.monotonic() + LOAD_TIMEOUT_S
        while not await _answers(endpoint):
            if process.poll() is not None or time.monotonic() > deadline_s:
                last = words.read_text(errors="replace").strip().splitlines()[-1:]
                raise Invalid(
                    f"the store in the backup does not load: {' '.join(last)}",
                    hint="nothing was changed; use another backup",
                )
            await asyncio.sleep(0.05)
    finally:
        process.terminate()
        process.wait()
        file.unlink()
        words.unlink()
        endpoint.socket.unlink(missing_ok=True)


async def _answers(endpoint: ValkeyEndpoint) -> bool:
    try:
        return await answers(endpoint)
    except OSError:
        return False


def _swap(data: Path, staged: Path) -> Path | None:
    """What was there goes into a folder of its own, what was staged takes its place."""
    (data / RESTORING).touch(mode=0o600)
    _flush(data)
    replaced: Path | None = None
    for path in sorted(data.iterdir()):
        keeps = path.name in ("lock", RESTORING, "models", "backups", "logs", "run", "sockets.path")
        if keeps or path.name.startswith((".", REPLACED)):
            continue
        if path.name in ("milvus", "snapshots", "running.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            continue
        replaced = replaced or _fresh_folder(data)
        path.rename(replaced / path.name)
    for path in sorted(staged.iterdir()):
        path.rename(data / path.name)
    _flush(data)
    (data / RESTORING).unlink()
    return replaced


def _fresh_folder(data: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1_000):
        folder = data / f"{REPLACED}-{stamp}-{number}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            return folder
    raise AssertionError("a thousand restores in one second")


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def backups_folder(data: Path) -> Path:
    """Where backups are kept that an upgrade makes by itself."""
    return private_directory(data / "backups")
