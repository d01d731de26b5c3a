"""Versions in the real store: nothing that was written is lost at once, and nobody overwrites
what he has not seen."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_rig import entry_put

from appliance import keys
from appliance.bus.client import Bus, connect
from appliance.errors import Invalid, NotFound
from appliance.knowledge.entries import Entries, VersionConflict, content
from appliance.knowledge.history import History
from appliance.schema.faq import Entry

pytestmark = pytest.mark.integration

HISTORY_KEPT = 3
DELETED_KEPT = 2


@pytest.fixture
def entries(bus: Bus) -> Entries:
    return Entries(bus, 10, history_kept=HISTORY_KEPT, deleted_kept=DELETED_KEPT)


@pytest.fixture
def history(bus: Bus, entries: Entries) -> History:
    return History(bus, entries)


async def edited(entries: Entries, entry: Entry, times: int) -> Entry:
    for n in range(times):
        entry = await entries.replace(entry.id, entry_put(answer=f"Answer {entry.version + n}"))
    return entry


async def test_an_edit_of_an_older_version_is_refused_with_both_texts(entries: Entries) -> None:
    made = await entries.create(entry_put())
    newer = await entries.replace(made.id, entry_put(answer="In room 8."), expected=1)
    yours = entry_put(answer="在 9 号房间。")
    with pytest.raises(VersionConflict) as caught:
        await entries.replace(made.id, yours, expected=1)
    assert caught.value.stored == newer == await entries.read(made.id)
    assert caught.value.yours is not None
    assert caught.value.yours.answer == yours.answer
    assert '"2"' in caught.value.hint


async def test_a_deletion_of_an_older_version_is_refused(entries: Entries) -> None:
    made = await entries.create(entry_put())
    await edited(entries, made, 1)
    with pytest.raises(VersionConflict):
        await entries.delete(made.id, expected=1)
    await entries.delete(made.id, expected=2)
    assert await entries.count() == 0


async def test_an_edit_sent_twice_is_done_once_and_answers_the_same(entries: Entries) -> None:
    made = await entries.create(entry_put())
    once = await entries.replace(made.id, entry_put(answer="In room 8."), expected=1)
    assert await entries.replace(made.id, entry_put(answer="In room 8."), expected=1) == once


async def test_of_editors_who_read_the_same_version_exactly_one_succeeds(entries: Entries) -> None:
    made = await entries.create(entry_put())
    edits = [
        entries.replace(made.id, entry_put(answer=f"Editor {n}"), expected=1) for n in range(8)
    ]
    done = await asyncio.gather(*edits, return_exceptions=True)
    (winner,) = [outcome for outcome in done if isinstance(outcome, Entry)]
    lost = [outcome for outcome in done if isinstance(outcome, VersionConflict)]
    assert len(lost) == 7
    assert {conflict.stored.answer for conflict in lost} == {winner.answer}
    assert (await entries.read(made.id)).version == 2


async def test_the_history_holds_the_newest_versions_up_to_its_bound(
    entries: Entries, history: History, bus: Bus
) -> None:
    made = await entries.create(entry_put())
    last = await edited(entries, made, 6)
    found = await history.of(made.id)
    assert [(r.version, r.current) for r in found] == [
        (7, True),
        (6, False),
        (5, False),
        (4, False),
    ]
    assert found[0].answer == last.answer
    assert len({r.answer for r in found}) == 4
    assert len(await bus.hgetall(keys.history(made.id))) == HISTORY_KEPT


async def test_an_old_version_comes_back_as_the_newest(entries: Entries, history: History) -> None:
    made = await entries.create(entry_put(answer="初版"))
    await edited(entries, made, 2)
    back = await history.restore(made.id, 1)
    assert (back.version, back.answer) == (4, "初版")
    assert back.created_at_ms == made.created_at_ms
    undone = await history.restore(made.id, 3)
    assert undone.version == 5
    assert undone.answer != "初版"


async def test_a_restore_meant_for_another_version_is_refused(
    entries: Entries, history: History
) -> None:
    made = await entries.create(entry_put())
    await edited(entries, made, 2)
    with pytest.raises(VersionConflict):
        await history.restore(made.id, 1, expected=2)


async def test_a_deleted_entry_comes_back_at_its_place_and_goes_on_counting(
    entries: Entries, history: History
) -> None:
    first, second = await entries.create(entry_put("A?")), await entries.create(entry_put("B?"))
    last = await edited(entries, first, 1)
    await entries.delete(first.id)
    assert [(d.id, d.version) for d in await history.deleted(0, 10)] == [(first.id, 2)]
    back = await history.restore(first.id, None)
    assert content(back) == content(last)
    assert (back.version, back.created_at_ms) == (3, first.created_at_ms)
    by_age = sorted([first, second], key=lambda e: (e.created_at_ms, e.id))  # may be of one ms
    assert [e.id async for batch in entries.all() for e in batch] == [e.id for e in by_age]
    assert await history.deleted(0, 10) == ()
    assert await entries.unindexed() == sorted([first.id, second.id])


async def test_an_older_version_of_a_deleted_entry_can_come_back(
    entries: Entries, history: History
) -> None:
    made = await entries.create(entry_put(answer="One"))
    await entries.replace(made.id, entry_put(answer="Two"))
    await entries.delete(made.id)
    assert (await history.restore(made.id, 1)).answer == "One"


async def test_a_deleted_entry_comes_back_only_at_the_version_that_was_seen(
    entries: Entries, history: History
) -> None:
    made = await edited(entries, await entries.create(entry_put(answer="One")), 1)
    await entries.delete(made.id)
    with pytest.raises(VersionConflict) as caught:
        await history.restore(made.id, 1, expected=1)
    assert caught.value.stored.version == 2
    assert await entries.count() == 0
    back = await history.restore(made.id, 2, expected=2)
    assert back.version == 3
    for version in (1, None):  # somebody else brought it back meanwhile
        with pytest.raises(VersionConflict):
            await history.restore(made.id, version, expected=2)
    assert await entries.read(made.id) == back


async def test_of_deleted_entries_the_oldest_are_forgotten_at_the_bound(
    entries: Entries, history: History, bus: Bus
) -> None:
    made = [await entries.create(entry_put(f"Q{n}?")) for n in range(4)]
    for entry in made:
        await entries.delete(entry.id)
    remembered = {entry.id for entry in await history.deleted(0, 10)}
    assert len(remembered) == DELETED_KEPT
    forgotten = [entry for entry in made if entry.id not in remembered]
    for entry in forgotten:
        assert not await bus.exists(keys.history(entry.id))
        with pytest.raises(NotFound):
            await history.restore(entry.id, None)
        with pytest.raises(NotFound):
            await history.of(entry.id)


@pytest.mark.parametrize("entry_id", ["nobody", "unindexed", "misses", "../x", ""])
async def test_what_never_was_has_no_history(history: History, entry_id: str) -> None:
    with pytest.raises(NotFound):
        await history.of(entry_id)
    with pytest.raises(NotFound):
        await history.restore(entry_id, None)


async def test_a_restore_says_what_is_wrong_with_it(entries: Entries, history: History) -> None:
    made = await entries.create(entry_put())
    with pytest.raises(Invalid, match="not deleted"):
        await history.restore(made.id, None)
    with pytest.raises(NotFound, match="version 9"):
        await history.restore(made.id, 9)
    assert await history.restore(made.id, 1) == made


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 4), max_size=20))
def test_a_version_names_one_text_whatever_is_done(valkey_url: str, steps: list[int]) -> None:
    """Edits, deletions, restores: an (id, version) pair never stands for two texts."""
    asyncio.run(_walk(valkey_url, steps))


async def _walk(valkey_url: str, steps: list[int]) -> None:
    bus = connect(valkey_url)
    try:
        await bus.eval("return redis.call('FLUSHALL')", 0)
        entries = Entries(bus, 10, history_kept=HISTORY_KEPT, deleted_kept=DELETED_KEPT)
        history = History(bus, entries)
        entry_id = (await entries.create(entry_put(answer="start"))).id
        texts: dict[int, str] = {}
        for n, step in enumerate(steps):
            live = bool(await entries.many([entry_id]))
            if step == 0 and live:
                await entries.delete(entry_id)
            elif step == 1 and not live:
                await history.restore(entry_id, None)
            elif step == 2:
                await history.restore(entry_id, (await history.of(entry_id))[-1].version)
            elif live:
                await entries.replace(entry_id, entry_put(answer=f"text {n}"))
            for seen in await history.of(entry_id):
                assert texts.setdefault(seen.version, seen.answer) == seen.answer
            known = len(await bus.hgetall(keys.history(entry_id)))
            assert known <= HISTORY_KEPT + 1  # and the mark of a deletion
    finally:
        await bus.aclose()
