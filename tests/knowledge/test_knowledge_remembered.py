"""Records out of memory are those of the store, whoever writes and however many ask at once."""

import asyncio
import random
from collections.abc import Sequence

import pytest
from knowledge_rig import entry_put

from appliance.bus.client import Bus
from appliance.knowledge.entries import Entries
from appliance.knowledge.remembered import RememberedEntries
from appliance.schema.faq import Entry

pytestmark = pytest.mark.integration


class Counted(Entries):
    """Counts the records that were read."""

    reads = 0

    async def many(self, entry_ids: Sequence[str]) -> list[Entry]:
        self.reads += len(entry_ids)
        return await super().many(entry_ids)


async def test_what_was_read_is_not_read_again_until_something_is_written(bus: Bus) -> None:
    entries, another = Counted(bus, 10), Entries(bus, 10)
    made = [await entries.create(entry_put(f"Question {n}?")) for n in range(3)]
    ids = [entry.id for entry in made]
    remembered = RememberedEntries(entries)
    assert await remembered.many([ids[2], ids[0]]) == [made[2], made[0]]
    entries.reads = 0
    assert await remembered.many(["nothing", *ids]) == made
    assert entries.reads == 2, "the one that is new, and the one that is not there"
    edited = await another.replace(ids[1], entry_put("Question 1?", "Another answer."))
    await another.delete(ids[2])
    assert await remembered.many(ids) == [made[0], edited]


async def test_it_holds_so_many_at_most_and_still_answers(bus: Bus) -> None:
    entries = Counted(bus, 10)
    made = [await entries.create(entry_put(f"Question {n}?")) for n in range(5)]
    remembered = RememberedEntries(entries, bound=2)
    ids = [entry.id for entry in made]
    assert await remembered.many(ids) == made
    entries.reads = 0
    assert await remembered.many(ids[3:]) == made[3:]
    assert entries.reads == 0
    assert await remembered.many(ids[:1]) == made[:1]
    assert entries.reads == 1


@pytest.mark.parametrize("seed", range(3))
async def test_no_question_is_given_less_than_was_acknowledged_before_it(
    bus: Bus, seed: int
) -> None:
    writer, remembered = Entries(bus, 10), RememberedEntries(Entries(bus, 10))
    chance = random.Random(seed)
    made = [await writer.create(entry_put(f"Question {n}?")) for n in range(4)]
    acknowledged = {entry.id: entry.version for entry in made}

    async def write() -> None:
        for n in range(150):
            entry_id = chance.choice(made).id
            entry = await writer.replace(entry_id, entry_put(answer=f"Answer {n}."))
            acknowledged[entry_id] = entry.version
            await asyncio.sleep(chance.random() / 1_000)

    async def ask() -> int:
        asked = 0
        while not writing.done():
            before = dict(acknowledged)
            ids = chance.sample(list(before), chance.randint(1, 4))
            found = {entry.id: entry.version for entry in await remembered.many(ids)}
            assert all(found[entry_id] >= before[entry_id] for entry_id in ids)
            asked += 1
        return asked

    writing = asyncio.create_task(write())
    assert min(await asyncio.gather(*(ask() for _ in range(4)))) > 10
    await writing
