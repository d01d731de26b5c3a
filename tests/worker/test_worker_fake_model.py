"""The models that the fake engine pretends to have."""

import pytest

from appliance.errors import CannotBoot, Invalid
from appliance.worker.fake_model import FakeModel, parse

pytestmark = pytest.mark.unit


def test_words_say_what_is_pretended() -> None:
    assert parse("") == FakeModel(name="fake")
    expected = FakeModel(name="b-1.5", load_ms=20, embed_ms=5, memory_bytes=3_000_000)
    assert parse("b-1.5#memory=3#load=20#embed=5") == expected


@pytest.mark.parametrize("text", ["B", "b#", "b#load=x", "b#loud=1", "../b", "#load=1"])
def test_what_is_no_model_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no model of the fake engine"):
        parse(text)


def test_loading_tells_how_far_it_is_and_may_fail() -> None:
    told: list[float] = []
    parse("b").load(told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)
    with pytest.raises(CannotBoot, match="b is broken"):
        parse("b#broken").load(told.append)
