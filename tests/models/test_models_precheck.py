"""The GGUF precheck: sound files pass, every kind of fault is told, and nothing else escapes."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_bench import Gguf, floats_key, string_key, strings_key, tensor, text, u32_key

from appliance.errors import Invalid, NotFound
from models import precheck as subject
from models.precheck import Header, precheck

pytestmark = pytest.mark.unit

NAME = string_key("general.architecture", "llama")


def written(directory: Path, content: bytes) -> Path:
    path = directory / "tiny.gguf"
    path.write_bytes(content)
    return path


def outcome(path: Path) -> Header | Invalid:
    """Anything but these two escapes and fails the test."""
    try:
        return precheck(path)
    except Invalid as error:
        return error


def test_a_sound_file_tells_its_header(tmp_path: Path) -> None:
    header = precheck(written(tmp_path, Gguf().build()))
    assert header.architecture == "llama"
    assert header.tensor_count == 2
    assert header.values == {"general.architecture": "llama", "llama.context_length": 128}
    assert not header.pools


def test_a_model_that_pools_is_recognised(tmp_path: Path) -> None:
    keys = [string_key("general.architecture", "bert"), u32_key("bert.pooling_type", 1)]
    assert precheck(written(tmp_path, Gguf(keys=keys).build())).pools


def test_what_the_reference_writer_writes_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "reference.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(128)
    writer.add_name("模型")
    writer.add_bool("a.bool", True)
    writer.add_float64("a.double", 0.5)
    writer.add_int64("a.long", -3)
    writer.add_array("a.numbers", [1, 2, 3])
    writer.add_array("a.words", ["x", "", "你"])
    for index, kind in enumerate(gguf.GGMLQuantizationType):
        weights, size_bytes = gguf.GGML_QUANT_SIZES[kind]
        if weights > 1:
            rows = np.zeros((3, 2 * size_bytes), dtype=np.uint8)
            writer.add_tensor(f"t{index}", rows, raw_dtype=kind)
    writer.add_tensor("cube", np.zeros((2, 3, 5), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    header = precheck(path)
    assert header.values["general.name"] == "模型"
    assert header.values["a.long"] == -3
    assert header.values["a.double"] == 0.5
    assert header.tensor_count > 20


def test_the_block_sizes_are_those_of_the_reference() -> None:
    reference = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert reference == subject._BLOCKS


FAULTS: list[tuple[str, Gguf, str]] = [
    ("mark", Gguf(magic=b"GGML"), "GGUF mark"),
    ("version", Gguf(version=1), "version 1"),
    ("big-endian", Gguf(version=3 << 24), "big-endian"),
    ("many tensors", Gguf(tensor_count=1 << 40), "claims 1099511627776 tensors"),
    ("many keys", Gguf(key_count=(1 << 64) - 1), "metadata keys"),
    ("missing key", Gguf(key_count=4000), "claims 4000 metadata keys"),
    ("no architecture", Gguf(keys=[u32_key("a", 1)]), "name its architecture"),
    ("architecture of another type", Gguf(keys=[u32_key("general.architecture", 1)]), "name its"),
    ("key twice", Gguf(keys=[NAME, NAME]), "comes twice"),
    ("empty key", Gguf(keys=[NAME, u32_key("", 1)]), "is empty"),
    ("long key", Gguf(keys=[NAME, u32_key("k" * 1025, 1)]), "1025 bytes long"),
    ("key not UTF-8", Gguf(keys=[struct.pack("<Q", 2) + b"\xff\xfe" + bytes(24)]), "not UTF-8"),
    ("unknown value type", Gguf(keys=[NAME, text("a") + struct.pack("<IQ", 13, 0)]), "type 13"),
    ("string beyond the end", Gguf(keys=[NAME, text("a") + struct.pack("<IQ", 8, 9999)]), "ends"),
    ("huge string", Gguf(keys=[NAME, text("a") + struct.pack("<IQ", 8, 1 << 63)]), "at most"),
    ("nested array", Gguf(keys=[NAME, text("a") + struct.pack("<IIQ", 9, 9, 1)]), "type 9"),
    ("huge array", Gguf(keys=[NAME, text("a") + struct.pack("<IIQ", 9, 4, 1 << 62)]), "elements"),
    (
        "huge string in an array",
        Gguf(keys=[NAME, text("a") + struct.pack("<IIQQ", 9, 8, 1, 1 << 40)]),
        "a string in the array",
    ),
    ("part of a split model", Gguf(keys=[NAME, u32_key("split.count", 4)]), "one of 4 parts"),
    ("alignment 0", Gguf(keys=[NAME, u32_key("general.alignment", 0)]), "alignment"),
    ("alignment 48", Gguf(keys=[NAME, u32_key("general.alignment", 48)]), "alignment '48'"),
    ("alignment text", Gguf(keys=[NAME, string_key("general.alignment", "32")]), "alignment"),
    ("tensor twice", Gguf(tensors=[tensor("t", (32,), 0, 0), tensor("t", (32,), 0, 128)]), "twice"),
    ("long tensor name", Gguf(tensors=[tensor("t" * 64, (32,), 0, 0)]), "64 bytes long"),
    ("no dimension", Gguf(tensors=[tensor("t", (), 0, 0)]), "0 dimensions"),
    ("five dimensions", Gguf(tensors=[tensor("t", (1,) * 5, 0, 0)]), "5 dimensions"),
    ("empty dimension", Gguf(tensors=[tensor("t", (32, 0), 0, 0)]), "impossible shape"),
    ("overflowing shape", Gguf(tensors=[tensor("t", (1 << 40, 1 << 40), 0, 0)]), "impossible"),
    ("torn block", Gguf(tensors=[tensor("t", (33,), 2, 0)]), "whole number of blocks"),
    ("unknown tensor type", Gguf(tensors=[tensor("t", (32,), 4, 0)]), "unknown type 4"),
    ("unaligned", Gguf(tensors=[tensor("t", (8,), 0, 16)]), "not aligned"),
    ("overlap", Gguf(tensors=[tensor("a", (32,), 0, 0), tensor("b", (8,), 0, 96)]), "overlap"),
    ("beyond the file", Gguf(tensors=[tensor("t", (32,), 0, 96)]), "need"),
    ("far beyond", Gguf(tensors=[tensor("t", (32,), 0, (1 << 64) - 32)]), "need"),
    ("weights cut off", Gguf(weights=bytes(191)), "need"),
]


@pytest.mark.parametrize(("faulty", "told"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_a_fault_is_told(tmp_path: Path, faulty: Gguf, told: str) -> None:
    with pytest.raises(Invalid) as caught:
        precheck(written(tmp_path, faulty.build()))
    assert told in caught.value.message
    assert caught.value.message.startswith("tiny.gguf: ")
    assert caught.value.hint


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = Gguf().build()
    for end in range(len(whole)):
        with pytest.raises(Invalid):
            precheck(written(tmp_path, whole[:end]))


@pytest.mark.parametrize("block_bytes", [8, 9, 21, 64])
def test_words_that_lie_across_blocks_are_walked_over(
    block_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["", "x" * 7, "你好", "y" * 100, "", "z"]
    keys = [NAME, strings_key("a", words), u32_key("after", 7)]
    path = written(tmp_path, Gguf(keys=keys).build())
    monkeypatch.setattr(subject, "BLOCK_BYTES", block_bytes)
    assert precheck(path).values["after"] == 7
    cut = path.read_bytes()
    path.write_bytes(cut[: cut.index(b"z") - 4])
    with pytest.raises(Invalid, match="ends in the middle"):
        precheck(path)


def test_a_header_beyond_its_bound_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, Gguf(keys=[NAME, strings_key("a", ["x" * 100] * 50)]).build())
    precheck(path)
    monkeypatch.setattr(subject, "MAX_HEADER_BYTES", 4000)
    with pytest.raises(Invalid, match="longer than 4000 bytes"):
        precheck(path)


def test_names_from_a_file_cannot_steer_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(Invalid) as caught:
        precheck(written(tmp_path, Gguf(keys=[NAME, *2 * [u32_key("\x1b[2J", 1)]]).build()))
    assert caught.value.message.isprintable()


def link(path: Path) -> None:
    real = path.with_name("real.gguf")
    real.write_bytes(Gguf().build())
    path.symlink_to(real)


@pytest.mark.parametrize("make", [link, Path.mkdir, os.mkfifo], ids=["link", "folder", "pipe"])
def test_only_real_files_are_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "tiny.gguf"
    make(path)
    with pytest.raises(Invalid, match=r"link|not a file"):
        precheck(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        precheck(tmp_path / "none.gguf")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutant_is_either_sound_or_invalid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(Gguf().build())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["byte", "number", "cut", "insert", "delete"])):
            case "byte":
                content[at] = data.draw(st.integers(0, 255))
            case "number":
                extreme = st.sampled_from([0, 1, 255, 1 << 31, (1 << 32) - 1, 1 << 63, 2**64 - 1])
                content[at : at + 8] = struct.pack("<Q", data.draw(extreme))
            case "cut":
                del content[max(at, 1) :]
            case "insert":
                content[at:at] = data.draw(st.binary(max_size=16))
            case "delete":
                del content[at : min(at + 8, len(content) - 1)]
    path = written(tmp_path_factory.getbasetemp(), bytes(content))
    found = outcome(path)
    if isinstance(found, Invalid):
        assert found.message.isprintable()
    else:
        assert found.tensor_count <= len(content)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_noise_behind_a_sound_beginning_is_sound_or_invalid(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    path = written(
        tmp_path_factory.getbasetemp(), b"GGUF" + struct.pack("<IQQ", 3, 1, 2) + NAME + noise
    )
    found = outcome(path)
    assert found.hint if isinstance(found, Invalid) else found.tensor_count == 1


def test_arrays_of_numbers_are_walked_over(tmp_path: Path) -> None:
    keys = [NAME, floats_key("scores", [0.5] * 1000), u32_key("after", 7)]
    header = precheck(written(tmp_path, Gguf(keys=keys).build()))
    assert header.values["after"] == 7
    assert "scores" not in header.values
