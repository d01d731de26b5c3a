"""Settings: declared once, read once at start, passed down by constructor.

One TOML file, `settings.toml` in the data directory. Each field's description here is the
comment above it in the generated example, so the example is the manual. Unknown keys are
errors that name the file, the key and the nearest known key. Nothing else reads the environment.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import platformdirs

from appliance.errors import Invalid
from appliance.settings.conversations import Prompt, Sessions
from appliance.settings.example import field_lines, first_line
from appliance.settings.faq import Curation, Faq
from appliance.settings.inference import Models, Placement, Worker
from appliance.settings.limiter import Limiter
from appliance.settings.people import Inbox, People
from appliance.settings.server import External, Log, Requests, Server, Store, Supervision, Ui

APP_NAME = "sluice"
FILE_NAME = "settings.toml"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one appliance."""

    server: Server = Server()
    models: Models = Models()
    worker: Worker = Worker()
    limiter: Limiter = Limiter()
    placement: Placement = Placement()
    requests: Requests = Requests()
    sessions: Sessions = Sessions()
    prompt: Prompt = Prompt()
    faq: Faq = Faq()
    inbox: Inbox = Inbox()
    curation: Curation = Curation()
    people: People = People()
    store: Store = Store()
    external: External = External()
    supervision: Supervision = Supervision()
    log: Log = Log()
    ui: Ui = Ui()


def default_data_directory() -> Path:
    """The platform's user data directory for this product."""
    return platformdirs.user_data_path(APP_NAME, appauthor=False)


def models_directory(settings: Settings) -> Path:
    """Weights are shared by all data directories of a user unless the settings say otherwise."""
    if settings.models.directory:
        return Path(settings.models.directory).expanduser()
    return default_data_directory() / "models"


def load(data_directory: Path) -> Settings:
    """The settings of a data directory; writes the commented example where there is none.

    Raises Invalid naming file, key and the nearest known key.
    """
    path = data_directory / FILE_NAME
    if not path.exists():
        path.write_text(example(), encoding="utf-8")
        return Settings()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"{path} is not valid TOML: {error}",
            hint="mend or delete the file",
            reason="settings_not_toml",
        ) from None
    return checked(path, table)


def checked(path: Path, table: dict[str, Any]) -> Settings:
    """The settings in a parsed file. Raises Invalid naming file, key and the nearest known key."""
    _check_keys(path, table, Settings, "")
    try:
        return msgspec.convert(table, Settings)
    except msgspec.ValidationError as error:
        raise _refused(path, error) from None


def _refused(path: Path, error: msgspec.ValidationError) -> Invalid:
    """With the key, and what was expected of its value in the terms of types: `int` >= 1."""
    what, _, where = str(error).partition(" - at `$")
    wanted = what.removeprefix("Expected ").partition(", got")[0]
    hint = f"each setting is explained in {path.name} of a new directory"
    facts = {"key": where.strip(".`"), "wanted": wanted}
    if what.startswith("Invalid enum value"):
        return Invalid(f"{path}: {error}", hint=hint, reason="no_choice", facts=facts)
    return Invalid(f"{path}: {error}", hint=hint, reason="bad_setting", facts=facts)


def example() -> str:
    """The settings file with every key at its default, commented out and explained."""
    lines = [
        "# Settings of Sluice. Remove the # before a key to change it; restart to apply.",
        "",
    ]
    for name, section in get_type_hints(Settings).items():
        lines += [f"[{name}]", f"# {first_line(section)}"]
        lines += field_lines(section, getattr(Settings(), name), "")
        lines.append("")
    return "\n".join(lines)


def _check_keys(path: Path, table: dict[str, Any], section: type, prefix: str) -> None:
    known = get_type_hints(section)
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            raise Invalid(
                f"{path}: unknown key {prefix}{key}",
                hint=f"did you mean {prefix}{near[0]}?" if near else "remove it",
                reason="unknown_key",
                facts={"key": f"{prefix}{key}", "near": f"{prefix}{near[0]}" if near else "–"},
            )
        kind, tables = known[key], [value]
        if isinstance(value, list) and get_origin(kind) is tuple:
            kind, tables = get_args(kind)[0], value
        for inner in tables:
            if isinstance(inner, dict) and isinstance(kind, type):
                _check_keys(path, inner, kind, f"{prefix}{key}.")
