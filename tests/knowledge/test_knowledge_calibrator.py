"""The calibration is made when the index is quiet, kept in the store, and never another model's."""

import asyncio

import msgspec
import pytest
from knowledge_rig import WAIT_S, HashingEmbedder, MemoryVectors, Rig, rig
from msgspec.structs import replace

from appliance import keys
from appliance.bus.client import Bus
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.entries import content
from appliance.knowledge.metric import PLAIN
from appliance.schema.faq import Calibration, EntryPut

pytestmark = pytest.mark.integration

SUBJECTS = ("bicycle", "parcel", "window", "printer", "lantern", "kitchen", "garden", "elevator")


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def parts(bus: Bus, embedder: HashingEmbedder) -> Rig:
    return rig(bus, MemoryVectors(), embedder)


async def fill(parts: Rig) -> None:
    for subject in SUBJECTS:
        phrasings = tuple(
            f"{asked} the {subject}" for asked in ("open", "find", "who mends", "I lost", "sell")
        )
        put = EntryPut(question=f"Where is the {subject}?", answer=subject, phrasings=phrasings)
        await parts.entries.create(put)


async def made(calibrator: Calibrator) -> Calibration:
    task = asyncio.create_task(calibrator.run())
    try:
        async with asyncio.timeout(WAIT_S):
            return await calibrator.made()
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=1)


async def test_it_learns_from_every_phrasing_once_the_index_is_quiet_and_keeps_it(
    parts: Rig, bus: Bus, embedder: HashingEmbedder
) -> None:
    await fill(parts)
    async with parts.running():
        calibrator = Calibrator(bus, parts.entries, parts.index, embedder)
        assert calibrator.current.samples == 0
        found = await made(calibrator)
        assert (found.samples, found.phrasings) == (48, 48)
        assert found.recall_1 > 0.9
        assert calibrator.current == found
        assert found.score_floor is not None
        later = Calibrator(bus, parts.entries, parts.index, embedder)
        task = asyncio.create_task(later.run())
        async with asyncio.timeout(WAIT_S):
            while later.current.samples == 0:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert later.current == found, "taken up from the store, not made again"


async def test_what_was_reworded_before_a_restart_is_learned_after_it(
    bus: Bus, embedder: HashingEmbedder
) -> None:
    vectors = MemoryVectors()
    parts = rig(bus, vectors, embedder)
    await fill(parts)
    async with parts.running():
        first = await made(Calibrator(bus, parts.entries, parts.index, embedder))
        for entry in (await parts.entries.page()).items[:4]:
            said = tuple(f"{phrasing}, please" for phrasing in entry.phrasings)
            await parts.entries.replace(entry.id, replace(content(entry), phrasings=said))
        await parts.settled()
    again = rig(bus, vectors, embedder)
    async with again.running():
        later = await made(Calibrator(bus, again.entries, again.index, embedder))
    assert later.phrasings == first.phrasings
    assert later.made_at_ms > first.made_at_ms


async def test_it_learns_how_vectors_are_compared_and_keeps_that_with_the_rest(bus: Bus) -> None:
    small = HashingEmbedder(size=32)
    parts = rig(bus, MemoryVectors(), small)
    await fill(parts)
    async with parts.running():
        calibrator = Calibrator(bus, parts.entries, parts.index, small)
        assert calibrator.metric is PLAIN
        await made(calibrator)
        assert len(calibrator.metric.drawn)
        later = Calibrator(bus, parts.entries, parts.index, small)
        task = asyncio.create_task(later.run())
        async with asyncio.timeout(WAIT_S):
            while later.current.samples == 0:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert (later.metric.drawn == calibrator.metric.drawn).all()
        small.stamp = "hash-b"
        assert later.metric is PLAIN, "of another model"


async def test_what_an_older_version_stored_is_learned_anew(
    parts: Rig, bus: Bus, embedder: HashingEmbedder
) -> None:
    await fill(parts)
    older = Calibration(stamp=embedder.stamp, phrasings=48, samples=1)
    await bus.set(keys.CALIBRATION, msgspec.json.encode(older))
    async with parts.running():
        found = await made(Calibrator(bus, parts.entries, parts.index, embedder))
        assert found.samples == 48


async def test_what_another_model_taught_is_not_used(
    parts: Rig, bus: Bus, embedder: HashingEmbedder
) -> None:
    await fill(parts)
    async with parts.running():
        calibrator = Calibrator(bus, parts.entries, parts.index, embedder)
        assert (await made(calibrator)).samples == 48
        embedder.stamp = "hash-b"
        assert calibrator.current.samples == 0
        assert calibrator.current.direct_bar is None


async def test_no_more_than_its_bound_of_phrasings_is_asked(
    parts: Rig, bus: Bus, embedder: HashingEmbedder
) -> None:
    await fill(parts)
    async with parts.running():
        found = await made(Calibrator(bus, parts.entries, parts.index, embedder, samples=10))
        assert found.samples == 10
        assert found.direct_bar is None
