"""The index follows the truth: edits, crashes, outages, other models, wrong rows."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from knowledge_rig import WAIT_S, HashingEmbedder, MemoryVectors, Rig, entry_put, rig

from appliance.bus.client import AWAY, Bus
from appliance.knowledge import index
from appliance.knowledge.entries import Entries, Snapshot
from appliance.knowledge.imports import import_file
from appliance.knowledge.rows import PlannedRow, collection_name, planned_rows
from appliance.schema.faq import Entry, EntryPut

pytestmark = pytest.mark.integration


@pytest.fixture
def vectors() -> MemoryVectors:
    return MemoryVectors()


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def parts(bus: Bus, vectors: MemoryVectors, embedder: HashingEmbedder) -> Rig:
    return rig(bus, vectors, embedder)


async def assert_rows_are_right(parts: Rig, vectors: MemoryVectors) -> None:
    """Exactly the rows of the published records, each with its own vector."""
    due: dict[str, PlannedRow] = {}
    async for batch in parts.entries.all():
        for entry in batch:
            due.update(planned_rows(entry))
    rows = vectors.only()
    assert rows.keys() == due.keys()
    assert {pk: row.digest for pk, row in rows.items()} == {pk: r.digest for pk, r in due.items()}
    for pk, row in rows.items():
        (vector,) = await HashingEmbedder().embed([due[pk].text], kind="passage")
        assert row.vector == vector
    assert await parts.entries.unindexed() == []


def question(entry: Entry, text: str) -> EntryPut:
    return EntryPut(question=text, answer=entry.answer, phrasings=entry.phrasings)


# -- edits


async def test_edits_reach_the_rows(parts: Rig, vectors: MemoryVectors) -> None:
    async with parts.running():
        a = await parts.entries.create(replace_phrasings(entry_put("A?"), "B?", "C?"))
        b = await parts.entries.create(entry_put("Z?"))
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        await parts.entries.replace(a.id, replace_phrasings(entry_put("A?"), "C?", "D?"))
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        await parts.entries.delete(b.id)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        assert {row.entry_id for row in vectors.only().values()} == set(vectors.only())


def replace_phrasings(put: EntryPut, *phrasings: str) -> EntryPut:
    return EntryPut(question=put.question, answer=put.answer, phrasings=phrasings)


async def test_an_edit_embeds_only_what_is_new(
    parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        made = await parts.entries.create(replace_phrasings(entry_put("A?"), "B?", "C?"))
        await parts.settled()
        assert embedder.asked == 4  # three phrasings, and question with answer
        await parts.entries.replace(made.id, replace_phrasings(entry_put("A?"), "C?", "D?"))
        await parts.settled()
        assert embedder.asked == 5
        draft = EntryPut(question="A?", answer="In room 7.", state="draft")
        await parts.entries.replace(made.id, draft)
        await parts.settled()
        assert embedder.asked == 5
        assert vectors.only() == {}


async def test_a_category_goes_into_every_row_of_its_entry(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put())
        await parts.settled()
        put = EntryPut(question=made.question, answer=made.answer, category="keys")
        await parts.entries.replace(made.id, put)
        await parts.settled()
        assert {row.category for row in vectors.only().values()} == {"keys"}
        await assert_rows_are_right(parts, vectors)


async def test_an_edit_waits_until_it_is_searchable(parts: Rig, vectors: MemoryVectors) -> None:
    async with parts.running():
        vectors.gate.clear()
        made = await parts.entries.create(entry_put())
        waiting = asyncio.ensure_future(parts.index.settled([made.id], WAIT_S))
        assert not await parts.index.settled([made.id], 0.01)
        assert not waiting.done()
        assert vectors.only() == {}
        assert "1 FAQ entries are still" in parts.index.degraded
        vectors.gate.set()
        assert await waiting
        assert len(vectors.only()) == 2
        assert parts.index.degraded == ""


async def test_an_edit_overtakes_an_import(parts: Rig, vectors: MemoryVectors) -> None:
    rows = "".join(f'{{"question":"Number {n}?","answer":"a"}}\n' for n in range(200))
    async with parts.running():
        vectors.gate.clear()
        await import_file(parts.entries, rows.encode(), "jsonl")
        made = await parts.entries.create(entry_put("Urgent?"))
        vectors.gate.set()
        assert await parts.index.settled([made.id], WAIT_S)
        place = next(i for i, pk in enumerate(vectors.upserted) if pk.startswith(made.id))
        assert place < 100  # of 402 rows
        await parts.settled()
        await assert_rows_are_right(parts, vectors)


async def test_an_import_gives_way_to_who_asks_but_not_for_ever(
    parts: Rig,
    vectors: MemoryVectors,
    embedder: HashingEmbedder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = "".join(f'{{"question":"Number {n}?","answer":"a"}}\n' for n in range(20))
    async with parts.running():
        monkeypatch.setattr(index, "GIVE_WAY_S", WAIT_S)
        with parts.index.asked():
            taken = await import_file(parts.entries, rows.encode(), "jsonl")
            imported = [one.id for one in taken.writes]
            assert not await parts.index.settled(imported, 0.05)
            assert vectors.upserted == []
        assert await parts.index.settled(imported, WAIT_S)
        assert embedder.background == [True] * 10
        monkeypatch.setattr(index, "GIVE_WAY_S", 0.01)
        with parts.index.asked():
            await import_file(parts.entries, rows.replace("Number", "Item").encode(), "jsonl")
            await parts.settled()
            assert embedder.background == [True] * 20


async def test_an_edit_gives_way_to_nobody(
    parts: Rig, embedder: HashingEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "GIVE_WAY_S", 10 * WAIT_S)
    async with parts.running():
        with parts.index.asked():
            made = await parts.entries.create(entry_put())
            assert await parts.index.settled([made.id], WAIT_S)
    assert embedder.background == [False, False]


async def test_an_edit_made_while_its_entry_is_written_is_not_lost(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put("First?"))
        await parts.settled()
        vectors.gate.clear()
        await parts.entries.replace(made.id, entry_put("Second?"))
        assert not await parts.index.settled([made.id], 0.01)  # now it waits at the gate
        await parts.entries.replace(made.id, entry_put("Third?"))
        vectors.gate.set()
        await parts.settled()
        await assert_rows_are_right(parts, vectors)


async def test_rows_are_flushed_when_edits_have_settled(parts: Rig, vectors: MemoryVectors) -> None:
    async with parts.running():
        vectors.flushed.clear()
        await parts.entries.create(entry_put())
        async with asyncio.timeout(WAIT_S):
            await vectors.flushed.wait()
        assert len(vectors.only()) == 2


# -- starting


async def test_a_crash_between_truth_and_index_is_healed_at_the_next_start(
    bus: Bus, parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        kept = await parts.entries.create(entry_put("Kept?"))
        gone = await parts.entries.create(entry_put("Gone?"))
        await parts.settled()
    before = Entries(bus, 1000)  # a process that dies before its index hears of this
    await before.create(entry_put("New?"))
    await before.replace(kept.id, entry_put("Edited?"))
    await before.delete(gone.id)
    later = rig(bus, vectors, HashingEmbedder())
    async with later.running():
        await assert_rows_are_right(later, vectors)


async def test_wrong_rows_are_repaired_at_the_start(
    bus: Bus, parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        for n in range(40):
            await parts.entries.create(entry_put(f"Number {n}?"))
        await parts.settled()
    rows = vectors.only()
    missing, stale, *_ = list(rows)
    del rows[missing]
    rows[stale] = replace(rows[stale], digest="0" * 16, vector=[0.0] * 256)
    for pk in ("nobody:0123456789abcdef", f"{missing.partition(':')[0]}:fedcba9876543210"):
        rows[pk] = replace(rows[stale], pk=pk, entry_id=pk, digest=pk.partition(":")[2])
    asked = embedder.asked
    later = rig(bus, vectors, embedder)
    async with later.running():
        await assert_rows_are_right(later, vectors)
    assert embedder.asked - asked == 2


async def test_a_start_with_right_rows_embeds_nothing(
    bus: Bus, parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        await parts.entries.create(entry_put())
        await parts.settled()
    asked = embedder.asked
    async with rig(bus, vectors, embedder).running():
        assert embedder.asked == asked


async def test_another_model_gets_another_collection_and_the_old_one_goes(
    bus: Bus, parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    vectors.rows["faq_products"] = {}  # somebody else's
    async with parts.running():
        await parts.entries.create(entry_put())
        await parts.settled()
        embedder.stamp, embedder.size = "hash-b", 128
        vectors.wrote.clear()
        parts.index.wake()
        async with asyncio.timeout(WAIT_S):
            await vectors.wrote.wait()
        await parts.settled()
        async with asyncio.timeout(WAIT_S):
            while len(vectors.rows) > 2:
                await parts.index.moved()
        assert sorted(vectors.rows) == sorted(["faq_products", collection_name("hash-b", 128)])
        rows = vectors.rows[collection_name("hash-b", 128)].values()
        assert [len(row.vector) for row in rows] == [128, 128]
        assert await parts.search("Where is the key?")


async def test_until_another_models_vectors_are_made_words_serve_and_status_says_so(
    bus: Bus, parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    old = collection_name(embedder.stamp, embedder.size)
    async with parts.running():
        made = [await parts.entries.create(entry_put(f"Where is key {n}?")) for n in range(3)]
        await parts.settled()
    kept = dict(vectors.rows[old])
    other = HashingEmbedder("hash-b")
    vectors.gate.clear()
    later = rig(bus, vectors, other)
    async with later.started():
        async with asyncio.timeout(WAIT_S):
            await vectors.waited.wait()
        status = await later.index.status()
        assert not status.indexed
        assert "3 of 3 entries are found by words alone" in status.detail
        assert len(status.detail) <= 120, "what a screen has room for"
        found = await later.retrieval.search("Where is key 1?", limit=1)
        assert [match.id for match in found.matches] == [made[1].id]
        assert "3 FAQ entries are still being indexed" in found.degraded
        assert vectors.rows[old] == kept, "who goes back now has lost nothing"
        vectors.gate.set()
        await later.settled()
        async with asyncio.timeout(WAIT_S):
            while old in vectors.rows:
                await later.index.moved()
        assert (await later.index.status()).detail == ""
        await assert_rows_are_right(later, vectors)


# -- outages


async def test_the_vector_server_may_be_away_and_come_back_empty(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put("First?"))
        await parts.settled()
        vectors.away = True
        edited = await parts.entries.replace(made.id, entry_put("Second?"))
        assert not await parts.index.settled([made.id], WAIT_S)
        status = await parts.index.status()
        assert (status.indexed, status.entries) == (False, 1)
        assert "vector index is away" in status.detail
        vectors.rows.clear()
        vectors.away = False
        assert await parts.index.opened(WAIT_S)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        status = await parts.index.status()
        assert (status.indexed, status.detail, status.phrasings) == (True, "", 1)
        assert edited.question == "Second?"


async def test_a_search_that_finds_the_collection_gone_has_it_rebuilt(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = await parts.entries.create(entry_put())
        await parts.settled()
        vectors.rows.clear()  # set aside as damaged at a restart we did not notice
        vectors.wrote.clear()
        found = await parts.retrieval.search(made.question)
        assert found.degraded
        async with asyncio.timeout(WAIT_S):
            await vectors.wrote.wait()
        await parts.settled()
        assert await parts.search(made.question) == [made.id]


async def test_the_model_may_be_away(
    parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        embedder.away = True
        made = await parts.entries.create(entry_put())
        assert not await parts.index.settled([made.id], WAIT_S)
        assert "the model is away" in (await parts.index.status()).detail
        embedder.away = False
        assert await parts.index.opened(WAIT_S)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)


async def test_a_model_that_is_not_there_yet_is_waited_for(
    parts: Rig, embedder: HashingEmbedder
) -> None:
    embedder.stamp, embedder.size = "", 0
    made = await parts.entries.create(entry_put())
    async with parts.started():
        assert not await parts.index.settled([made.id], WAIT_S)
        assert not await parts.index.opened(0.01)
        assert "no embedding model" in parts.index.degraded
        embedder.stamp, embedder.size = "hash-a", 256
        parts.index.wake()
        assert await parts.index.opened(WAIT_S)
        await parts.settled()


async def test_a_refused_entry_is_set_aside_and_the_others_are_indexed(
    parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    embedder.refused = "poison"
    made = [await parts.entries.create(entry_put(f"Number {n}?")) for n in range(5)]
    bad = await parts.entries.create(entry_put("A poison question?"))
    async with parts.started():
        assert await parts.index.settled([entry.id for entry in made], WAIT_S)
        assert not await parts.index.settled([bad.id], WAIT_S)
        status = await parts.index.status()
        assert status.detail.startswith(f"1 entries cannot be indexed; {bad.id}: the text cannot")
        assert not status.indexed
        assert len(vectors.only()) == 10
        await parts.entries.replace(bad.id, entry_put("A harmless question?"))
        assert await parts.index.settled([bad.id], WAIT_S)
        assert (await parts.index.status()).indexed


@pytest.mark.parametrize(
    ("error", "said"),
    [(AWAY[0]("gone"), "the message store is away"), (RuntimeError("a defect"), "see the log")],
)
async def test_any_other_fault_is_told_and_outlived(
    parts: Rig,
    vectors: MemoryVectors,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    said: str,
) -> None:
    async def fail(entry_ids: object) -> list[Snapshot]:
        raise error

    async with parts.running():
        made = await parts.entries.create(entry_put("First?"))
        await parts.settled()
        with monkeypatch.context() as broken:
            broken.setattr(parts.entries, "snapshots", fail)
            await parts.entries.mark([made.id])
            parts.index.wake()
            assert not await parts.index.settled([made.id], WAIT_S)
            assert said in (await parts.index.status()).detail
        assert await parts.index.opened(WAIT_S)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)


async def test_an_outage_is_not_answered_by_a_busy_loop(
    parts: Rig, vectors: MemoryVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, pauses = 0, []

    async def count() -> list[str]:
        nonlocal attempts
        attempts += 1
        vectors._check()
        return []

    async def rest(failures: int) -> bool:
        pauses.append(failures)
        if failures == 5:
            raise asyncio.CancelledError
        return True

    monkeypatch.setattr(vectors, "collections", count)
    monkeypatch.setattr(parts.index, "_rest", rest)
    vectors.away = True
    with contextlib.suppress(asyncio.CancelledError):
        await parts.index.run()
    assert (attempts, pauses) == (5, [1, 2, 3, 4, 5])


# -- a new index beside the one in use


async def test_a_rebuild_serves_from_the_old_index_until_the_new_one_is_whole(
    parts: Rig, vectors: MemoryVectors
) -> None:
    async with parts.running():
        made = [await parts.entries.create(entry_put(f"Where is key {n}?")) for n in range(40)]
        await parts.settled()
        before = set(vectors.rows)
        vectors.gate.clear()
        vectors.wrote.clear()
        parts.index.rebuild()
        while set(vectors.rows) == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        assert made[3].id in await parts.search("Where is key 3?", floor=0.9)
        edit = asyncio.create_task(parts.entries.replace(made[3].id, entry_put("How to refund?")))
        await parts.entries.delete(made[4].id)
        await edit
        vectors.gate.set()
        await _until_only_another(vectors, before)
        await parts.settled()
        assert await parts.search("How to refund?", floor=0.9) == [made[3].id]
        assert made[4].id not in await parts.search("Where is key 4?", floor=0.0)
        await assert_rows_are_right(parts, vectors)


async def test_what_a_crash_left_of_a_rebuild_is_dropped(
    parts: Rig, vectors: MemoryVectors, bus: Bus, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        await parts.entries.create(entry_put())
        await parts.settled()
    (name,) = vectors.rows
    vectors.rows[f"{name}_g1"] = {}
    async with rig(bus, vectors, embedder).running():
        assert list(vectors.rows) == [name]
        await assert_rows_are_right(parts, vectors)


async def test_a_rebuild_starts_again_after_an_outage(
    parts: Rig, vectors: MemoryVectors, embedder: HashingEmbedder
) -> None:
    async with parts.running():
        await parts.entries.create(entry_put())
        await parts.settled()
        before = set(vectors.rows)
        embedder.away = True
        parts.index.rebuild()
        while not parts.index.degraded:
            await parts.index.moved()
        embedder.away = False
        await _until_only_another(vectors, before)
        await assert_rows_are_right(parts, vectors)


async def _until_only_another(vectors: MemoryVectors, before: set[str]) -> None:
    async with asyncio.timeout(WAIT_S):
        while len(vectors.rows) != 1 or set(vectors.rows) == before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
