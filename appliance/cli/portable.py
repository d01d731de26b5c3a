"""Settings that go from one machine to another: what names files of the first is left out.

The text belongs to a person, who may have comments in it: keys are commented out where they stand,
and a model that travels along is named as the other machine's store calls it. What comes out is
read again, and must say what was wanted and nothing else.
"""

import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import Invalid
from appliance.settings import FILE_NAME, Settings, load
from appliance.settings.example import toml
from appliance.settings.file import with_value

MODELS_NAMED = ("chat", "embedding")
OF_THIS_MACHINE = (
    ("models", "directory"),
    ("models", "lora"),
    ("models", "more"),
    ("limiter", "rule_file"),
)


def portable(text: str, names: Mapping[str, str]) -> str:
    """The settings for another machine; `names` are models' names there, by what `text` has.

    Raises Invalid when they are no sound settings, or are written in a way this cannot change.
    """
    table = _table(text)
    for section, key in OF_THIS_MACHINE:
        if key in table.get(section, {}):
            text = _without(text, section, key)
    for key in MODELS_NAMED:
        named = table.get("models", {}).get(key, "")
        if not isinstance(named, str) or not is_path(named):
            continue
        if named in names:
            text = with_value(text, "models", key, toml(names[named]))
            text = _kept(text, "models", key, names[named])
        else:
            text = _without(text, "models", key)
    _checked(text)
    return text


def is_path(named: str) -> bool:
    """True for a model that is named by its file."""
    return os.sep in named or named.endswith(".gguf") or (bool(named) and Path(named).exists())


def _without(text: str, section: str, key: str) -> str:
    """The text with a key commented out; its value may go over several lines."""
    wanted = _table(text)
    del wanted[section][key]
    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if line.partition("=")[0].strip() == key]
    for start in starts:
        for end in range(start + 1, len(lines) + 1):
            commented = [f"# {line}" for line in lines[start:end]]
            made = "\n".join([*lines[:start], *commented, *lines[end:]])
            if _parsed(made) == wanted:
                return made
    raise _unchanged(section, key)


def _kept(text: str, section: str, key: str, value: str) -> str:
    if (_parsed(text) or {}).get(section, {}).get(key) != value:
        raise _unchanged(section, key)
    return text


def _checked(text: str) -> Settings:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE_NAME).write_text(text, encoding="utf-8")
        try:
            return load(Path(folder))
        except Invalid as error:
            said = error.message.replace(f"{folder}{os.sep}", "the bundle's ")
            raise Invalid(said, hint="it was made by another version, or by hand") from None


def _table(text: str) -> dict[str, Any]:
    found = _parsed(text)
    if found is None:
        raise Invalid(f"the bundle's {FILE_NAME} is not valid TOML", hint="use another copy")
    return found


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _unchanged(section: str, key: str) -> Invalid:
    return Invalid(
        f"{section}.{key} names something of the other machine and cannot be taken out by itself",
        hint=f"write it as a line of its own below [{section}] there, and export again",
    )
