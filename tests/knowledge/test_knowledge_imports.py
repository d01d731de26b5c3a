"""Taking files into the FAQ: all or nothing, matched by id and by question, repeatable."""

import dataclasses
import json
from collections.abc import Sequence

import msgspec
import pytest
from knowledge_rig import HashingEmbedder, MemoryVectors, rig

from appliance.bus.client import Bus
from appliance.errors import Conflict, Invalid
from appliance.knowledge.entries import Entries, content, first_version, revised
from appliance.knowledge.exchange import Format, export
from appliance.knowledge.files.rows import ImportRefused, Row
from appliance.knowledge.import_jobs import ImportJobs
from appliance.knowledge.imports import ImportConflict, import_file, plan, rehearse
from appliance.knowledge.near import Compared, Near
from appliance.knowledge.text import tidied
from appliance.schema.faq import Entry, EntryPut, ImportReport


def row(question: str, entry_id: str = "", answer: str = "x") -> Row:
    return Row(1, tidied(EntryPut(question=question, answer=answer)), entry_id)


def stored(question: str, entry_id: str) -> Entry:
    return first_version(
        tidied(EntryPut(question=question, answer="x")), at_ms=1000, entry_id=entry_id
    )


def lines(*rows: tuple[str, str]) -> bytes:
    return "".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows).encode()


@pytest.fixture
def entries(bus: Bus) -> Entries:
    return Entries(bus, 10)


# -- whom a row means


@pytest.mark.unit
@pytest.mark.parametrize(
    ("given", "existing", "ids", "report"),
    [
        pytest.param([row("A?", "n")], [], ["n"], (1, 0, 0), id="new with its id"),
        pytest.param([row("A?", "a")], [stored("A?", "a")], [], (0, 0, 1), id="same"),
        pytest.param([row("B?", "a")], [stored("A?", "a")], ["a"], (0, 1, 0), id="by id"),
        pytest.param([row("A")], [stored("A?", "a")], ["a"], (0, 1, 0), id="by question"),
        pytest.param([row("A", "n")], [stored("A?", "a")], ["a"], (0, 1, 0), id="unknown id"),
        pytest.param(
            [row("B?", "a"), row("A?", "n")],
            [stored("A?", "a")],
            ["a", "n"],
            (1, 1, 0),
            id="an id goes before a question, wherever it stands",
        ),
        pytest.param(
            [row("A?", "n"), row("B?", "a")],
            [stored("A?", "a")],
            ["n", "a"],
            (1, 1, 0),
            id="an entry is claimed once",
        ),
        pytest.param(
            [row("A?", "m", "y"), row("A?", "n", "z")],
            [stored("A?", "a"), stored("A?", "b")],
            ["a", "b"],
            (0, 2, 0),
            id="entries with one question are claimed from the oldest",
        ),
    ],
)
def test_a_row_means(
    given: Sequence[Row],
    existing: Sequence[Entry],
    ids: list[str],
    report: tuple[int, int, int],
) -> None:
    planned = plan(given, existing, 5000, {})
    assert [entry.id for entry in planned.writes] == ids
    created, updated, unchanged = report
    assert planned.report == ImportReport(created=created, updated=updated, unchanged=unchanged)


@pytest.mark.unit
def test_a_row_exported_before_an_edit_is_a_conflict() -> None:
    held = msgspec.structs.replace(stored("A?", "a"), version=3)
    old, same = Row(4, row("A?", "a", "else").put, "a", 2), Row(5, content(held), "a", 2)
    (conflict,) = plan([old], [held], 5000, {}).conflicts
    assert (conflict.line, conflict.id, conflict.kind) == (4, "a", "edited_since")
    assert plan([same], [held], 5000, {}).conflicts == ()
    for version in (0, 3, 9):  # none named, the stored one, one of another life
        assert plan([dataclasses.replace(old, version=version)], [held], 5000, {}).conflicts == ()


@pytest.mark.unit
def test_a_row_that_changes_an_entry_it_does_not_name_is_told() -> None:
    (conflict,) = plan([row("a", "", "new answer")], [stored("A?", "a")], 5000, {}).conflicts
    assert (conflict.kind, conflict.id) == ("same_question", "a")


# -- against the real store


@pytest.mark.integration
async def test_an_import_creates_updates_and_leaves_alone(entries: Entries) -> None:
    first = await import_file(entries, lines(("A?", "1"), ("B?", "2")), "jsonl")
    assert first.report == ImportReport(created=2, updated=0, unchanged=0)
    again = await import_file(entries, lines(("a", "1"), ("B?", "2"), ("C?", "3")), "jsonl")
    assert again.report == ImportReport(created=1, updated=1, unchanged=1)
    found = {e.question: e async for batch in entries.all() for e in batch}
    assert set(found) == {"a", "B?", "C?"}
    assert (found["a"].version, found["B?"].version) == (2, 1)
    assert found["a"].id == first.writes[0].id


@pytest.mark.integration
async def test_imported_entries_are_listed_in_the_order_of_the_file(entries: Entries) -> None:
    questions = [f"{letter}?" for letter in "hbdgacfe"]
    await import_file(entries, lines(*((q, "x") for q in questions)), "jsonl")
    assert [e.question async for batch in entries.all() for e in batch] == questions


@pytest.mark.integration
async def test_an_import_brings_a_deleted_entry_back_as_its_next_version(
    entries: Entries,
) -> None:
    line = b'{"id": "a", "question": "A?", "answer": "1"}\n'
    await import_file(entries, line, "jsonl")
    await entries.delete("a")
    assert (await import_file(entries, line, "jsonl")).report.created == 1
    assert (await entries.read("a")).version == 2


@pytest.mark.integration
async def test_a_file_older_than_an_edit_is_refused_unless_it_shall_go_first(
    entries: Entries,
) -> None:
    await import_file(entries, lines(("A?", "1"), ("B?", "1")), "jsonl")
    data = b"".join([piece async for piece in export(entries, "jsonl")])
    first = (await entries.page(limit=1)).items[0]
    await entries.replace(first.id, EntryPut(question="A?", answer="edited"))
    with pytest.raises(ImportConflict, match="edited since") as caught:
        await import_file(entries, data, "jsonl")
    assert [error.line for error in caught.value.lines] == [1]
    assert (await entries.read(first.id)).answer == "edited"
    taken = await import_file(entries, data, "jsonl", overwrite=True)
    assert taken.report == ImportReport(created=0, updated=1, unchanged=1)
    assert (await entries.read(first.id)).answer == "1"


@pytest.mark.integration
async def test_a_rehearsal_tells_all_and_stores_nothing(entries: Entries) -> None:
    stored_now = [("A?", "1"), ("B?", "1"), ("Y?", "1"), ("Z?", "1")]
    await import_file(entries, lines(*stored_now), "jsonl")
    before = await entries.unindexed()
    file = lines(("A?", "2"), ("B?", "1"), ("C?", ""), *((f"Q{n}?", "x") for n in range(7)))
    rehearsal = await rehearse(entries, file, "jsonl")
    assert rehearsal.plan.report == ImportReport(created=7, updated=1, unchanged=1)
    assert [(p.line, p.message[:12]) for p in rehearsal.parsed.problems] == [
        (3, "answer: must"),
        (1, "the FAQ hold"),
    ]
    assert [c.kind for c in rehearsal.plan.conflicts] == ["same_question"]
    assert await entries.unindexed() == before
    assert await entries.count() == 4


@pytest.mark.integration
async def test_an_import_is_remembered_with_its_entries_and_tells_its_progress(
    bus: Bus,
) -> None:
    knowledge = rig(bus, MemoryVectors(), HashingEmbedder())
    jobs = ImportJobs(bus, knowledge.index, kept=2)
    file = lines(*((f"Question number {n}?", "x") for n in range(40)))
    taken = await import_file(knowledge.entries, file, "jsonl", jobs=jobs)
    waiting = await jobs.read(taken.job_id)
    assert (waiting.state, waiting.entries, waiting.indexed) == ("indexing", 40, 0)
    async with knowledge.started():
        news = [job async for job in jobs.follow(taken.job_id)]
    assert (news[-1].state, news[-1].indexed) == ("done", 40)
    assert [job.indexed for job in news] == sorted(job.indexed for job in news)
    again = await import_file(knowledge.entries, file, "jsonl", jobs=jobs)
    assert again.job_id == ""  # nothing was stored
    for n in range(3):
        await import_file(knowledge.entries, lines((f"More {n}?", "x")), "jsonl", jobs=jobs)
    assert [job.created for job in await jobs.newest()] == [1, 1]


@pytest.mark.integration
async def test_an_import_that_is_not_stored_is_not_remembered(bus: Bus) -> None:
    knowledge = rig(bus, MemoryVectors(), HashingEmbedder(), bound=3)
    jobs = ImportJobs(bus, knowledge.index, kept=2)
    with pytest.raises(Invalid):
        await import_file(
            knowledge.entries,
            lines(*((f"{n}?", "x") for n in "abc"), ("d?", "")),
            "jsonl",
            jobs=jobs,
        )
    await knowledge.entries.create(EntryPut(question="one", answer="x"))
    with pytest.raises(Invalid, match="at most 3"):
        await import_file(
            knowledge.entries, lines(*((f"{n}?", "x") for n in "abc")), "jsonl", jobs=jobs
        )
    assert await jobs.newest() == ()


@pytest.mark.integration
async def test_one_bad_line_takes_nothing(entries: Entries) -> None:
    with pytest.raises(ImportRefused) as caught:
        await import_file(entries, lines(("A?", "1"), ("B?", "")), "jsonl")
    assert [error.line for error in caught.value.lines] == [2]
    assert await entries.count() == 0
    assert await entries.unindexed() == []


@pytest.mark.integration
async def test_an_import_past_the_bound_takes_nothing(entries: Entries) -> None:
    await import_file(entries, lines(("A?", "1")), "jsonl")
    with pytest.raises(Invalid, match="at most 10"):
        await import_file(entries, lines(*((f"Q{n}?", "x") for n in range(10))), "jsonl")
    assert await entries.count() == 1


@pytest.mark.integration
async def test_an_edit_in_between_is_seen_by_the_import(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_file(entries, lines(("A?", "1")), "jsonl")
    write = entries.write
    edited: list[str] = []

    async def write_late(batch: Sequence[Entry], job: object) -> bool:
        if not edited:
            edited.append(batch[0].id)
            other = tidied(EntryPut(question="A?", answer="edited"))
            assert await write([revised(await entries.read(batch[0].id), other, at_ms=1000)])
        return await write(batch)

    monkeypatch.setattr(entries, "write", write_late)
    taken = await import_file(entries, lines(("A?", "2")), "jsonl")
    assert taken.report == ImportReport(created=0, updated=1, unchanged=0)
    assert (await entries.read(edited[0])).answer == "2"
    assert (await entries.read(edited[0])).version == 3


@pytest.mark.integration
async def test_an_import_gives_up_against_endless_edits(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always_late(batch: object, job: object) -> bool:
        return False

    monkeypatch.setattr(entries, "write", always_late)
    with pytest.raises(Conflict):
        await import_file(entries, lines(("A?", "1")), "jsonl")


@pytest.mark.integration
@pytest.mark.parametrize("form", ["csv", "jsonl", "xlsx", "markdown"])
async def test_an_export_restores_a_lost_faq(entries: Entries, bus: Bus, form: Format) -> None:
    puts = [
        EntryPut(question="=SUM(A1)?", answer='"quoted",\n- list', phrasings=("a|b", "+1")),
        EntryPut(question="怎么退款？", answer="15 天内\t可退。\n\n第二段", category="订单"),
        EntryPut(question="怎么退款？", answer="另一条", state="draft"),
    ]
    made = [await entries.create(put) for put in puts]
    data = b"".join([piece async for piece in export(entries, form)])
    unchanged = await import_file(entries, data, form)
    assert unchanged.report == ImportReport(created=0, updated=0, unchanged=3)
    await bus.eval("return redis.call('FLUSHALL')", 0)
    restored = await import_file(entries, data, form)
    assert restored.report == ImportReport(created=3, updated=0, unchanged=0)
    for before in made:
        after = await entries.read(before.id)
        assert (after.question, after.answer, after.phrasings) == (
            before.question,
            before.answer,
            before.phrasings,
        )
        assert (after.category, after.language, after.state) == (
            before.category,
            before.language,
            before.state,
        )


@pytest.mark.integration
async def test_an_exported_csv_opens_in_a_spreadsheet(entries: Entries) -> None:
    data = b"".join([piece async for piece in export(entries, "csv")])
    names = "id,question,answer,phrasings,category,language,state,valid_from,valid_until,version"
    assert data == f"\ufeff{names}\r\n".encode()


@pytest.mark.integration
async def test_lines_are_told_as_compared_only_when_they_were_compared_by_meaning(bus: Bus) -> None:
    vectors, embedder = MemoryVectors(), HashingEmbedder()
    knowledge = rig(bus, vectors, embedder)
    near = Near(knowledge.retrieval, least=0.8, lines_bound=2)
    rows = [row(f"How do I rent a canoe{mark}") for mark in ("?", "??", "???")]
    async with knowledge.running():
        made = await knowledge.entries.create(
            EntryPut(question="How do I rent a canoe", answer="x")
        )
        await knowledge.settled()
        compared = await near.in_file(rows)
        assert (compared.checked, {line.id for line in compared.lines}) == (2, {"", made.id})
        embedder.away = True
        assert await near.in_file(rows) == Compared((), 0)
        embedder.away, vectors.away = False, True
        assert await near.in_file(rows) == Compared((), 0)
