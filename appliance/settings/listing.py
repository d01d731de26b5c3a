"""Every setting with its explanation and its value, and changing them: what `/api/settings` shows.

What is changed is checked as the file is at a start, before it is written. It counts from the next
start, but for what is read whenever the terminal UI is opened.
"""

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from appliance.errors import Invalid
from appliance.schema.settings import Setting, SettingsPage
from appliance.settings import Settings
from appliance.settings import file as settings_file
from appliance.settings.example import description, toml
from appliance.settings.file import Written

Kind = Literal["text", "number", "switch", "list"]
_AT_ONCE: Final = ("ui.",)


@dataclass(frozen=True)
class Key:
    """What is declared of one setting. `default` is TOML, "" for none."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    description: str
    default: str
    secret: bool


class SettingsFile:
    """The settings file of a data directory beside the settings `in_use`. Its calls block."""

    def __init__(self, data_directory: Path, in_use: Settings) -> None:
        self._data = data_directory
        self._in_use = in_use

    def read(self) -> SettingsPage:
        """Raises Invalid when the file is no sound one."""
        return self._page(settings_file.read(self._data))

    def change(
        self, changes: Mapping[str, str | None], *, seen: str = "", is_rehearsal: bool = False
    ) -> SettingsPage:
        """Raises like `file.edit`, and Invalid for a key that there is not."""
        known = [one.name for one in declared()]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise Invalid(
                    f"there is no setting {name}",
                    hint=f"did you mean {near}?",
                    reason="no_setting",
                    facts={"name": name, "near": near},
                )
        written = settings_file.edit(self._data, changes, seen=seen, is_rehearsal=is_rehearsal)
        return self._page(written)

    def _page(self, written: Written) -> SettingsPage:
        items, waiting = [], []
        for one in declared():
            value, in_use = _said(written.settings, one), _said(self._in_use, one)
            restart = not one.name.startswith(_AT_ONCE)
            if restart and value != in_use:
                waiting.append(one.name)
            items.append(
                Setting(
                    key=one.name,
                    kind=one.kind,
                    choices=one.choices,
                    description=one.description,
                    default=one.default,
                    value="" if one.secret else value,
                    in_use="" if one.secret else in_use,
                    is_set=_is_set(written.table, one.name),
                    secret=one.secret,
                    restart=restart,
                )
            )
        return SettingsPage(
            file=str(written.path),
            version=written.version,
            items=tuple(items),
            waiting=tuple(waiting),
        )


def declared() -> tuple[Key, ...]:
    """Every setting, in the order of the example."""
    return tuple(_below(Settings(), ""))


def _below(section: msgspec.Struct, prefix: str, about: str = "") -> Iterator[Key]:
    for field, kind in get_type_hints(type(section), include_extras=True).items():
        value = getattr(section, field)
        if isinstance(value, msgspec.Struct):
            yield from _below(value, f"{prefix}{field}.", description(kind))
            continue
        bare = _bare(kind)
        choices = get_args(bare) if get_origin(bare) is Literal else ()
        yield Key(
            name=f"{prefix}{field}",
            kind=_kind(bare),
            choices=choices,
            description=description(kind) or about,
            default="" if value is None else toml(value),
            secret=any(isinstance(one, Meta) and one.extra for one in get_args(kind)[1:]),
        )


def _bare(kind: Any) -> Any:
    """A type without its bounds, and without None beside it."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return _bare(next(one for one in get_args(kind) if one is not type(None)))
    return kind


def _kind(bare: Any) -> Kind:
    if bare is bool:
        return "switch"
    if bare in (int, float):
        return "number"
    return "list" if get_origin(bare) is tuple else "text"


def _said(settings: Settings, one: Key) -> str:
    value = attrgetter(one.name)(settings)
    return "" if value is None else toml(value)


def _is_set(table: Mapping[str, Any], name: str) -> bool:
    *path, last = name.split(".")
    below: Any = reduce(lambda table, part: table.get(part, {}), path, table)
    return last in below
