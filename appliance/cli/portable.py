"""Settings that go from one machine to another: what names files of the first is left out.

The text belongs to a person, who may have comments in it: keys are commented out where they stand,
and a model that travels along is named as the other machine's store calls it. What comes out is
read again, and must say what was wanted and nothing else.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import Invalid
from appliance.settings import FILE_NAME, checked
from appliance.settings.example import toml
from appliance.settings.file import rewritten

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
            text = _changed(text, f"{section}.{key}", None)
    for key in MODELS_NAMED:
        named = table.get("models", {}).get(key, "")
        if isinstance(named, str) and is_path(named):
            text = _changed(text, f"models.{key}", toml(names[named]) if named in names else None)
    _check(text)
    return text


def is_path(named: str) -> bool:
    """True for a model that is named by its file."""
    return os.sep in named or named.endswith(".gguf") or (bool(named) and Path(named).exists())


def _changed(text: str, name: str, literal: str | None) -> str:
    made = rewritten(text, name, literal, mark="# ")
    if made is None:
        section = name.split(".", 1)[0]
        raise Invalid(
            f"{name} names something of the other machine and cannot be taken out by itself",
            hint=f"write it as a line of its own below [{section}] there, and export again",
        )
    return made


def _check(text: str) -> None:
    try:
        checked(Path(f"the bundle's {FILE_NAME}"), _table(text))
    except Invalid as error:
        hint = "it was made by another version, or by hand"
        raise Invalid(error.message, hint=hint) from None


def _table(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        hint = "use another copy"
        raise Invalid(f"the bundle's {FILE_NAME} is not valid TOML", hint=hint) from None
