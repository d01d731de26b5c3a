"""Changes values in a settings file and leaves every other character as it is.

The file belongs to the operator, who may have comments in it. So no file is written anew from
values: the line of the key is replaced, or put where the generated example has it commented out,
or below its section's header. What would come out is read as at a start before anything is
written, and kept only when it says what was wanted and nothing else has changed.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.errors import Conflict, Invalid, Unavailable
from appliance.settings import FILE_NAME, Settings, checked, load
from appliance.settings.example import toml

EDITED_SINCE: Final = "edited_since"
VALUE_LINES_MAX: Final = 200  # of a value that is written over several lines
_SECTION = re.compile(r"\s*\[\s*([\w.-]+)\s*\]\s*(#.*)?")

Table = dict[str, Any]  # what tomllib makes of a file


@dataclass(frozen=True)
class Written:
    """A settings file: its text and version, what it says, and what that comes to."""

    path: Path
    text: str
    table: Table
    settings: Settings

    @property
    def version(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]


def read(data_directory: Path) -> Written:
    """The settings file of a data directory. Raises Invalid when it is no sound one."""
    settings = load(data_directory)
    path = (data_directory / FILE_NAME).resolve()
    text = path.read_text(encoding="utf-8")
    return Written(path, text, tomllib.loads(text), settings)


def change(data_directory: Path, section: str, key: str, value: str) -> str:
    """Sets `section.key` to a text; what it was before, "" for nothing. Raises like `edit`."""
    before = read(data_directory).table.get(section, {}).get(key, "")
    edit(data_directory, {f"{section}.{key}": toml(value)})
    return str(before)


def edit(
    data_directory: Path,
    changes: Mapping[str, str | None],
    *,
    seen: str = "",
    is_rehearsal: bool = False,
) -> Written:
    """Sets keys to TOML values, None to their defaults; the file as it is then.

    A rehearsal writes nothing. Raises Invalid when it would be no sound settings file, Conflict
    when it is not at version `seen` any more or is written in a way this cannot change, and
    Unavailable when it cannot be written.
    """
    with _alone(data_directory):
        before = read(data_directory)
        if seen and seen != before.version:
            raise Conflict(
                f"{before.path} was changed since you read it",
                hint="read it again, then change what is still to be changed",
                reason=EDITED_SINCE,
            )
        text, table = before.text, before.table
        for name, literal in changes.items():
            table = _with(table, name.split("."), literal)
        settings = checked(before.path, table)  # what is wrong with a value comes first
        for name, literal in changes.items():
            changed = rewritten(text, name, literal)
            if changed is None:
                _, key = name.split(".", 1)
                by_hand = f"remove {key}" if literal is None else f"write {key} = {literal}"
                raise Conflict(
                    f"{name} cannot be changed in {before.path} by itself",
                    hint=f"{by_hand} there by hand",
                    reason="by_hand",
                    facts={"name": name, "path": before.path},
                )
            text = changed
        if not is_rehearsal:
            _write(before.path, text)
        return Written(before.path, text, table, settings)


def _with(table: Table, names: list[str], literal: str | None) -> Table:
    """The table with one value more, another one, or one less."""
    name, rest = names[0], names[1:]
    if rest:
        below = table.get(name, {})
        return table | {name: _with(below if isinstance(below, dict) else {}, rest, literal)}
    if literal is None:
        return {key: value for key, value in table.items() if key != name}
    said = _parsed(f"value = {literal}")
    if said is None or said.keys() != {"value"}:
        raise Invalid(
            f"this is no value for {name}",
            hint='write a text in quotes, a number, true or false, or a list like ["a", "b"]',
            reason="not_toml",
        )
    return table | {name: said["value"]}


def rewritten(text: str, name: str, literal: str | None, *, mark: str = "#") -> str | None:
    """The text with one key at a TOML value, or behind the `mark` for None, all else as it was.

    None where it is written in a way this cannot change. Raises Invalid for what is no value.
    """
    wanted = _filled(_with(tomllib.loads(text), name.split("."), literal))
    section, key = name.split(".", 1)
    for rows in range(1, VALUE_LINES_MAX):
        changed = with_value(text, section, key, literal, rows=rows, mark=mark)
        said = _parsed(changed)
        if said is not None and _filled(said) == wanted:
            return changed
        if changed == with_value(text, section, key, literal, rows=rows + 1, mark=mark):
            break
    return None


def with_value(
    text: str, section: str, key: str, literal: str | None, *, rows: int = 1, mark: str = "#"
) -> str:
    """The text with a line more, or another one in place of the `rows` lines that said the value;
    behind the `mark` for None. It may be no sound TOML afterwards."""
    lines = text.split("\n")
    start = _header(lines, section)
    if start is None:
        return text if literal is None else _ended(text) + f"[{section}]\n{key} = {literal}\n"
    end = next((at for at in range(start + 1, len(lines)) if _SECTION.fullmatch(lines[at])), None)
    inside = range(start + 1, len(lines) if end is None else end)
    for out in ("", "#"):
        pattern = re.compile(rf"{out}\s*{re.escape(key)}\s*=.*")
        at = next((at for at in inside if pattern.fullmatch(lines[at])), None)
        if at is None:
            continue
        if literal is not None:
            new = [f"{key} = {literal}{_remark(lines[at])}"]
            rows = 1 if out else rows
        elif out:
            return text
        else:
            new = [f"{mark}{line}" for line in lines[at : at + rows]]
        return "\n".join([*lines[:at], *new, *lines[min(at + rows, inside.stop) :]])
    if literal is None:
        return text
    return "\n".join([*lines[: start + 1], f"{key} = {literal}", *lines[start + 1 :]])


def _ended(text: str) -> str:
    return text.rstrip("\n") + "\n\n"


def _remark(line: str) -> str:
    """The comment at the end of a line that says a value, with the space before it."""
    for found in re.finditer(r"\s*#", line):
        if found.start() > 0 and _parsed(line[: found.start()]):
            return line[found.start() :]
    return ""


def _header(lines: list[str], section: str) -> int | None:
    for at, line in enumerate(lines):
        found = _SECTION.fullmatch(line)
        if found and found[1] == section:
            return at
    return None


def _parsed(text: str) -> Table | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _filled(table: Table) -> Table:
    """Without sections that say nothing, which are as good as not there."""
    below = {key: _filled(one) if isinstance(one, dict) else one for key, one in table.items()}
    return {key: one for key, one in below.items() if one != {}}


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One change at a time, of this process and of others."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for its owner only."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(path)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}",
            hint="check its folder and the disk",
            reason="settings_not_written",
            facts={"path": path},
        ) from None
