"""Fragments by tags, and the profile that a session keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.access.fragments import Fragments, chosen
from appliance.access.profile import Profiles
from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound
from appliance.people.sessions import Sessions
from appliance.people.turns import Turns
from appliance.people.users import Users
from appliance.schema.people import Fragment, FragmentPut, UserPut
from appliance.settings import Settings
from appliance.settings.people import AttributeSpec, People

TAGS = ("a", "b", "c")


def fragment(name: str, tags: tuple[str, ...] = (), *, place: int = 0, text: str = "x") -> Fragment:
    return Fragment(
        name=name, text=text, tags=tags, without=(), place=place, version=1, updated_at_ms=0
    )


@pytest.mark.unit
def test_fragments_follow_their_place_and_then_their_name() -> None:
    given_ = [fragment("b"), fragment("a"), fragment("z", place=-1)]
    assert [one.name for one in chosen(given_, (), chars=100)] == ["z", "a", "b"]


@pytest.mark.unit
def test_what_does_not_fit_is_left_out_from_the_end() -> None:
    given_ = [fragment("a", text="x" * 60), fragment("b", text="x" * 60), fragment("c")]
    assert [one.name for one in chosen(given_, (), chars=100)] == ["a"]


@pytest.mark.unit
@given(
    st.lists(st.tuples(st.sets(st.sampled_from(TAGS)), st.sets(st.sampled_from(TAGS))), max_size=8),
    st.sets(st.sampled_from(TAGS)),
)
def test_a_person_gets_exactly_the_fragments_whose_tags_are_theirs(
    wanted: list[tuple[set[str], set[str]]], held: set[str]
) -> None:
    made = [
        Fragment(
            name=f"f{n}",
            text="x",
            tags=tuple(tags),
            without=tuple(without),
            place=0,
            version=1,
            updated_at_ms=0,
        )
        for n, (tags, without) in enumerate(wanted)
    ]
    found = {one.name for one in chosen(made, held, chars=1000)}
    for one in made:
        assert (one.name in found) == (set(one.tags) <= held and not set(one.without) & held)


def profiles_of(bus: Bus, settings: Settings) -> tuple[Profiles, Fragments]:
    fragments = Fragments(bus, settings.people)
    return Profiles(bus, Users(bus, settings.people), Turns(bus), fragments, settings), fragments


@pytest.mark.integration
async def test_a_session_keeps_what_it_began_with_until_it_is_thawed(bus: Bus) -> None:
    profiles, fragments = profiles_of(bus, Settings())
    users, sessions = Users(bus), Sessions(bus, sessions_kept=10)
    await users.replace("lin", UserPut(attributes={"name": "林"}, tags=("staff",)))
    await fragments.put("canteen", FragmentPut(text="Canteen: floor 7.", tags=("staff",)))
    session = await sessions.create("lin", "")
    begun = await profiles.system("lin", session.id)
    assert "floor 7" in begun.content
    await users.replace("lin", UserPut(attributes={"name": "林"}, tags=("guest",)))
    await fragments.put("canteen", FragmentPut(text="Canteen: floor 9.", tags=("guest",)))
    assert await profiles.system("lin", session.id) == begun
    assert await profiles.peek("lin", session.id) == begun
    other = await sessions.create("lin", "")
    assert "floor 9" in (await profiles.system("lin", other.id)).content
    await profiles.thaw(session.id)
    assert "floor 9" in (await profiles.system("lin", session.id)).content


@pytest.mark.integration
async def test_looking_freezes_nothing_and_a_deleted_session_comes_not_back(bus: Bus) -> None:
    profiles, fragments = profiles_of(bus, Settings())
    sessions = Sessions(bus, sessions_kept=10)
    session = await sessions.create("lin", "")
    await profiles.peek("lin", session.id)
    await fragments.put("f", FragmentPut(text="new words"))
    assert "new words" in (await profiles.system("lin", session.id)).content
    await sessions.delete(session)
    await profiles.system("lin", session.id)
    with pytest.raises(NotFound):
        await sessions.read(session.id)


@pytest.mark.integration
async def test_attributes_that_are_not_told_stay_out_of_the_prompt(bus: Bus) -> None:
    specs = (AttributeSpec(name="salary", told=False), AttributeSpec(name="name"))
    profiles, _ = profiles_of(bus, Settings(people=People(attributes=specs)))
    await Users(bus).replace("lin", UserPut(attributes={"salary": "9000", "name": "Lin"}))
    preview = await profiles.preview("lin")
    assert "9000" not in preview.system
    assert "Lin" in preview.system
    assert preview.untold == ("salary",)


@pytest.mark.integration
async def test_fragments_are_bounded_versioned_and_deleted(bus: Bus) -> None:
    fragments = Fragments(bus, People(fragments_bound=1))
    await fragments.put("a", FragmentPut(text="1"))
    assert (await fragments.put("a", FragmentPut(text="2"))).version == 2
    with pytest.raises(Invalid):
        await fragments.put("b", FragmentPut(text="3"))
    await fragments.delete("a")
    for call in (fragments.delete("a"), fragments.read("a")):
        with pytest.raises(NotFound):
            await call
