"""Saved questions are asked again after every change, and what flipped is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from knowledge_rig import WAIT_S, HashingEmbedder, MemoryVectors, Rig, entry_put, rig

from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.regressions import Regressions
from appliance.schema.curation import RegressionPost
from appliance.settings.faq import Faq

pytestmark = pytest.mark.integration


@pytest.fixture
def embedder() -> HashingEmbedder:
    return HashingEmbedder()


@pytest.fixture
def knowledge(bus: Bus, embedder: HashingEmbedder) -> Rig:
    return rig(bus, MemoryVectors(), embedder, faq=Faq(floor=0.6))


def regressions_of(bus: Bus, knowledge: Rig, bound: int = 10) -> Regressions:
    return Regressions(bus, knowledge.entries, knowledge.index, knowledge.retrieval, bound=bound)


@contextlib.asynccontextmanager
async def running(knowledge: Rig, regressions: Regressions) -> AsyncIterator[None]:
    async with knowledge.running():
        task = asyncio.create_task(regressions.run())
        try:
            yield
        finally:
            while not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=0.1)


async def test_an_edit_that_breaks_a_question_flips_it_and_back(bus: Bus, knowledge: Rig) -> None:
    regressions = regressions_of(bus, knowledge)
    async with running(knowledge, regressions):
        key = await knowledge.entries.create(entry_put("Where is the key?"))
        await knowledge.entries.create(entry_put("怎么退款？", "15 天内。"))
        await knowledge.settled()
        saved = await regressions.add(RegressionPost(question="Where is the key", entry_id=key.id))
        assert saved.outcome is not None
        assert saved.outcome.passed
        await regressions.add(RegressionPost(question="completely other words", entry_id=""))
        assert await regressions.settled(WAIT_S)
        (latest,) = await regressions.runs()
        assert (latest.passed, latest.failed, latest.flips) == (2, 0, ())
        await knowledge.entries.replace(key.id, entry_put("Opening hours of the sauna"))
        assert await regressions.settled(WAIT_S)
        flipped = next(run for run in await regressions.runs() if run.flips)
        (flip,) = flipped.flips
        assert (flip.id, flip.was.passed, flip.now.passed) == (saved.id, True, False)
        assert flip.now.entry_id != key.id
        assert f"edit of {key.id}" in flipped.cause
        assert next(iter(await regressions.listed())).id == saved.id
        await knowledge.entries.replace(key.id, entry_put("Where is the key?"))
        assert await regressions.settled(WAIT_S)
        back = [run for run in await regressions.runs() if run.flips]
        assert len(back) == 2
        assert back[0].flips[0].now.passed


async def test_a_question_that_should_find_nothing_fails_once_it_does(
    bus: Bus, knowledge: Rig
) -> None:
    regressions = regressions_of(bus, knowledge)
    async with running(knowledge, regressions):
        await regressions.add(RegressionPost(question="你们卖汽车吗？"))
        await knowledge.entries.create(entry_put("你们卖汽车吗", "不卖。"))
        await knowledge.settled()
        assert await regressions.settled(WAIT_S)  # it may be a run that began before
        assert await regressions.settled(WAIT_S)
        (saved,) = await regressions.listed()
        assert saved.outcome is not None
        assert not saved.outcome.passed


async def test_questions_are_asked_again_after_a_start(bus: Bus, knowledge: Rig) -> None:
    """A threshold is changed by a restart."""
    async with running(knowledge, regressions_of(bus, knowledge)):
        key = await knowledge.entries.create(entry_put("Where is the key?"))
        await knowledge.settled()
        await regressions_of(bus, knowledge).add(
            RegressionPost(question="Where is the little key of mine", entry_id=key.id)
        )
    strict = rig(bus, MemoryVectors(), HashingEmbedder(), faq=Faq(floor=0.999))
    again = regressions_of(bus, strict)
    async with running(strict, again):
        async with asyncio.timeout(WAIT_S):
            while not await again.runs():  # noqa: ASYNC110
                await asyncio.sleep(0)
    (run,) = await again.runs()
    assert run.cause.startswith("start")
    assert [flip.now.entry_id for flip in run.flips] == [""]


@pytest.mark.parametrize("change", ["a new calibration", "a new index", "another embedding model"])
async def test_questions_are_asked_again_when_scores_mean_something_else(
    bus: Bus, knowledge: Rig, embedder: HashingEmbedder, change: str
) -> None:
    regressions = regressions_of(bus, knowledge)
    calibrator = Calibrator(bus, knowledge.entries, knowledge.index, embedder)
    calibrator.on_learned(regressions.again)
    async with running(knowledge, regressions):
        await knowledge.entries.create(entry_put("Where is the key?"))
        await knowledge.settled()
        await regressions.add(RegressionPost(question="Where is the key"))
        assert await regressions.settled(WAIT_S)
        if change == "a new calibration":
            await calibrator.calibrate()
        elif change == "a new index":
            knowledge.index.rebuild()
        else:
            embedder.stamp = "hash-b"
            knowledge.index.wake()
        async with asyncio.timeout(WAIT_S):
            while change not in (await regressions.runs())[0].cause:  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_what_words_alone_find_is_no_outcome(bus: Bus) -> None:
    vectors = MemoryVectors()
    knowledge = rig(bus, vectors, HashingEmbedder())
    regressions = regressions_of(bus, knowledge)
    async with running(knowledge, regressions):
        key = await knowledge.entries.create(entry_put("Where is the key?"))
        await knowledge.settled()
        post = RegressionPost(question="Where is the key kept", entry_id=key.id)
        known = await regressions.add(post)
        vectors.away = True
        found = await knowledge.retrieval.closest(post.question)
        assert found.matches
        assert found.degraded
        saved = await regressions.add(post)
        assert saved.outcome is None
        assert {r.id: r.outcome for r in await regressions.listed()}[known.id] == known.outcome
        vectors.away = False
        knowledge.index.wake(compare=True)
        async with asyncio.timeout(WAIT_S):
            while not all(r.outcome for r in await regressions.listed()):  # noqa: ASYNC110
                await asyncio.sleep(0)


async def test_the_set_is_bounded_and_says_what_is_wrong(bus: Bus, knowledge: Rig) -> None:
    regressions = regressions_of(bus, knowledge, bound=1)
    async with knowledge.running():
        with pytest.raises(NotFound):
            await regressions.add(RegressionPost(question="q", entry_id="nobody"))
        with pytest.raises(Invalid):
            await regressions.add(RegressionPost(question="\x07"))
        saved = await regressions.add(RegressionPost(question="q"))
        with pytest.raises(Invalid, match="at most 1"):
            await regressions.add(RegressionPost(question="r"))
        await regressions.delete(saved.id)
        with pytest.raises(NotFound):
            await regressions.delete(saved.id)
        assert await regressions.listed() == []


async def test_what_would_flip_is_told_before_an_entry_is_published(
    bus: Bus, knowledge: Rig
) -> None:
    regressions = regressions_of(bus, knowledge)
    async with running(knowledge, regressions):
        key = await knowledge.entries.create(entry_put("Where is the key?"))
        refund = await knowledge.entries.create(entry_put("怎么退款？", "15 天内。"))
        await knowledge.settled()
        for question, entry in (("Where is the key", key), ("怎么退款", refund)):
            await regressions.add(RegressionPost(question=question, entry_id=entry.id))
        lost = await regressions.add(RegressionPost(question="which sauna is open on Monday"))
        stored = await regressions.listed()

        edit = entry_put("Which sauna is open on Monday?")
        seen = await regressions.previewed(edit, key.id)
        assert (seen.entry_id, seen.passed, seen.failed) == (key.id, 1, 2)
        assert {flip.question for flip in seen.flips} == {"Where is the key", lost.question}
        assert all(flip.was.passed and not flip.now.passed for flip in seen.flips)

        new = await regressions.previewed(entry_put("怎么退款", "30 天内。"))
        assert new.entry_id not in (key.id, refund.id)
        assert [one.id for one in await regressions.listed()] == [one.id for one in stored]
        assert [entry.id for entry in (await knowledge.entries.page()).items] == [key.id, refund.id]

        await knowledge.entries.replace(key.id, edit)
        assert await regressions.settled(WAIT_S)
        flipped = next(run for run in await regressions.runs() if run.flips)
        assert {flip.id for flip in flipped.flips} == {flip.id for flip in seen.flips}
        assert [f.now.entry_id for f in flipped.flips] == [
            next(p.now.entry_id for p in seen.flips if p.id == f.id) for f in flipped.flips
        ]


async def test_a_preview_says_what_is_wrong(bus: Bus, knowledge: Rig) -> None:
    regressions = regressions_of(bus, knowledge)
    async with knowledge.running():
        with pytest.raises(NotFound):
            await regressions.previewed(entry_put("q"), "nobody")
        with pytest.raises(Invalid):
            await regressions.previewed(entry_put("\x07"))
