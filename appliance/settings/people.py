"""Settings of people: attributes, tags, the inbox."""

from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.schema.fields import AttributeName
from appliance.schema.quiet import are_hours, zone_of
from appliance.settings.fields import Positive

TagName = Annotated[str, Meta(min_length=1, max_length=64)]


class AttributeSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attribute that people may have. `values` are the only ones, if there are any.

    `told` false keeps it from the model; `own` lets people set it with their own key.
    """

    name: AttributeName
    values: Annotated[tuple[str, ...], Meta(max_length=200)] = ()
    told: bool = True
    own: bool = False


class TagRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who has the attribute, with one of the values if there are any, has the tag."""

    tag: TagName
    attribute: AttributeName
    values: Annotated[tuple[str, ...], Meta(max_length=200)] = ()


class TagWord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tag that conversations may show, and when."""

    tag: TagName
    meaning: Annotated[str, Meta(min_length=1, max_length=300)]


class People(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of people."""

    attributes: Annotated[
        tuple[AttributeSpec, ...],
        Meta(
            max_length=64,
            description="The attributes that people have, each a table [[people.attributes]] with "
            "`name` and any of values (the only ones), told (false keeps it from the model), own "
            "(true lets people set it with their own key). Without any, every name is taken.",
        ),
    ] = ()
    rules: Annotated[
        tuple[TagRule, ...],
        Meta(
            max_length=500,
            description="Tags that follow from attributes, each a table [[people.rules]] with "
            "`tag`, `attribute` and maybe `values`, one of which it must have.",
        ),
    ] = ()
    tagging: Annotated[
        bool,
        Meta(
            description="Whether the model reads past questions, when it has time, and puts on "
            "tags of the vocabulary that clearly fit. Anybody may take them off for good."
        ),
    ] = False
    tagging_after: Annotated[
        int, Meta(ge=1, description="It looks again after so many answers to one person.")
    ] = 5
    vocabulary: Annotated[
        tuple[TagWord, ...],
        Meta(
            max_length=64,
            description="The only tags it may put on, each a table [[people.vocabulary]] with "
            "`tag` and `meaning`. Tiers are never among them.",
        ),
    ] = ()
    keys_bound: Annotated[
        int, Meta(ge=1, description="Most API keys of people and services (/api/keys).")
    ] = 10_000
    fragments_bound: Annotated[
        int, Meta(ge=1, le=10_000, description="Most prompt fragments (/api/fragments).")
    ] = 200
    fragments_chars: Annotated[
        int,
        Meta(
            ge=0, description="Most characters of fragments in one prompt; the last are left out."
        ),
    ] = 4000


class Inbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Messages to people who did not ask."""

    bound: Annotated[
        int,
        Meta(
            ge=10,
            le=5_000,
            description="Most messages kept for one person. Past it the oldest one that was read "
            "or has expired leaves; when all are unread, new ones are refused.",
        ),
    ] = 200
    scheduled_bound: Annotated[
        int, Meta(ge=1, le=5_000, description="Most messages that wait for their time, per person.")
    ] = 100
    kept_days: Annotated[
        Positive, Meta(le=3_650, description="A message expires after this, if not before.")
    ] = 30.0
    per_minute: Annotated[
        int, Meta(ge=0, description="Most messages one sender writes in a minute; 0: no limit.")
    ] = 60
    quiet_hours: Annotated[
        str,
        Meta(
            description='Hours in which messages wait, as "22:00-07:00"; "" is never. A person\'s '
            "attribute quiet_hours says otherwise for that person. Urgent ones do not wait."
        ),
    ] = ""
    timezone: Annotated[
        str,
        Meta(
            description='Time zone of the quiet hours, as "Asia/Shanghai"; "" is the machine\'s. '
            "A person's attribute timezone says otherwise."
        ),
    ] = ""
    left_after_s: Annotated[
        Positive,
        Meta(description="Nobody read an answer this long after its end: the person is told."),
    ] = 10.0
    related: Annotated[
        int, Meta(ge=0, le=10, description="Most related questions offered after an answer.")
    ] = 3

    def __post_init__(self) -> None:
        if not are_hours(self.quiet_hours):
            raise ValueError('quiet_hours must be like "22:00-07:00"')
        if self.timezone and zone_of(self.timezone) is None:
            raise ValueError('timezone must be like "Asia/Shanghai"')
