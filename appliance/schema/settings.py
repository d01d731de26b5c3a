"""The records of `/api/settings`."""

from typing import Annotated, Literal

from msgspec import Meta

from appliance.schema.fields import END, Body, Record

SettingName = Annotated[str, Meta(pattern=r"^[a-z_]{1,40}(\.[a-z0-9_]{1,60}){1,3}" + END)]
SettingText = Annotated[str, Meta(max_length=40_000)]


class Setting(Record, frozen=True, kw_only=True):
    """One key of the settings file. Values are TOML, "" for none.

    `value` is what the file says, or the default where it says nothing (`is_set` false); `in_use`
    is what the appliance was started with. A secret's values are "". `choices` are the only
    values of a text, if there are any. `restart` is whether a change counts from the next start.
    """

    key: str
    kind: Literal["text", "number", "switch", "list"]
    choices: tuple[str, ...]
    description: str
    default: str
    value: str
    in_use: str
    is_set: bool
    secret: bool
    restart: bool


class SettingsPage(Record, frozen=True, kw_only=True):
    """Every setting in the order of the file; `waiting` are those that a restart would change."""

    file: str
    version: str
    items: tuple[Setting, ...]
    waiting: tuple[str, ...]


class SettingsPatch(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New values by key, as TOML (a text has quotes); null goes back to the default."""

    changes: Annotated[dict[SettingName, SettingText | None], Meta(min_length=1, max_length=100)]
