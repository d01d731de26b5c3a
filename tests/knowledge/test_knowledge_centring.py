"""Vectors seen from the centre of everyday language."""

import asyncio
import math
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from knowledge_rig import HashingEmbedder

from appliance.errors import Unavailable
from appliance.knowledge.centring import SENTENCES, VERSION, Centred

pytestmark = pytest.mark.unit


class ConeEmbedder(HashingEmbedder):
    """All vectors lean towards one direction, as those of sentence models do."""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]:
        own = await super().embed(texts, kind=kind, background=background)
        leaning = [[3.0 + vector[0], *vector[1:]] for vector in own]
        return [[x / math.hypot(*vector) for x in vector] for vector in leaning]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["query", "passage"]))
def test_every_vector_has_length_one(text: str, kind: Literal["query", "passage"]) -> None:
    (vector,) = asyncio.run(Centred(HashingEmbedder()).embed([text], kind=kind))
    assert len(vector) == 256
    assert math.hypot(*vector) == pytest.approx(1.0)


async def test_unrelated_texts_are_far_apart_and_related_ones_stay_close() -> None:
    texts = ["reset my password", "how to reset a password", "bicycle cellar opens early"]
    leaning = await ConeEmbedder().embed(texts, kind="query")
    assert cosine(leaning[0], leaning[2]) > 0.9
    centred = await Centred(ConeEmbedder()).embed(texts, kind="query")
    assert cosine(centred[0], centred[2]) < 0.3
    assert cosine(centred[0], centred[1]) > 0.4


async def test_the_centre_is_measured_once_per_model_and_named_in_the_stamp() -> None:
    inner = HashingEmbedder()
    centred = Centred(inner)
    assert (centred.stamp, centred.size) == (f"hash-a {VERSION}", 256)
    first = await centred.embed(["a text"], kind="query")
    assert inner.asked == 2 * len(SENTENCES) + 1
    assert await centred.embed(["a text"], kind="query") == first
    assert inner.asked == 2 * len(SENTENCES) + 2
    inner.stamp, inner.size = "hash-b", 128
    assert (centred.stamp, centred.size) == (f"hash-b {VERSION}", 128)
    (other,) = await centred.embed(["a text"], kind="query")
    assert len(other) == 128


async def test_an_unknown_model_has_no_stamp_and_a_lost_one_is_told() -> None:
    inner = HashingEmbedder(stamp="", size=0)
    assert Centred(inner).stamp == ""
    inner.away = True
    with pytest.raises(Unavailable):
        await Centred(inner).embed(["a"], kind="query")


async def test_a_model_changed_in_between_is_told_and_not_mixed() -> None:
    class Changing(HashingEmbedder):
        async def embed(
            self,
            texts: Sequence[str],
            *,
            kind: Literal["query", "passage"],
            background: bool = False,
        ) -> Sequence[Sequence[float]]:
            vectors = await super().embed(texts, kind=kind, background=background)
            if len(texts) == 1:
                self.stamp = "hash-b"
            return vectors

    with pytest.raises(Unavailable, match="changed"):
        await Centred(Changing()).embed(["a"], kind="query")
