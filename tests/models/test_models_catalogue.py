"""The catalogue: the shipped one is sound, and every fault of one is told."""

import json

import msgspec
import pytest
from models_bench import Gguf, catalogue_of, entry_of, string_key, u32_key

from appliance.errors import Invalid
from models.catalogue import Catalogue, FromHttps, FromPackages, parse, shipped

pytestmark = pytest.mark.unit

CHAT = Gguf().build()
EMBEDDING = Gguf(
    keys=[string_key("general.architecture", "bert"), u32_key("bert.pooling_type", 1)]
).build()


def test_the_shipped_catalogue_has_its_roles_and_reachable_sources() -> None:
    catalogue = shipped()
    assert catalogue.require("chat").kind == "chat"
    assert catalogue.require("embedding").kind == "embedding"
    assert catalogue.require("test-chat").licence == "Gemma terms"
    larger = [one for one in catalogue.entry if one.size_bytes > 2_000_000_000]
    assert len(larger) >= 4
    for entry in catalogue.entry:
        for source in entry.sources:
            if isinstance(source, FromHttps):
                assert "/resolve/main/" not in source.url, "a branch moves, a revision does not"


def inline(value: object) -> str:
    """TOML's inline form of plain values."""
    match value:
        case dict():
            return "{" + ", ".join(f"{key} = {inline(one)}" for key, one in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(inline, value)) + "]"
        case _:
            return json.dumps(value)


def text_of(catalogue: Catalogue) -> str:
    tables = msgspec.to_builtins(catalogue)
    return "\n".join(f"{key} = {inline(value)}" for key, value in tables.items())


def changed(**fields: object) -> str:
    entry = msgspec.structs.replace(entry_of(CHAT), **fields)
    return text_of(
        msgspec.structs.replace(
            catalogue_of(entry_of(CHAT), entry_of(EMBEDDING, name="v", kind="embedding")),
            entry=(entry, entry_of(EMBEDDING, name="v", kind="embedding")),
        )
    )


def test_a_sound_catalogue_is_read_back() -> None:
    assert parse(changed()).require("chat") == entry_of(CHAT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no toml",
        changed(name="other"),
        changed(kind="embedding"),
        changed(name="v"),
        changed(file="v.gguf"),
        changed(file="../x.gguf"),
        changed(file="x.bin"),
        changed(size_bytes=0),
        changed(sha256=""),
        changed(sha256="A" * 64),
        changed(context_tokens=0),
        changed(sources=()),
        changed(sources=(FromHttps("http://hub.example/x"),)),
        changed(sources=(FromPackages(packages=(), members="*"),)),
        changed().replace("licence", "license"),
    ],
)
def test_a_faulty_catalogue_is_invalid(text: str) -> None:
    with pytest.raises(Invalid, match="catalogue"):
        parse(text)
