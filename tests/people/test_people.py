"""Users and sessions on a real Valkey."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import keys
from appliance.access.cancelling import Cancelling
from appliance.background.retention import Retention
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


async def test_quiet_hours_that_cannot_be_read_change_nothing(bus: Bus) -> None:
    users = Users(bus)
    await users.replace("u", UserPut(attributes={"name": "Lin"}))
    with pytest.raises(Invalid, match="quiet_hours"):
        await users.change("u", UserPatch(attributes={"name": "Mei", "quiet_hours": "at night"}))
    assert (await users.read("u")).attributes == {"name": "Lin"}


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


class Cut:
    """A store that is lost after so many calls."""

    def __init__(self, bus: Bus, calls: int) -> None:
        self._bus, self._left = bus, calls

    def __getattr__(self, name: str) -> object:
        if self._left == 0:
            raise ConnectionError(name)
        self._left -= 1
        return getattr(self._bus, name)


@pytest.mark.parametrize("calls", range(5))
async def test_what_a_crash_leaves_of_a_session_is_listed(bus: Bus, calls: int) -> None:
    whole = Sessions(bus, sessions_kept=10)
    cut = Sessions(Cut(bus, calls), sessions_kept=10)  # type: ignore[arg-type]
    made = await whole.create("u", "to be deleted")
    with contextlib.suppress(ConnectionError):
        await cut.delete(made)
    with contextlib.suppress(ConnectionError):
        await Sessions(Cut(bus, calls), sessions_kept=10).create("u", "new")  # type: ignore[arg-type]
    _, left = await bus.scan(0, match=f"{keys.session('')[:-1]}*", count=1000)
    listed = {session.id for session in (await whole.page("u", cursor=None, limit=10)).items}
    assert {keys.session(one) for one in listed} == {name.decode() for name in left}


async def test_a_deleted_session_is_not_listed_again(bus: Bus) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    made = await sessions.create("u", "gone")
    await sessions.delete(made)
    await sessions.touch(made, made.last_active_at_ms + 1)
    assert await bus.zcard(keys.sessions("u")) == 0


async def test_an_old_turn_goes_with_its_thumb_and_so_does_the_id_of_a_lost_session(
    bus: Bus,
) -> None:
    sessions = Sessions(bus, sessions_kept=10)
    made = await sessions.create("u", "")
    for turn_id, at_ms in (("old", 1_000), ("new", made.created_at_ms)):
        await bus.zadd(keys.turns(made.id), {turn_id: at_ms})
        records = {f"{turn_id}:{record}": "{}" for record in ("question", "answer", "feedback")}
        await bus.hset(keys.turn(made.id), mapping=records)
    await bus.zadd(keys.sessions("u"), {"slost": 1_000, "scoming": made.created_at_ms})
    retention = Retention(bus, sessions, Cancelling, 1.0)  # type: ignore[arg-type]
    assert await retention.look(2_000) == 0
    left = await bus.hgetall(keys.turn(made.id))
    assert set(left) == {b"new:question", b"new:answer", b"new:feedback"}
    assert set(await bus.zrange(keys.sessions("u"), 0, -1)) == {made.id.encode(), b"scoming"}


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
