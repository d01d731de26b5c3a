"""The data directory: who may own it, and where the sockets of its servers live.

Everything below it is protected by its mode alone (Valkey and Milvus Lite create files readable
by all), so a directory of somebody else, or one that others may write to, is refused.

A unix socket's path fits 107 bytes on Linux and 103 on macOS, a data directory may be longer.
Then the sockets live in a short private directory: under XDG_RUNTIME_DIR, else a fresh one with
an unpredictable name in the system's temporary folder, remembered in the data directory. Neither
may be a symbolic link or belong to anybody else.
"""

import contextlib
import errno
import hashlib
import os
import shlex
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.errors import CannotBoot
from appliance.frozen import lasting_command

SERVICE_DATA = Path("/var/lib/sluice")  # of the system's service, see `cli.install`
PRIVATE_UMASK = 0o077
SOCKET_PATH_BYTES = 103
LONGEST_SOCKET_NAME = "milvus.sock"
REMEMBERED = "sockets.path"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare_data_directory(path: Path) -> Path:
    """Creates it (0700) or checks it; returns it absolute. Sets the process's umask to 077.

    Raises CannotBoot when it belongs to another user, others may write to it, or it is not a
    directory we can write to.
    """
    os.umask(PRIVATE_UMASK)
    path = Path(os.path.abspath(path))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.stat()
    except OSError as error:
        raise CannotBoot(
            f"the data directory {path} cannot be used: {error.strerror}",
            hint="choose another one with --data",
        ) from None
    _check_owner(path, facts)
    if stat.S_IMODE(facts.st_mode) & 0o077:
        path.chmod(0o700)
    if not os.access(path, os.W_OK | os.X_OK):
        raise CannotBoot(f"the data directory {path} is read-only", hint="make it writable")
    return path


def as_service(*words: str) -> str:
    """What root types to run a command as the user that the system's service has."""
    own = ("DynamicUser=yes", "User=sluice", "StateDirectory=sluice", "StateDirectoryMode=0700")
    options = [f"-p {one}" for one in (*own, "CacheDirectory=sluice")]
    options += [f"--setenv=HOME={SERVICE_DATA}", "--setenv=XDG_CACHE_HOME=/var/cache/sluice"]
    command = shlex.join([*lasting_command(), *words])
    run = "systemd-run --pty --wait --collect --quiet"
    return f"{run} {' '.join(options)} {command} --data {SERVICE_DATA}"


@contextlib.contextmanager
def told_of_room(path: Path) -> Iterator[None]:
    """Words for a disk that takes no more of what is written below `path`. Raises CannotBoot."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise CannotBoot(
            f"no room in {path}: {error.strerror}",
            hint="free some space, or choose another directory with --data",
        ) from None


def private_directory(path: Path) -> Path:
    """A 0700 directory of ours below the data directory, created when missing."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def socket_directory(data: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """A private directory whose sockets' paths are short enough, the same on every start."""
    if _fits(data / "run"):
        return private_directory(data / "run")
    runtime = Path(environment.get("XDG_RUNTIME_DIR", ""))
    name = "sluice-" + hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    if runtime.is_absolute() and _fits(runtime / name) and _is_private(runtime):
        with contextlib.suppress(FileExistsError):
            (runtime / name).mkdir(mode=0o700)
        if _is_private(runtime / name):
            return runtime / name
    return _remembered(data) or _fresh(data)


def socket_path(directory: Path, name: str) -> Path:
    """A socket in such a directory. Servers cut a path that is too long, without a word."""
    path = directory / name
    assert len(os.fsencode(path)) <= SOCKET_PATH_BYTES, f"too long for a socket: {path}"
    return path


def _remembered(data: Path) -> Path | None:
    try:
        path = Path((data / REMEMBERED).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return path if path.is_absolute() and _fits(path) and _is_private(path) else None


def _fresh(data: Path) -> Path:
    path = Path(os.path.realpath(tempfile.mkdtemp(prefix="sluice-")))
    if not _fits(path):
        raise CannotBoot(
            f"no folder with a path short enough for sockets: {path}",
            hint="point TMPDIR or XDG_RUNTIME_DIR at a shorter one",
        )
    (data / REMEMBERED).write_text(str(path), encoding="utf-8")
    return path


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / LONGEST_SOCKET_NAME)) <= SOCKET_PATH_BYTES


def _is_private(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(facts.st_mode)
        and facts.st_uid == os.geteuid()
        and not stat.S_IMODE(facts.st_mode) & 0o077
    )


def _check_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid != os.geteuid():
        hint = "run as that user, or choose another directory with --data"
        if os.geteuid() == 0 and path == SERVICE_DATA:
            hint = f"run it as the service's user: {as_service('COMMAND')}"
        raise CannotBoot(
            f"the data directory {path} belongs to another user (uid {facts.st_uid})", hint=hint
        )
    if stat.S_IMODE(facts.st_mode) & 0o022:
        raise CannotBoot(
            f"others may write to the data directory {path}",
            hint=f"check what is in it, then: chmod 700 '{path}'",
        )
