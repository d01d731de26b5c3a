"""`sluice install` and `sluice uninstall`: a desktop entry, or a service of systemd.

What is written is noted with its checksum, and exactly that is removed again; a file that was
changed since is left alone and named. The executable is copied to where programs belong, so that
what starts it later does not depend on a stick or a download folder. A server does not download by
itself, so a service's models are fetched here, before anything is written.
"""

import argparse
import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import msgspec

from appliance.backup.layout import settings_of
from appliance.cli.starters import fetch_starters
from appliance.errors import EXIT_OK, Conflict, Invalid, NotFound, Unavailable
from appliance.frozen import executable_file, lasting_command
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.supervisor.directory import SERVICE_DATA as SYSTEM_DATA
from appliance.supervisor.directory import as_service, prepare_data_directory

NOTE_NAME = "installed.json"
UNIT_NAME = "sluice.service"
BACKUPS = "backups"
OPEN_FILES = 65_536  # `server.connections` may be more than the 1,024 a service gets


class Written(msgspec.Struct, frozen=True):
    """One file that was put somewhere."""

    path: str
    sha256: str


class Note(msgspec.Struct, frozen=True):
    """What one installation wrote; `scope` is that of its service, "" for a desktop entry."""

    scope: str
    written: tuple[Written, ...]


@dataclass(frozen=True)
class Places:
    """Where things belong, for a user or for the whole system."""

    data: Path
    configuration: Path
    programs: Path
    units: Path

    @property
    def note(self) -> Path:
        return self.data / "sluice-install" / NOTE_NAME


def places(*, system: bool) -> Places:
    if system:
        roots = Path("/usr/local/share"), Path("/etc"), Path("/usr/local/bin")
        return Places(*roots, Path("/etc/systemd/system"))
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    configuration = Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config")
    return Places(data, configuration, home / ".local/bin", configuration / "systemd/user")


def install(arguments: argparse.Namespace) -> int:
    """Writes what was asked for and says what it did. Raises Conflict when it is there already."""
    system, service = arguments.system, arguments.service or arguments.system
    if system and os.geteuid() != 0:
        raise Invalid("a system service needs root", hint="run `sudo sluice install --system`")
    if system and arguments.data:
        raise Invalid(
            f"a system service keeps its data in {SYSTEM_DATA}, which is its own",
            hint="leave --data out; a service of yours (--service) may have another directory",
        )
    at = places(system=system)
    if at.note.exists():
        remove = "sudo sluice uninstall --system" if system else "sluice uninstall"
        raise Conflict("Sluice is installed already", hint=f"run `{remove}` first")
    command, contents = _command(at)
    data = str(Path(arguments.data).absolute()) if arguments.data else ""
    if service:
        contents[at.units / UNIT_NAME] = (unit(command, data, system=system).encode(), 0o644)
    else:
        icons = at.data / "icons/hicolor/scalable/apps"
        svg = (files("appliance.cli") / "sluice.svg").read_bytes()
        contents[icons / "sluice.svg"] = (svg, 0o644)
        entry = desktop_entry(command, data).encode()
        contents[at.data / "applications/sluice.desktop"] = (entry, 0o644)
    taken = [path for path in contents if path.exists()]
    if taken:
        raise Conflict(f"{taken[0]} exists and is not ours", hint="move it away first")
    if service:
        _fetch_models(Path(data) if data else None, system=system)
    scope = "" if not service else "system" if system else "user"
    _write(at, contents, scope)
    for path in contents:
        sys.stdout.write(f"wrote {path}\n")
    if service:
        _systemctl(system, ["daemon-reload"], ["enable", "--now", UNIT_NAME])
        _say_how_to_reach(command, data, system=system)
    return EXIT_OK


def uninstall(arguments: argparse.Namespace) -> int:
    """Removes exactly what was installed. Raises NotFound when nothing was."""
    at = places(system=arguments.system)
    try:
        note = msgspec.json.decode(at.note.read_bytes(), type=Note)
    except FileNotFoundError:
        hint = "for a system service: `sudo sluice uninstall --system`"
        raise NotFound("Sluice is not installed", hint=hint) from None
    if note.scope:
        _systemctl(note.scope == "system", ["disable", "--now", UNIT_NAME])
    for one in note.written:
        path = Path(one.path)
        if not path.exists():
            continue
        if _sha256(path) != one.sha256:
            sys.stdout.write(f"left {path}: it was changed since\n")
            continue
        path.unlink()
        sys.stdout.write(f"removed {path}\n")
    at.note.unlink()
    at.note.parent.rmdir()
    if note.scope:
        _systemctl(note.scope == "system", ["daemon-reload"])
    return EXIT_OK


def desktop_entry(command: tuple[str, ...], data: str) -> str:
    """The entry, as the Desktop Entry Specification wants it."""
    line = " ".join(_desktop_quoted(one) for one in (*command, *(("--data", data) if data else ())))
    return "\n".join(
        [
            "[Desktop Entry]",
            "Type=Application",
            "Name=Sluice",
            "Comment=A private question-answering service",
            "Comment[zh_CN]=私有问答服务",
            f"Exec={line}",
            "Icon=sluice",
            "Terminal=false",  # it finds one itself, and shows the address where there is none
            "Categories=Office;Utility;",
            "",
        ]
    )


def unit(command: tuple[str, ...], data: str, *, system: bool) -> str:
    """The unit. A wrong configuration (78) and a second appliance (75) are not tried again."""
    at_data = data or (str(SYSTEM_DATA) if system else "")
    words = (*command, "serve", *(("--data", at_data) if at_data else ()))
    own = [
        "DynamicUser=yes",
        "StateDirectory=sluice",
        "StateDirectoryMode=0700",
        "CacheDirectory=sluice",
        f"Environment=HOME={SYSTEM_DATA} XDG_CACHE_HOME=/var/cache/sluice",
        "ProtectSystem=strict",
    ]
    return "\n".join(
        [
            "[Unit]",
            "Description=Sluice, a private question-answering service",
            "After=network.target",
            "StartLimitIntervalSec=300",
            "StartLimitBurst=5",
            "",
            "[Service]",
            f"ExecStart={' '.join(_unit_quoted(one) for one in words)}",
            "Restart=on-failure",
            "RestartSec=2",
            "RestartPreventExitStatus=2 75 78",
            "KillMode=mixed",
            "TimeoutStopSec=90",
            "NoNewPrivileges=yes",
            "LimitCORE=0",  # people's words and the key are in its memory
            f"LimitNOFILE={OPEN_FILES}",
            *(own if system else []),
            "",
            "[Install]",
            f"WantedBy={'multi-user' if system else 'default'}.target",
            "",
        ]
    )


def _fetch_models(data: Path | None, *, system: bool) -> None:
    """The starter models that the service needs, where it will look. Raises Unavailable."""
    at = data or (SYSTEM_DATA if system else Options().data_directory)
    if system:
        (at / BACKUPS).mkdir(mode=0o700, parents=True, exist_ok=True)
        at.chmod(0o700)
    else:
        prepare_data_directory(at)
    settings = settings_of(at)
    if system and not settings.models.directory:  # the home of a service that was never started
        there = str(SYSTEM_DATA / ".local/share/sluice/models")
        models = msgspec.structs.replace(settings.models, directory=there)
        settings = msgspec.structs.replace(settings, models=models)
    try:
        fetch_starters(settings)
    except Unavailable as error:
        raise Unavailable(
            f"the service would have no models, and nothing was installed: {error.message}",
            hint="try again, or install the file that brings them along (sluice-full)",
        ) from None
    if system:
        _give_to_owner(at)


def _say_how_to_reach(command: tuple[str, ...], data: str, *, system: bool) -> None:
    at = SYSTEM_DATA if system else Path(data) if data else Options().data_directory
    server = settings_of(at).server
    host = f"[{server.host}]" if ":" in server.host else server.host
    where = f"http://{host}:{server.port}" if server.port else "a port that `sluice doctor` tells"
    lines = [f"it answers at {where}; its key is in {at / KEY_NAME}"]
    if system:
        lines += [
            f"its UI, as root: {as_service('tui')}",
            "likewise doctor, backup, restore, bundle and faq: its data are for its own user only, "
            f"who reads and writes files in {at / BACKUPS}",
        ]
    else:
        words = (*command, "tui", *(("--data", data) if data else ()))
        lines += [
            f"its UI: {shlex.join(words)}",
            "it ends when you log out, unless you run: loginctl enable-linger",
        ]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _give_to_owner(folder: Path) -> None:
    """What root has put into a service's folder belongs to the service; systemd does the rest."""
    owner = folder.stat()
    for path in folder.rglob("*"):
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _command(at: Places) -> tuple[tuple[str, ...], dict[Path, tuple[bytes | Path, int]]]:
    """How it will be started, and the copy of the executable that this needs."""
    carrier = executable_file()
    if carrier is None:
        return lasting_command(), {}
    target = at.programs / "sluice"
    if target.exists() and target.samefile(carrier):
        return (str(target),), {}
    return (str(target),), {target: (carrier, 0o755)}


def _write(at: Places, contents: dict[Path, tuple[bytes | Path, int]], scope: str) -> None:
    """The note first: what a crash leaves behind can be removed."""
    written = tuple(
        Written(
            str(path),
            _sha256(content) if isinstance(content, Path) else hashlib.sha256(content).hexdigest(),
        )
        for path, (content, _) in contents.items()
    )
    note = msgspec.json.format(msgspec.json.encode(Note(scope, written)))
    for path, (content, mode) in [(at.note, (note, 0o644)), *contents.items()]:
        part = path.with_name(f".{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, part)
            else:
                part.write_bytes(content)
            part.chmod(mode)
            part.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise Unavailable(
                f"{path} cannot be written: {error.strerror}",
                hint="`sluice uninstall` removes what was written so far",
            ) from None


def _systemctl(system: bool, *commands: list[str]) -> None:
    scope = [] if system else ["--user"]
    for command in commands:
        words = ["systemctl", *scope, *command]
        program = shutil.which("systemctl")
        failed = (
            program is None or subprocess.run([program, *words[1:]], capture_output=True).returncode
        )
        if failed:
            sys.stdout.write(f"to be run by you: {' '.join(words)}\n")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _desktop_quoted(word: str) -> str:
    """One argument of `Exec`: quoted, and escaped once more as a value of type string."""
    if "\n" in word:
        raise Invalid(f"{word!r} cannot stand in a desktop entry", hint="choose another path")
    quoted = "".join("\\" + one if one in '"`$\\' else one for one in word).replace("%", "%%")
    return '"' + quoted.replace("\\", "\\\\") + '"'


def _unit_quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
