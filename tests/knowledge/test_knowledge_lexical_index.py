"""The words of all rows follow the records: at the start, at an edit, after an import."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from knowledge_rig import WAIT_S, entry_put

from appliance.bus.client import Bus
from appliance.knowledge.entries import EDITS, Entries
from appliance.knowledge.imports import import_file
from appliance.knowledge.lexical_index import LexicalIndex
from appliance.schema.faq import Entry, EntryPut
from appliance.vectors.rows import entry_of

pytestmark = pytest.mark.integration


@pytest.fixture
def entries(bus: Bus) -> Entries:
    return Entries(bus, 1000)


def found(lexical: LexicalIndex, text: str) -> set[str]:
    return {entry_of(hit.pk) for hit in lexical.search(text, 100)}


async def test_a_start_reads_the_words_of_every_published_entry(entries: Entries) -> None:
    made = await entries.create(entry_put("Where is the bicycle cellar?"))
    await entries.create(EntryPut(question="A bicycle draft?", answer="Yes.", state="draft"))
    lexical = LexicalIndex(entries)
    assert not await lexical.loaded(0.01)
    waiting = asyncio.create_task(lexical.loaded(WAIT_S))
    await lexical.catch_up()
    assert await waiting
    assert found(lexical, "bicycle") == {made.id}
    assert lexical.phrasings == 1
    assert lexical.words("bicycle cellar").keys() == {"bicycle", "cellar"}


async def test_an_edit_is_found_at_once_and_its_old_words_no_more(entries: Entries) -> None:
    lexical = LexicalIndex(entries)
    made = await entries.create(entry_put("Where is the bicycle cellar?"))
    assert found(lexical, "bicycle") == {made.id}
    await entries.replace(made.id, entry_put("Where is the archive?"))
    assert found(lexical, "bicycle") == set()
    assert found(lexical, "archive") == {made.id}
    await entries.delete(made.id)
    assert found(lexical, "archive") == set()
    assert lexical.phrasings == 0


async def test_an_import_is_found_when_it_has_caught_up(entries: Entries) -> None:
    lexical = LexicalIndex(entries)
    rows = "".join(f'{{"question":"Number {n}?","answer":"a"}}\n' for n in range(EDITS + 1))
    taken = await import_file(entries, rows.encode(), "jsonl")
    assert found(lexical, "number") == set()
    await lexical.catch_up()
    assert found(lexical, "number") == {entry.id for entry in taken.writes}


async def test_an_entry_written_while_it_is_read_keeps_its_newer_words(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await entries.create(entry_put("Where is the bicycle cellar?"))
    lexical = LexicalIndex(entries)
    all_of_them = entries.all

    async def edited_meanwhile() -> AsyncIterator[Sequence[Entry]]:
        async for batch in all_of_them():
            await entries.replace(made.id, entry_put("Where is the archive?"))
            yield batch

    monkeypatch.setattr(entries, "all", edited_meanwhile)
    await lexical.catch_up()
    assert found(lexical, "bicycle") == set()
    assert found(lexical, "archive") == {made.id}
