"""Tags of people and where each comes from: pure rules.

A tag is stored with its source, or follows from an attribute by a rule of the settings; then it is
never stored, and is right as soon as rule or attribute change. A tag that was taken off stays off:
neither a rule nor the background job puts it on again, only somebody who names it.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from appliance.errors import Forbidden, Invalid
from appliance.schema.people import TagDetail, UserPatch
from appliance.settings.people import AttributeSpec, TagRule

Source = Literal["registration", "operator", "job"]

OWN_ATTRIBUTES = frozenset({"quiet_hours", "timezone"})
"""What people may always set: when they want to be left alone."""


class Note(msgspec.Struct, frozen=True):
    """Field `t:NAME` of a user: who put the tag on, when and why."""

    source: Source
    at_ms: int
    note: str = ""


def details(
    stored: Mapping[str, Note],
    removed: Iterable[str],
    attributes: Mapping[str, str],
    rules: Iterable[TagRule],
) -> tuple[TagDetail, ...]:
    """The tags in force by name, each with its source; what is stored goes before rules."""
    found = {
        name: TagDetail(name=name, source=note.source, at_ms=note.at_ms, note=note.note)
        for name, note in stored.items()
    }
    off = set(removed)
    for rule in rules:
        if rule.tag not in found and rule.tag not in off and follows(rule, attributes):
            found[rule.tag] = TagDetail(name=rule.tag, source="rule", note=worded(rule))
    return tuple(found[name] for name in sorted(found))


def follows(rule: TagRule, attributes: Mapping[str, str]) -> bool:
    """Whether the attribute is there, with one of the rule's values where it has any."""
    value = attributes.get(rule.attribute)
    if value is None:
        return False
    known = {one.strip().casefold() for one in rule.values}
    return not known or value.strip().casefold() in known


def worded(rule: TagRule) -> str:
    if not rule.values:
        return f"{rule.attribute} is known"
    return f"{rule.attribute} is {' or '.join(rule.values)}"


def check_attributes(attributes: Mapping[str, str | None], specs: Iterable[AttributeSpec]) -> None:
    """Raises Invalid for what the schema does not have; without a schema anything may be said."""
    known = {spec.name: spec for spec in specs}
    if not known:
        return
    for name, value in attributes.items():
        if name in OWN_ATTRIBUTES:
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise Invalid(
                f"there is no attribute {name}",
                hint=f"did you mean {near[0]}? The schema is people.attributes in the settings",
                reason="no_attribute",
                facts={"name": name},
            )
        values = known[name].values
        if value is not None and values and value not in values:
            raise Invalid(
                f"{value!r} is no value of the attribute {name}",
                hint=f"it is one of {', '.join(values)}",
                reason="bad_attribute",
                facts={"name": name, "values": ", ".join(values)},
            )


def check_own(patch: UserPatch, specs: Iterable[AttributeSpec]) -> None:
    """Raises Forbidden for what people may not change of themselves, on which tags may rest."""
    allowed = OWN_ATTRIBUTES | {spec.name for spec in specs if spec.own}
    if patch.tags is not msgspec.UNSET:
        raise Forbidden(
            "people do not set their own tags", hint="change attributes only", reason="own_tags"
        )
    for name in patch.attributes:
        if name not in allowed:
            raise Forbidden(
                f"the attribute {name} is the operator's",
                hint=f"you may set {', '.join(sorted(allowed))}",
                reason="attribute_of_operator",
                facts={"name": name},
            )
