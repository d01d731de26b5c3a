"""Users and sessions on a real Valkey."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound, Overloaded
from appliance.people.cursors import decode_offset, encode_offset
from appliance.people.sessions import Sessions
from appliance.people.users import Users
from appliance.schema.people import MAX_ATTRIBUTES, UserPatch, UserPut

pytestmark = pytest.mark.integration


async def test_a_user_is_replaced_whole_and_changed_in_part(bus: Bus) -> None:
    users = Users(bus)
    first = await users.replace("u", UserPut(attributes={"name": "林", "team": "ops"}, tags=("a",)))
    assert first.attributes == {"name": "林", "team": "ops"}
    changed = await users.change("u", UserPatch(attributes={"team": None, "room": "B1"}))
    assert changed.attributes == {"name": "林", "room": "B1"}
    assert changed.tags == ("a",)
    assert changed.version == first.version + 1
    replaced = await users.replace("u", UserPut(attributes={"x": "1"}))
    assert (replaced.attributes, replaced.tags) == ({"x": "1"}, ())


async def test_an_unknown_user_is_not_found_but_has_an_empty_profile(bus: Bus) -> None:
    users = Users(bus)
    with pytest.raises(NotFound):
        await users.read("nobody")
    with pytest.raises(NotFound):
        await users.change("nobody", UserPatch(attributes={"a": "b"}))
    assert (await users.find("nobody")).version == 0


async def test_several_users_are_read_in_one_call_and_unknown_ones_left_out(bus: Bus) -> None:
    users = Users(bus)
    for uid in ("b", "a"):
        await users.replace(uid, UserPut(attributes={"id": uid}))
    found = await users.read_many(["a", "nobody", "b"])
    assert [user.id for user in found] == ["a", "b"]


async def test_attributes_are_bounded_over_several_changes(bus: Bus) -> None:
    users = Users(bus)
    await users.replace("u", UserPut(attributes={f"n{n}": "" for n in range(MAX_ATTRIBUTES)}))
    with pytest.raises(Invalid):
        await users.change("u", UserPatch(attributes={"one-more": "x"}))
    swapped = await users.change("u", UserPatch(attributes={"n0": None, "other": "x"}))
    assert len(swapped.attributes) == MAX_ATTRIBUTES


async def test_sessions_are_listed_by_last_activity_in_pages(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    made = [await sessions.create("u", f"s{n}") for n in range(5)]
    for position, session in enumerate(made):
        await sessions.touch(session, 1_000 + position)
    await sessions.touch(made[0], 9_000)
    titles: list[str] = []
    cursor: str | None = None
    while True:
        page = await sessions.page("u", cursor=cursor, limit=2)
        titles += [session.title for session in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert titles == ["s0", "s4", "s3", "s2", "s1"]
    assert (await sessions.page("somebody-else", cursor=None, limit=2)).items == ()


async def test_a_session_is_renamed_and_deleted(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    session = await sessions.create("u", "")
    assert (await sessions.change(session.id, title="新标题")).title == "新标题"
    await sessions.delete(session)
    for call in (sessions.read(session.id), sessions.change(session.id, title="x")):
        with pytest.raises(NotFound):
            await call
    assert (await sessions.page("u", cursor=None, limit=10)).items == ()


async def test_sessions_of_a_user_are_bounded(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=2)
    for _ in range(2):
        await sessions.create("u", "")
    with pytest.raises(Overloaded):
        await sessions.create("u", "")
    await sessions.create("v", "")


@given(st.integers(0, 10**9))
def test_a_cursor_comes_back_as_it_was(offset: int) -> None:
    assert decode_offset(encode_offset(offset)) == offset


@given(st.text(max_size=20))
def test_a_cursor_that_is_not_ours_is_an_offset_or_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert decode_offset(text) >= 0
