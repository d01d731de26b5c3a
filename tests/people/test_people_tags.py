"""Tags and their sources, attributes and their schema: rules, and on a real Valkey."""

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound
from appliance.people.tags import Note, check_attributes, details
from appliance.people.users import MAX_TAKEN_OFF, Users
from appliance.schema.people import MAX_TAGS, User, UserPatch, UserPut
from appliance.settings.people import AttributeSpec, People, TagRule

FINANCE = TagRule(tag="finance", attribute="department", values=("Finance", "财务"))
KNOWN = TagRule(tag="placed", attribute="department")
RULES = People(rules=(FINANCE, KNOWN))


def sources(user: User) -> dict[str, str]:
    return {detail.name: detail.source for detail in user.details}


@pytest.mark.unit
@pytest.mark.parametrize("value", ["finance", " FINANCE ", "财务"])
def test_a_rule_gives_its_tag_whatever_the_case(value: str) -> None:
    found = details({}, (), {"department": value}, (FINANCE, KNOWN))
    assert [(one.name, one.source) for one in found] == [("finance", "rule"), ("placed", "rule")]
    assert "department" in found[0].note


@pytest.mark.unit
def test_a_rule_gives_nothing_for_another_value_nor_what_was_taken_off() -> None:
    assert [d.name for d in details({}, (), {"department": "x"}, (FINANCE, KNOWN))] == ["placed"]
    assert details({}, ("placed",), {"department": "x"}, (FINANCE, KNOWN)) == ()
    assert details({}, (), {}, (FINANCE, KNOWN)) == ()


@pytest.mark.unit
def test_what_somebody_put_on_goes_before_a_rule() -> None:
    (found,) = details({"placed": Note("operator", 7, "why")}, (), {"department": "x"}, (KNOWN,))
    assert (found.source, found.at_ms, found.note) == ("operator", 7, "why")


@pytest.mark.unit
def test_an_attribute_outside_the_schema_is_refused_with_the_nearest_name() -> None:
    specs = (AttributeSpec(name="department", values=("a", "b")), AttributeSpec(name="room"))
    check_attributes({"department": "a", "room": "anything"}, specs)
    check_attributes({"whatever": "x"}, ())
    with pytest.raises(Invalid) as refused:
        check_attributes({"departmnet": "a"}, specs)
    assert "department" in refused.value.hint
    with pytest.raises(Invalid) as refused:
        check_attributes({"department": "c"}, specs)
    assert "a, b" in refused.value.hint
    check_attributes({"department": None}, specs)


@pytest.mark.integration
async def test_every_tag_has_its_source_and_can_be_taken_off_for_good(bus: Bus) -> None:
    users = Users(bus, RULES)
    await users.replace("u", UserPut(attributes={"department": "财务"}, tags=("new",)))
    await users.tag("u", ["vip"], "asked for it", source="operator")
    assert await users.tag("u", ["cyclist", "vip"], "in 3 questions", source="job") == 1
    user = await users.read("u")
    assert sources(user) == {
        "cyclist": "job",
        "finance": "rule",
        "new": "registration",
        "placed": "rule",
        "vip": "operator",
    }
    for tag in ("cyclist", "finance", "new", "vip", "placed"):
        assert tag not in (await users.untag("u", tag)).tags
    assert await users.tag("u", ["cyclist"], "again", source="job") == 0
    assert (await users.read("u")).tags == ()
    with pytest.raises(NotFound):
        await users.untag("u", "finance")
    await users.tag("u", ["finance"], "after all", source="operator")
    assert sources(await users.read("u")) == {"finance": "operator"}


@pytest.mark.integration
async def test_past_the_bound_of_what_was_taken_off_the_tag_stays(bus: Bus) -> None:
    users = Users(bus)
    await users.replace("u", UserPut(tags=("vip",)))
    off = {f"x:{n}": 1 for n in range(MAX_TAKEN_OFF)}
    await bus.hset(keys.user("u"), mapping={**off})
    with pytest.raises(Invalid, match="too many"):
        await users.untag("u", "vip")
    assert (await users.read("u")).tags == ("vip",)


@pytest.mark.integration
async def test_new_registration_data_replace_old_ones_and_leave_the_jobs_tags(bus: Bus) -> None:
    users = Users(bus, RULES)
    await users.replace("u", UserPut(tags=("old",)))
    await users.tag("u", ["found"], "", source="job")
    await users.change("u", UserPatch(tags=("newer",)))
    assert sources(await users.read("u")) == {"found": "job", "newer": "registration"}
    await users.replace("u", UserPut())
    assert sources(await users.read("u")) == {"found": "job"}


@pytest.mark.integration
async def test_tags_written_by_an_older_version_are_read_replaced_and_taken_off(bus: Bus) -> None:
    users = Users(bus)
    old: dict[str, str | bytes | int | float] = {
        "version": 3,
        "tags": msgspec.json.encode(["a", "b"]),
    }
    await bus.hset(keys.user("u"), mapping=old)
    assert (await users.read("u")).tags == ("a", "b")
    assert (await users.untag("u", "a")).tags == ("b",)
    assert (await users.change("u", UserPatch(tags=("c",)))).tags == ("c",)


@pytest.mark.integration
async def test_tags_are_bounded(bus: Bus) -> None:
    users = Users(bus)
    await users.replace("u", UserPut(tags=tuple(f"t{n}" for n in range(MAX_TAGS))))
    with pytest.raises(Invalid):
        await users.tag("u", ["one-more"], "", source="operator")
