"""Taking files into the FAQ: all or nothing, matched by id and by question, repeatable."""

import json
from collections.abc import Sequence

import pytest

from appliance.bus.client import Bus
from appliance.errors import Conflict, Invalid
from appliance.knowledge.entries import Entries, first_version, revised
from appliance.knowledge.exchange import Format, ImportRefused, Row, export
from appliance.knowledge.imports import import_file, plan
from appliance.knowledge.text import tidied
from appliance.schema import Entry, EntryPut, ImportReport


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
    planned = plan(given, existing, 5000)
    assert [entry.id for entry in planned.writes] == ids
    created, updated, unchanged = report
    assert planned.report == ImportReport(created=created, updated=updated, unchanged=unchanged)


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

    async def write_late(batch: Sequence[Entry]) -> bool:
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
    async def always_late(batch: object) -> bool:
        return False

    monkeypatch.setattr(entries, "write", always_late)
    with pytest.raises(Conflict):
        await import_file(entries, lines(("A?", "1")), "jsonl")


@pytest.mark.integration
@pytest.mark.parametrize("form", ["csv", "jsonl"])
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
    assert data == "\ufeffid,question,answer,phrasings,category,language,state\r\n".encode()
