"""Changes one value in a settings file and leaves every other character as it is.

The file belongs to the operator, who may have comments in it. So no file is written anew from
values: the line of the key is replaced, or put where the generated example has it commented out,
or below its section's header. What comes out is read again, and kept only when it says what was
wanted and nothing else has changed.
"""

import json
import os
import re
import tomllib
from pathlib import Path

from appliance.errors import Conflict, Unavailable
from appliance.settings import FILE_NAME, load

_SECTION = re.compile(r"\s*\[\s*([\w.-]+)\s*\]\s*(#.*)?")


def change(data_directory: Path, section: str, key: str, value: str) -> str:
    """Sets `section.key` in the settings file of a data directory; the value it had, "" for none.

    Raises Conflict when the file is written in a way this cannot change, Invalid when it is no
    sound settings file, and Unavailable when it cannot be written.
    """
    load(data_directory)
    path = (data_directory / FILE_NAME).resolve()
    text = path.read_text(encoding="utf-8")
    before = tomllib.loads(text)
    changed = with_value(text, section, key, value)
    wanted = before | {section: before.get(section, {}) | {key: value}}
    if _parsed(changed) != wanted:
        raise Conflict(
            f"{section}.{key} cannot be changed in {path} by itself",
            hint=f"write {key} = {_quoted(value)} there by hand",
        )
    try:
        _write(path, changed)
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", hint="check its folder and the disk"
        ) from None
    return str(before.get(section, {}).get(key, ""))


def with_value(text: str, section: str, key: str, value: str) -> str:
    """The text with one line more or another one. It may be no sound TOML afterwards."""
    new = f"{key} = {_quoted(value)}"
    lines = text.split("\n")
    start = _header(lines, section)
    if start is None:
        return text.rstrip("\n") + f"\n\n[{section}]\n{new}\n"
    end = next((at for at in range(start + 1, len(lines)) if _SECTION.fullmatch(lines[at])), None)
    inside = range(start + 1, len(lines) if end is None else end)
    for mark in ("", "#"):
        pattern = re.compile(rf"{mark}\s*{re.escape(key)}\s*=.*")
        at = next((at for at in inside if pattern.fullmatch(lines[at])), None)
        if at is not None:
            lines[at] = new
            return "\n".join(lines)
    return "\n".join([*lines[: start + 1], new, *lines[start + 1 :]])


def _quoted(value: str) -> str:
    """A TOML string: JSON's, which leaves one control character as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _header(lines: list[str], section: str) -> int | None:
    for at, line in enumerate(lines):
        found = _SECTION.fullmatch(line)
        if found and found[1] == section:
            return at
    return None


def _parsed(text: str) -> dict[str, object] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _write(path: Path, text: str) -> None:
    """Whole or not at all, for its owner only."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    fresh.rename(path)
