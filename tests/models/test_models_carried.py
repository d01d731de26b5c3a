"""Weights that travel inside the executable: taken out once, checked, and told when damaged."""

import zipfile
from pathlib import Path

import msgspec
import pytest
from models_bench import Gguf, catalogue_of, entry_of

from appliance.errors import Unavailable
from models.carried import carries
from models.catalogue import FromHttps
from models.pull import Ways, pull
from models.store import Store

pytestmark = pytest.mark.integration

CHAT = Gguf().build()
NOWHERE = FromHttps("https://weights.invalid/some/tiny.gguf")


def carrier_of(tmp_path: Path, content: bytes = CHAT) -> Path:
    """A program with an archive behind it, as the executable is."""
    path = tmp_path / "sluice"
    path.write_bytes(b"\x7fELF" + bytes(5_000))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("models/tiny.gguf", content)
        archive.comment = b"sluice-file 1 x 0.1.0 5".ljust(96)
    return path


def taken(store: Store, carrier: Path) -> list[tuple[str, int, int]]:
    reports: list[tuple[str, int, int]] = []
    pull(store, "chat", report=lambda *told: reports.append(told), ways=Ways(carrier))
    return reports


def test_carried_weights_come_before_any_source_and_only_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "weights", catalogue_of(entry_of(CHAT, NOWHERE)))
    carrier = carrier_of(tmp_path)
    assert taken(store, carrier)[-1] == ("tiny", len(CHAT), len(CHAT))
    assert store.starter("chat").read_bytes() == CHAT
    assert taken(store, carrier) == []


def test_damaged_weights_are_told_and_not_kept(tmp_path: Path) -> None:
    store = Store(tmp_path / "weights", catalogue_of(entry_of(CHAT, NOWHERE)))
    other = CHAT[:-1] + bytes([CHAT[-1] ^ 1])
    with pytest.raises(Unavailable, match="another checksum") as caught:
        taken(store, carrier_of(tmp_path, other))
    assert "copy that file again" in caught.value.hint
    carrier = carrier_of(tmp_path)
    content = bytearray(carrier.read_bytes())
    content[content.index(CHAT) + len(CHAT) // 2] ^= 1
    carrier.write_bytes(content)
    with pytest.raises(Unavailable, match="damaged"):
        taken(store, carrier)
    assert not list(store.directory.glob("tiny.gguf"))


def test_a_file_that_carries_nothing_gives_way_to_the_sources(tmp_path: Path) -> None:
    entry = entry_of(CHAT, NOWHERE)
    (tmp_path / "plain").write_bytes(b"no archive")
    assert carries(carrier_of(tmp_path), entry)
    assert not carries(tmp_path / "plain", entry)
    assert not carries(tmp_path / "missing", entry)
    assert not carries(carrier_of(tmp_path), msgspec.structs.replace(entry, file="other.gguf"))
