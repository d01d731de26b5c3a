"""Vectors that were read are known until their row is written or deleted, up to a bound."""

import pytest

from appliance.vectors.remembered import Remembered

pytestmark = pytest.mark.unit


def test_what_was_kept_is_known_by_collection_and_key() -> None:
    remembered = Remembered()
    remembered.keep("one", {"a:0": [0.5, 1.0]})
    assert list(remembered.of("one", ["a:0", "b:0"])["a:0"]) == [0.5, 1.0]
    assert "b:0" not in remembered.of("one", ["a:0", "b:0"])
    assert not remembered.of("other", ["a:0"])


def test_what_was_asked_for_last_is_forgotten_last() -> None:
    remembered = Remembered(bound=2)
    remembered.keep("one", {"a:0": [1.0], "b:0": [2.0]})
    remembered.of("one", ["a:0"])
    remembered.keep("one", {"c:0": [3.0]})
    assert set(remembered.of("one", ["a:0", "b:0", "c:0"])) == {"a:0", "c:0"}
    assert len(remembered) == 2


def test_rows_are_forgotten_by_key_and_with_their_collection() -> None:
    remembered = Remembered()
    for collection in ("one", "other"):
        remembered.keep(collection, {"a:0": [1.0], "a:1": [2.0], "b:0": [3.0]})
    remembered.forget("one", ["b:0", "unknown"])
    assert set(remembered.of("one", ["a:0", "a:1", "b:0"])) == {"a:0", "a:1"}
    remembered.forget_all("one")
    assert not remembered.of("one", ["a:0", "a:1", "b:0"])
    assert len(remembered.of("other", ["a:0", "a:1", "b:0"])) == 3
