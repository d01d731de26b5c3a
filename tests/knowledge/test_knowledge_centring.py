"""Vectors seen from the centre of everyday language, which is measured once and kept."""

import asyncio
import math
from collections.abc import Sequence
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from knowledge_rig import WAIT_S, HashingEmbedder

from appliance import keys
from appliance.bus import client
from appliance.bus.client import Bus, RedisFault
from appliance.errors import Unavailable
from appliance.knowledge.centring import SENTENCES, VERSION, Centre, Centred, seen_from

pytestmark = pytest.mark.integration

Kind = Literal["query", "passage"]
MEASURED = 2 * len(SENTENCES)
FLAT = (0.0,) * 256


class ConeEmbedder(HashingEmbedder):
    """All vectors lean towards one direction, as those of sentence models do."""

    async def embed(
        self, texts: Sequence[str], *, kind: Kind, background: bool = False
    ) -> Sequence[Sequence[float]]:
        own = await super().embed(texts, kind=kind, background=background)
        leaning = [[3.0 + vector[0], *vector[1:]] for vector in own]
        return [[x / math.hypot(*vector) for x in vector] for vector in leaning]


class UnevenEmbedder(HashingEmbedder):
    """Never measures the same centre twice. Measuring in the background waits for `gate`, and sets
    `waits`."""

    def __init__(self, stamp: str = "hash-a", *, tilt: float = 0.0) -> None:
        super().__init__(stamp)
        self.tilt = tilt
        self.gate = asyncio.Event()
        self.waits = asyncio.Event()

    async def embed(
        self, texts: Sequence[str], *, kind: Kind, background: bool = False
    ) -> Sequence[Sequence[float]]:
        own = await super().embed(texts, kind=kind, background=background)
        if len(texts) < len(SENTENCES):
            return own
        if background:
            self.waits.set()
            await self.gate.wait()
        self.tilt += 0.01
        tilted = [[self.tilt + vector[0], *vector[1:]] for vector in own]
        return [[x / math.hypot(*vector) for x in vector] for vector in tilted]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def vectors(length: float) -> st.SearchStrategy[list[float]]:
    side = st.floats(-1, 1, allow_subnormal=False)
    drawn = st.lists(side, min_size=4, max_size=4).filter(lambda x: math.hypot(*x) > 0.1)
    return drawn.map(lambda x: [length * one / math.hypot(*x) for one in x])


@given(vectors(0.9), vectors(1.0))
def test_every_vector_has_length_one(centre: list[float], vector: list[float]) -> None:
    assert math.hypot(*seen_from(centre, vector)) == pytest.approx(1.0)
    assert seen_from(vector, vector) == vector


async def test_unrelated_texts_are_far_apart_and_related_ones_stay_close(bus: Bus) -> None:
    texts = ["reset my password", "how to reset a password", "bicycle cellar opens early"]
    leaning = await ConeEmbedder().embed(texts, kind="query")
    assert cosine(leaning[0], leaning[2]) > 0.9
    centred = await Centred(bus, ConeEmbedder()).embed(texts, kind="query")
    assert cosine(centred[0], centred[2]) < 0.3
    assert cosine(centred[0], centred[1]) > 0.4


async def test_the_centre_is_measured_once_per_model_and_named_in_the_stamp(bus: Bus) -> None:
    inner = HashingEmbedder()
    centred = Centred(bus, inner)
    assert (centred.stamp, centred.size) == (f"hash-a {VERSION}", 256)
    first = await centred.embed(["a text"], kind="query")
    assert inner.asked == MEASURED + 1
    assert await centred.embed(["a text"], kind="query") == first
    assert inner.asked == MEASURED + 2
    inner.stamp, inner.size = "hash-b", 128
    assert (centred.stamp, centred.size) == (f"hash-b {VERSION}", 128)
    (other,) = await centred.embed(["a text"], kind="query")
    assert len(other) == 128


async def test_an_unknown_model_has_no_stamp_and_a_lost_one_is_told(bus: Bus) -> None:
    inner = HashingEmbedder(stamp="", size=0)
    assert Centred(bus, inner).stamp == ""
    inner.away = True
    with pytest.raises(Unavailable):
        await Centred(bus, inner).embed(["a"], kind="query")


@pytest.mark.parametrize("after", [1, len(SENTENCES)])
async def test_a_model_changed_in_between_is_told_and_not_mixed(bus: Bus, after: int) -> None:
    class Changing(HashingEmbedder):
        async def embed(
            self, texts: Sequence[str], *, kind: Kind, background: bool = False
        ) -> Sequence[Sequence[float]]:
            found = await super().embed(texts, kind=kind, background=background)
            if len(texts) == after:
                self.stamp = "hash-b"
            return found

    inner = Changing()
    centred = Centred(bus, inner)
    with pytest.raises(Unavailable, match="changed"):
        await centred.embed(["a"], kind="query")
    kept = await bus.get(keys.CENTRE)
    assert (kept is None) == (after > 1), "no centre of two models is kept"
    inner.stamp = "hash-a"
    if after > 1:
        with pytest.raises(Unavailable, match="changed"):
            await centred.embed(["a"], kind="query")


# -- in the background


async def test_it_is_measured_as_urgently_as_it_is_needed(bus: Bus) -> None:
    for background in (True, False):
        inner = HashingEmbedder(stamp=f"hash-{background}")
        await Centred(bus, inner).embed(["a text"], kind="passage", background=background)
        assert inner.background == [background] * 3


async def test_an_urgent_text_does_not_wait_for_the_background_and_all_have_its_centre(
    bus: Bus,
) -> None:
    inner = UnevenEmbedder()
    centred = Centred(bus, inner)
    slow = [
        asyncio.create_task(centred.embed(["a text"], kind="query", background=True))
        for _ in range(2)
    ]
    async with asyncio.timeout(WAIT_S):
        await inner.waits.wait()
        urgent = await asyncio.gather(*(centred.embed(["a text"], kind="query") for _ in range(3)))
    kept = await bus.get(keys.CENTRE)
    inner.gate.set()
    assert await asyncio.gather(*slow) == [urgent[0]] * 2
    assert urgent == [urgent[0]] * 3
    assert await bus.get(keys.CENTRE) == kept
    assert inner.asked == 2 * MEASURED + 5, "once in the background, once for all who wait"


async def test_who_gives_up_leaves_the_measuring_to_the_next(bus: Bus) -> None:
    inner = UnevenEmbedder()
    centred = Centred(bus, inner)
    first = asyncio.create_task(centred.prepare())
    second = asyncio.create_task(centred.embed(["a text"], kind="query", background=True))
    async with asyncio.timeout(WAIT_S):
        await inner.waits.wait()
        first.cancel()
        inner.gate.set()
        assert len(await second) == 1


@pytest.mark.parametrize("fault", [Unavailable("no worker answers"), RedisFault("OOM")])
async def test_preparing_it_fails_nobody(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    async def fail(texts: object, *, kind: Kind, background: bool) -> None:
        raise fault

    inner = HashingEmbedder()
    centred = Centred(bus, inner)
    with monkeypatch.context() as broken:
        broken.setattr(inner, "embed", fail)
        await centred.prepare()
    await centred.prepare()
    assert inner.asked == MEASURED


async def test_it_is_prepared_in_the_background_before_anybody_asks(bus: Bus) -> None:
    inner = HashingEmbedder(stamp="", size=0)
    centred = Centred(bus, inner)
    await centred.prepare()
    assert inner.asked == 0
    inner.stamp, inner.size = "hash-a", 256
    await centred.prepare()
    assert (inner.asked, inner.background) == (MEASURED, [True, True])
    await centred.embed(["a text"], kind="query")
    assert inner.asked == MEASURED + 1


# -- kept in the store


async def test_the_next_start_reads_what_was_measured(bus: Bus) -> None:
    before = await Centred(bus, UnevenEmbedder()).embed(["a text"], kind="passage")
    inner = UnevenEmbedder(tilt=0.5)
    assert await Centred(bus, inner).embed(["a text"], kind="passage") == before
    assert inner.asked == 1


def stored(
    stamp: str = f"hash-a {VERSION}",
    query: Sequence[float] = FLAT,
    passage: Sequence[float] = FLAT,
) -> bytes:
    return msgspec.msgpack.encode(Centre(stamp, tuple(query), tuple(passage)))


async def test_what_is_stored_is_used_as_it_is(bus: Bus) -> None:
    await bus.set(keys.CENTRE, stored())
    inner = HashingEmbedder()
    seen = await Centred(bus, inner).embed(["a text"], kind="query")
    assert seen[0] == pytest.approx((await inner.embed(["a text"], kind="query"))[0])
    assert inner.asked == 2


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\xc1",
        b"nonsense",
        stored(stamp=f"hash-b {VERSION}"),
        stored(stamp="hash-a centred-1"),
        stored(query=FLAT[1:]),
        stored(passage=(*FLAT, 0.0)),
        stored(query=(math.nan, *FLAT[1:])),
        stored(passage=(-math.inf, *FLAT[1:])),
        stored(query=(math.nan, math.inf, *FLAT[2:])),
        stored(query=(1.0, 1.0, *FLAT[2:])),
        msgspec.msgpack.encode({"stamp": f"hash-a {VERSION}", "query": FLAT}),
        msgspec.msgpack.encode({"stamp": f"hash-a {VERSION}", "query": FLAT, "passage": "flat"}),
    ],
)
async def test_anything_else_that_is_stored_is_replaced(bus: Bus, wrong: bytes) -> None:
    await bus.set(keys.CENTRE, wrong)
    inner = HashingEmbedder()
    seen = await Centred(bus, inner).embed(["a text"], kind="query")
    assert inner.asked == MEASURED + 1
    again = HashingEmbedder()
    assert await Centred(bus, again).embed(["a text"], kind="query") == seen
    assert again.asked == 1


async def test_two_appliances_with_different_models_each_have_their_own(bus: Bus) -> None:
    seen: dict[str, Sequence[Sequence[float]]] = {}
    for stamp, tilt in [("hash-a", 0.1), ("hash-b", 0.7), ("hash-a", 0.1), ("hash-b", 0.7)]:
        inner = UnevenEmbedder(stamp, tilt=tilt)
        found = await Centred(bus, inner).embed(["a text"], kind="query")
        assert inner.asked == MEASURED + 1
        assert seen.setdefault(stamp, found) == found
    assert seen["hash-a"] != seen["hash-b"]


async def test_two_processes_that_measure_at_once_agree(bus: Bus) -> None:
    one, other = UnevenEmbedder(tilt=0.1), UnevenEmbedder(tilt=0.7)
    running = [
        asyncio.create_task(Centred(bus, each).embed(["a text"], kind="query", background=True))
        for each in (one, other)
    ]
    async with asyncio.timeout(WAIT_S):
        await one.waits.wait()
        await other.waits.wait()  # both have read that there is none
        one.gate.set()
        other.gate.set()
        first, second = await asyncio.gather(*running)
    assert first == second


async def test_without_the_store_it_is_measured_and_nobody_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "COMMAND_RETRIES", 0)
    nowhere = client.connect("unix:///nowhere/valkey.sock")
    inner = HashingEmbedder()
    centred = Centred(nowhere, inner)
    first = await centred.embed(["a text"], kind="query")
    assert await centred.embed(["a text"], kind="query") == first
    assert inner.asked == MEASURED + 2
    await nowhere.aclose()


async def test_a_store_that_refuses_it_fails_nobody(bus: Bus) -> None:
    await bus.rpush(keys.CENTRE, "somebody else's list")
    inner = HashingEmbedder()
    assert await Centred(bus, inner).embed(["a text"], kind="query")
    assert inner.asked == MEASURED + 1
