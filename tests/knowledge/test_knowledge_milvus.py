"""Knowledge on the real vector index: Milvus Lite in its own process."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from knowledge_rig import WAIT_S, HashingEmbedder, Rig, entry_put, rig

from appliance.bus.client import Bus
from appliance.knowledge.demo import FORM, load_demo
from appliance.knowledge.entries import Entries
from appliance.knowledge.imports import import_file
from appliance.knowledge.rows import collection_name, planned_rows
from appliance.schema.faq import EntryPut
from appliance.vectors.client import Vectors

pytestmark = pytest.mark.integration

START_TIMEOUT_S = 60.0


class Milvus:
    """The embedded server, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "milvus.sock"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "appliance.vectors.server"]
        command += ["--directory", str(self.folder / "data"), "--socket", str(self.socket)]
        (self.folder / "data").mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:  # says `ready` on its own
            if b'"ready"' in line:
                return
        raise AssertionError("the vector server did not start")

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="module")
def milvus() -> Iterator[Milvus]:
    with tempfile.TemporaryDirectory(prefix="sluice-tests-") as folder:
        server = Milvus(Path(folder))
        server.start()
        yield server
        server.kill()


@pytest.fixture
async def vectors(milvus: Milvus) -> AsyncIterator[Vectors]:
    """A client of an empty index."""
    client = await Vectors.open(f"unix:{milvus.socket}", START_TIMEOUT_S)
    for name in await client.collections():
        await client.drop(name)
    yield client
    await client.close()


@pytest.fixture
def parts(bus: Bus, vectors: Vectors) -> Rig:
    return rig(bus, vectors, HashingEmbedder())


async def assert_rows_are_right(parts: Rig, vectors: Vectors) -> None:
    due: dict[str, str] = {}
    async for batch in parts.entries.all():
        for entry in batch:
            due |= {row.pk: row.digest for row in planned_rows(entry).values()}
    assert await vectors.digests(collection_name("hash-a", 256)) == due


async def test_every_edit_is_live_at_the_next_search(parts: Rig, vectors: Vectors) -> None:
    async with parts.running():
        put = EntryPut(
            question="自行车停在哪里？", answer="C 座地下。", phrasings=("Where are the bikes?",)
        )
        made = await parts.entries.create(put)
        await parts.settled()
        assert await parts.search("自行车停哪里") == [made.id]
        assert await parts.search("where are bikes") == [made.id]
        await parts.entries.replace(made.id, entry_put("How do refunds work?"))
        await parts.settled()
        assert await parts.search("自行车停哪里") == []
        assert await parts.search("How does a refund work?") == [made.id]
        await assert_rows_are_right(parts, vectors)
        await parts.entries.delete(made.id)
        await parts.settled()
        assert await parts.search("How do refunds work?") == []
        await assert_rows_are_right(parts, vectors)


async def test_names_that_look_like_filters_are_only_names(parts: Rig, vectors: Vectors) -> None:
    nasty = ['a" or category != "', "x') or (1 == 1", "密码", "back\\slash\\", "it's", "%"]
    async with parts.running():
        for n, category in enumerate(nasty):
            put = EntryPut(question=f"Number {n}?", answer="x", category=category)
            await parts.entries.create(put)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        (first, *rest) = [entry async for batch in parts.entries.all() for entry in batch]
        await parts.entries.delete(first.id)
        await parts.settled()
        await assert_rows_are_right(parts, vectors)
        for entry in rest:
            found = await parts.retrieval.search(entry.question, limit=1)
            assert [match.category for match in found.matches] == [entry.category]


async def test_the_demo_is_imported_and_found(parts: Rig, vectors: Vectors) -> None:
    async with parts.running():
        taken = await import_file(parts.entries, load_demo(), FORM)
        assert await parts.index.settled([entry.id for entry in taken.writes], WAIT_S)
        await assert_rows_are_right(parts, vectors)
        for entry in taken.writes:
            for text in (entry.question, *entry.phrasings):
                found = await parts.retrieval.search(text, limit=1)
                assert [(m.id, m.score) for m in found.matches] == [(entry.id, 1.0)]
        status = await parts.index.status()
        assert (status.entries, status.indexed) == (len(taken.writes), True)
        assert status.phrasings == sum(1 + len(entry.phrasings) for entry in taken.writes)


async def test_a_crash_between_truth_and_index_is_healed_at_the_next_start(
    bus: Bus, parts: Rig, vectors: Vectors
) -> None:
    async with parts.running():
        kept = await parts.entries.create(entry_put("Kept?"))
        gone = await parts.entries.create(entry_put("Gone?"))
        await parts.settled()
    before = Entries(bus, 1000)  # a process that dies before its index hears of this
    new = await before.create(entry_put("Entirely new?"))
    await before.replace(kept.id, entry_put("Edited now?"))
    await before.delete(gone.id)
    later = rig(bus, vectors, HashingEmbedder())
    async with later.running():
        await assert_rows_are_right(later, vectors)
        assert await later.search("Entirely new?", floor=0.9) == [new.id]


async def test_while_a_killed_server_is_away_words_answer_and_the_reason_is_told(
    bus: Bus, vectors: Vectors, milvus: Milvus
) -> None:
    impatient = Vectors(f"unix:{milvus.socket}", call_timeout_s=0.5)
    parts = rig(bus, impatient, HashingEmbedder())
    async with parts.running():
        made = await parts.entries.create(entry_put("Where is the key?"))
        await parts.settled()
        milvus.kill()
        found = await parts.retrieval.search("Where is the key?")
        assert ([match.id for match in found.matches], bool(found.degraded)) == ([made.id], True)
        edited = await parts.entries.replace(made.id, entry_put("Where is the spare key?"))
        milvus.start()
        parts.index.wake(compare=True)
        assert await parts.index.opened(WAIT_S)
        await parts.settled()
        assert await parts.search(edited.question, floor=0.9) == [made.id]
    await impatient.close()
