"""The truth in Valkey: what was written is read, listed, bounded and marked."""

import asyncio

import msgspec
import pytest
from knowledge_rig import entry_put

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import Conflict, Invalid, NotFound
from appliance.knowledge.entries import Entries, Job, first_version, revised, valid_id
from appliance.knowledge.text import tidied
from appliance.schema.faq import EntryPut

pytestmark = pytest.mark.integration


@pytest.fixture
def entries(bus: Bus) -> Entries:
    return Entries(bus, 10)


async def all_ids(entries: Entries) -> list[str]:
    return [entry.id async for batch in entries.all() for entry in batch]


async def pages(entries: Entries, limit: int, **filters: str) -> list[list[str]]:
    found, cursor = [], None
    while True:
        page = await entries.page(cursor=cursor, limit=limit, **filters)
        found.append([entry.id for entry in page.items])
        cursor = page.cursor
        if cursor is None:
            return found


async def written(entries: Entries, *ids: str, at_ms: int = 1000, version: int = 1) -> None:
    """Entries that were all made in the same millisecond, as by an import."""
    puts = [tidied(entry_put(f"Question {i}")) for i in ids]
    assert await entries.write(
        [
            first_version(put, at_ms=at_ms, entry_id=i, version=version)
            for put, i in zip(puts, ids, strict=True)
        ]
    )


async def test_an_entry_is_read_as_it_was_created(entries: Entries) -> None:
    put = EntryPut(
        question=" 钥匙在哪里？", answer="7 号房间。", phrasings=("key?",), category="行政"
    )
    made = await entries.create(put)
    assert await entries.read(made.id) == made
    assert (made.question, made.language, made.version) == ("钥匙在哪里？", "zh", 1)
    assert made.created_at_ms == made.updated_at_ms > 0


async def test_a_replaced_entry_keeps_its_id_and_place_and_grows_its_version(
    entries: Entries,
) -> None:
    first, second = await entries.create(entry_put("One?")), await entries.create(entry_put("Two?"))
    changed = await entries.replace(first.id, entry_put("Three?"))
    assert (changed.id, changed.version) == (first.id, 2)
    assert changed.created_at_ms == first.created_at_ms
    assert await entries.read(first.id) == changed
    assert set(await all_ids(entries)) == {first.id, second.id}


async def test_a_deleted_entry_is_gone(entries: Entries) -> None:
    made = await entries.create(entry_put())
    await entries.delete(made.id)
    for call in (entries.read(made.id), entries.delete(made.id)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(NotFound):
        await entries.replace(made.id, entry_put())
    assert await entries.count() == 0
    assert await all_ids(entries) == []


@pytest.mark.parametrize("entry_id", ["", "unindexed", "../x", "A", "a" * 64, "a:b", "\x00"])
async def test_an_id_that_cannot_be_is_not_found(entries: Entries, entry_id: str) -> None:
    await entries.create(entry_put())  # so that the set `faq:unindexed` exists
    assert not valid_id(entry_id)
    with pytest.raises(NotFound):
        await entries.read(entry_id)


async def test_every_write_marks_its_entry_in_the_same_step(entries: Entries) -> None:
    heard: list[str] = []
    entries.on_change(heard.extend)
    made = await entries.create(entry_put())
    assert await entries.unindexed() == [made.id]
    for change in (entries.replace(made.id, entry_put("Else?")), entries.delete(made.id)):
        await entries.unmark(await entries.snapshots([made.id]))
        assert await entries.are_indexed([made.id])
        await change
        assert not await entries.are_indexed(["other", made.id])
    assert heard == [made.id] * 3


async def test_a_mark_stays_when_the_record_has_changed_since_it_was_read(entries: Entries) -> None:
    made = await entries.create(entry_put())
    before = await entries.snapshots([made.id])
    await entries.replace(made.id, entry_put("Else?"))
    await entries.unmark(before)
    assert await entries.unindexed() == [made.id]
    before = await entries.snapshots([made.id])
    await entries.delete(made.id)
    await entries.unmark(before)
    assert await entries.unindexed() == [made.id]
    await entries.unmark(await entries.snapshots([made.id]))
    assert await entries.unindexed() == []


async def test_the_bound_is_reached_and_names_its_setting(entries: Entries) -> None:
    await written(entries, *(f"e{n}" for n in range(10)))
    with pytest.raises(Invalid, match="at most 10 entries") as caught:
        await entries.create(entry_put())
    assert "faq.entries_bound" in caught.value.hint
    await entries.replace("e3", entry_put("Still editable?"))
    await entries.delete("e4")
    await entries.create(entry_put())


async def test_a_batch_past_the_bound_is_refused_whole(entries: Entries) -> None:
    await written(entries, *(f"e{n}" for n in range(8)))
    with pytest.raises(Invalid):
        await written(entries, "n1", "n2", "n3")
    assert await entries.count() == 8
    assert not await entries.many(["n1", "n2", "n3"])


async def test_a_batch_with_one_outdated_version_is_refused_whole(entries: Entries) -> None:
    await written(entries, "a", "b")
    a, b = await entries.many(["a", "b"])
    put = tidied(entry_put("Changed?"))
    await entries.replace("b", entry_put("Faster?"))
    assert not await entries.write([revised(a, put, at_ms=9000), revised(b, put, at_ms=9000)])
    assert (await entries.read("a")) == a
    assert (await entries.read("b")).question == "Faster?"


async def test_a_write_that_is_sent_twice_is_written_once(entries: Entries) -> None:
    entry = first_version(tidied(entry_put()), at_ms=1000)
    assert await entries.write([entry])
    assert await entries.write([entry])
    assert (await entries.read(entry.id)).version == 1
    assert await entries.count() == 1


async def test_a_long_write_is_whole_and_may_be_sent_twice(bus: Bus) -> None:
    entries = Entries(bus, 3000, history_kept=1)
    put = tidied(entry_put())
    versions = [[first_version(put, at_ms=n, entry_id=f"e{n}") for n in range(2500)]]
    for _ in range(2):
        versions.append([revised(one, put, at_ms=9000) for one in versions[-1]])
    job = Job("i1", b"{}", made_at_ms=1, kept=5, ttl_s=100)
    for made in versions:
        await entries.unmark(await entries.snapshots([one.id for one in made]))
        for _ in range(2):
            assert await entries.write(made, job)
            assert [one async for batch in entries.all() for one in batch] == made
            assert await entries.unindexed() == sorted(one.id for one in made)
            assert await bus.scard(keys.import_entries(job.job_id)) == 2500
    for one in versions[1]:
        assert await bus.hgetall(keys.history(one.id)) == {b"2": msgspec.json.encode(one)}
    changed = [*versions[2][:-1], revised(versions[2][-1], put, at_ms=9000)]
    assert await entries.write(changed, job), "some were there already"
    assert not await entries.write(versions[0], job)
    assert await entries.many(["e0", "e2499"]) == [changed[0], changed[-1]]


async def test_of_writers_at_once_the_last_wins_and_none_is_lost(entries: Entries) -> None:
    made = await entries.create(entry_put())
    puts = [entry_put(f"Version {n}?") for n in range(5)]
    done = await asyncio.gather(*(entries.replace(made.id, put) for put in puts))
    assert {entry.version for entry in done} == {2, 3, 4, 5, 6}
    last = max(done, key=lambda entry: entry.version)
    assert await entries.read(made.id) == last


async def test_a_replace_gives_up_on_an_entry_others_never_leave_alone(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await entries.create(entry_put())

    async def always_late(batch: object) -> bool:
        return False

    monkeypatch.setattr(entries, "write", always_late)
    with pytest.raises(Conflict):
        await entries.replace(made.id, entry_put("Else?"))


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
async def test_pages_hold_every_entry_once_in_order_of_creation(
    entries: Entries, limit: int
) -> None:
    await written(entries, "m2", "m1", "m3", at_ms=2000)
    await written(entries, "a9", "b-1", "b_1", at_ms=3000)
    await written(entries, "z", at_ms=1000)
    found = await pages(entries, limit)
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert [i for page in found for i in page] == ["z", "m1", "m2", "m3", "a9", "b-1", "b_1"]


async def test_a_page_goes_on_where_it_stopped_whatever_was_edited(entries: Entries) -> None:
    await written(entries, "a", "b", "c", "d", "e")
    page = await entries.page(limit=3)
    for gone in ("a", "c"):  # the cursor's own entry too
        await entries.delete(gone)
    await entries.replace("d", entry_put("Edited?"))
    await written(entries, "bb")  # before the cursor: not seen any more
    rest = await entries.page(cursor=page.cursor, limit=3)
    assert [entry.id for entry in rest.items] == ["d", "e"]
    assert await entries.count() == 4
    assert await entries.unindexed() == ["a", "b", "bb", "c", "d", "e"]


async def test_an_entry_made_again_stands_at_its_new_place(entries: Entries) -> None:
    await written(entries, "a", "b", "c", at_ms=1000)
    page = await entries.page(limit=2)
    await entries.delete("b")
    await written(entries, "b", at_ms=2000, version=2)
    rest = await entries.page(cursor=page.cursor, limit=5)
    assert [entry.id for entry in rest.items] == ["c", "b"]
    assert await all_ids(entries) == ["a", "c", "b"]


async def test_pages_can_be_filtered(entries: Entries) -> None:
    for n in range(6):
        await entries.create(
            EntryPut(
                question=f"问题 {n}" if n % 2 else f"Question {n}",
                answer="x",
                category="HR" if n < 4 else "IT",
            )
        )
    chinese = await pages(entries, 1, language="zh")
    assert [len(page) for page in chinese] == [1, 1, 1]
    both = await entries.page(category="HR", language="en")
    assert {entry.question for entry in both.items} == {"Question 0", "Question 2"}
    assert (await entries.page(category="none")).items == ()
    draft = await entries.create(EntryPut(question="Draft?", answer="x", state="draft"))
    assert [entry.id for entry in (await entries.page(state="draft")).items] == [draft.id]
    assert len((await entries.page(state="published")).items) == 6
    labels = await entries.labels()
    assert labels.categories == ("", "HR", "IT"), "a draft without a category among them"
    assert labels.languages == ("en", "zh")


@pytest.mark.parametrize("cursor", ["x", "1.", ".a", "1.A", "-1.a", "1e3.a", "9" * 20 + ".a", "²."])
async def test_a_cursor_that_is_not_ours_is_invalid(entries: Entries, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        await entries.page(cursor=cursor)


async def test_many_answers_those_that_exist_in_the_given_order(entries: Entries) -> None:
    await written(entries, "a", "b", "c")
    found = await entries.many(["c", "nothing", "a", "NOT-AN-ID"])
    assert [entry.id for entry in found] == ["c", "a"]
    assert await entries.many([]) == []


async def test_reading_leaves_no_trace(entries: Entries, bus: Bus) -> None:
    """A page after a deleted entry puts it back in its place for a moment, and only so long."""
    await written(entries, "a", "b")
    page = await entries.page(limit=1)
    await entries.delete("a")
    await entries.page(cursor=page.cursor)
    assert await bus.zrange(keys.FAQ, 0, -1) == [b"b"]
