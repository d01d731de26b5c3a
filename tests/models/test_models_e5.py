"""The E5S1 conversion, judged by a writer of E5S1 and a reader of GGUF that are not ours."""

import contextlib
import resource
import struct
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from models.e5 import convert
from models.precheck import precheck

pytestmark = pytest.mark.unit

HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, TYPES = 32, 2, 4, 64, 9, 16, 2
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "\u2581hello", "你好", "<mask>"]
TARGETS = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "ao": "attn_output",
    "fi": "ffn_up",
    "fo": "ffn_down",
    "aln": "attn_output_norm",
    "oln": "layer_output_norm",
}


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "emb.word": (VOCABULARY, HIDDEN),
        "emb.pos": (POSITIONS, HIDDEN),
        "emb.type": (TYPES, HIDDEN),
        "emb.ln.w": (HIDDEN,),
        "emb.ln.b": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for part in ("q", "k", "v", "ao"):
            found[f"l{layer}.{part}.w"] = (HIDDEN, HIDDEN)
            found[f"l{layer}.{part}.b"] = (HIDDEN,)
        found[f"l{layer}.fi.w"], found[f"l{layer}.fi.b"] = (INNER, HIDDEN), (INNER,)
        found[f"l{layer}.fo.w"], found[f"l{layer}.fo.b"] = (HIDDEN, INNER), (HIDDEN,)
        for part in ("aln", "oln"):
            found[f"l{layer}.{part}.w"] = found[f"l{layer}.{part}.b"] = (HIDDEN,)
    return found


@dataclass
class E5s1:
    """A tiny E5S1 file; change a field to get a faulty one."""

    magic: bytes = b"E5S1"
    numbers: list[int] = field(
        default_factory=lambda: [HIDDEN, LAYERS, HEADS, INNER, VOCABULARY, POSITIONS, TYPES]
    )
    block: int = 32
    specials: list[int] = field(default_factory=lambda: [0, 2, 1, 3])
    leave_out: str = ""
    short: str = ""
    far: str = ""
    kinds: dict[str, int] = field(default_factory=dict)

    def tensor_bytes(self, name: str) -> bytes:
        shape = shapes()[name]
        count = int(np.prod(shape))
        random = Random(name)
        if len(shape) == 2 and name not in ("emb.pos", "emb.type"):
            return random.randbytes(count // 32 * 18)
        return struct.pack(f"<{count}f", *(random.uniform(-1, 1) for _ in range(count)))

    def build(self) -> bytes:
        pieces = [one.encode() for one in PIECES]
        offsets = [sum(map(len, pieces[:n])) for n in range(len(pieces) + 1)]
        scores = [0.0, 0.0, 0.0, 0.0, -3.5, -4.25, 0.0]
        head = self.magic + struct.pack("<I7ifi", 1, *self.numbers, 1e-12, self.block)
        head += struct.pack("<5iQ", len(pieces), *self.specials, offsets[-1])
        head += struct.pack(f"<{len(offsets)}I{len(scores)}f", *offsets, *scores)
        head += b"".join(pieces) + struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0xFF21, 1, 0x21)
        names = [one for one in shapes() if one != self.leave_out]
        directory_bytes = 4 + sum(2 + len(one) + 21 for one in names)
        offset = len(head) + directory_bytes
        directory, body = struct.pack("<i", len(names)), b""
        for name in names:
            raw = self.tensor_bytes(name)[: -4 if name == self.short else None]
            count = int(np.prod(shapes()[name]))
            quantised = len(shapes()[name]) == 2 and name not in ("emb.pos", "emb.type")
            at = offset + len(body) + (1 << 40 if name == self.far else 0)
            kind = self.kinds.get(name, int(quantised))
            directory += struct.pack("<H", len(name)) + name.encode()
            directory += struct.pack("<BIQQ", kind, count, at, len(raw))
            body += raw
        return head + directory + body


def converted(directory: Path, source: E5s1) -> Path:
    (directory / "source.bin").write_bytes(source.build())
    target = directory / "target.gguf"
    convert(directory / "source.bin", target)
    return target


def test_every_tensor_keeps_its_bytes_under_its_new_name(tmp_path: Path) -> None:
    source = E5s1()
    reader = gguf.GGUFReader(converted(tmp_path, source))
    found = {one.name: one for one in reader.tensors}
    expected = {
        "emb.word": "token_embd.weight",
        "emb.pos": "position_embd.weight",
        "emb.type": "token_types.weight",
        "emb.ln.w": "token_embd_norm.weight",
        "emb.ln.b": "token_embd_norm.bias",
    }
    for name in shapes():
        if name.startswith("l"):
            layer, part, last = name.split(".")
            ending = "weight" if last == "w" else "bias"
            expected[name] = f"blk.{layer[1:]}.{TARGETS[part]}.{ending}"
    assert sorted(found) == sorted(expected.values())
    for name, target in expected.items():
        assert found[target].data.tobytes() == source.tensor_bytes(name), name
        assert [int(n) for n in found[target].shape] == list(reversed(shapes()[name])), name
    assert found["blk.1.ffn_up.weight"].tensor_type == gguf.GGMLQuantizationType.Q4_0
    assert found["position_embd.weight"].tensor_type == gguf.GGMLQuantizationType.F32


def test_the_metadata_is_what_llama_cpp_needs(tmp_path: Path) -> None:
    reader = gguf.GGUFReader(converted(tmp_path, E5s1()))
    values = {key: one.contents() for key, one in reader.fields.items()}
    wanted = {
        "general.architecture": "bert",
        "bert.context_length": POSITIONS,
        "bert.embedding_length": HIDDEN,
        "bert.block_count": LAYERS,
        "bert.feed_forward_length": INNER,
        "bert.attention.head_count": HEADS,
        "bert.attention.causal": False,
        "bert.pooling_type": 1,
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.token_type_count": 2,
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.padding_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 3,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.add_eos_token": True,
        "tokenizer.ggml.add_space_prefix": True,
        "tokenizer.ggml.remove_extra_whitespaces": True,
        "tokenizer.ggml.tokens": [*PIECES, "[PAD7]", "[PAD8]"],
        "tokenizer.ggml.scores": [0.0, 0.0, 0.0, 0.0, -3.5, -4.25, 0.0, -1000.0, -1000.0],
        "tokenizer.ggml.token_type": [3, 3, 3, 2, 1, 1, 3, 5, 5],
    }
    assert {key: values.get(key) for key in wanted} == wanted
    assert values["bert.attention.layer_norm_epsilon"] == pytest.approx(1e-12)


def test_one_source_gives_one_file(tmp_path: Path) -> None:
    first = converted(tmp_path, E5s1()).read_bytes()
    (tmp_path / "again").mkdir()
    assert converted(tmp_path / "again", E5s1()).read_bytes() == first


def test_the_result_passes_the_precheck_as_an_embedding_model(tmp_path: Path) -> None:
    assert precheck(converted(tmp_path, E5s1())).pools


@pytest.mark.parametrize(
    ("faulty", "told"),
    [
        (E5s1(magic=b"E5S2"), "E5S1 mark"),
        (E5s1(numbers=[HIDDEN, 0, HEADS, INNER, VOCABULARY, POSITIONS, TYPES]), "layers is 0"),
        (E5s1(numbers=[HIDDEN, 999, HEADS, INNER, VOCABULARY, POSITIONS, TYPES]), "layers is 999"),
        (E5s1(numbers=[HIDDEN, 3, HEADS, INNER, VOCABULARY, POSITIONS, TYPES]), "'l2.q.w' is mis"),
        (E5s1(numbers=[HIDDEN, LAYERS, 5, INNER, VOCABULARY, POSITIONS, TYPES]), "do not fit"),
        (E5s1(numbers=[HIDDEN, LAYERS, HEADS, INNER, 6, POSITIONS, TYPES]), "pieces is 7"),
        (E5s1(numbers=[HIDDEN, LAYERS, HEADS, INNER, 10, POSITIONS, TYPES]), "the shape (10, 32)"),
        (E5s1(block=16), "do not fit"),
        (E5s1(specials=[0, 2, 1, 7]), "special piece"),
        (E5s1(leave_out="l1.fo.b"), "'l1.fo.b' is missing"),
        (E5s1(short="l0.aln.w"), "'l0.aln.w' does not have the shape"),
        (E5s1(far="emb.ln.b"), "'emb.ln.b' lies outside"),
        (E5s1(kinds={"l0.q.w": 0}), "'l0.q.w' does not have the shape"),
        (E5s1(kinds={"l0.q.w": 2}), "unknown type 2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_faulty_source_is_told_and_leaves_nothing(
    tmp_path: Path, faulty: E5s1, told: str
) -> None:
    with pytest.raises(Invalid) as caught:
        converted(tmp_path, faulty)
    assert told in caught.value.message
    assert not (tmp_path / "target.gguf").exists()


def test_a_disk_that_fills_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "source.bin").write_bytes(E5s1().build())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            convert(tmp_path / "source.bin", tmp_path / "target.gguf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "target.gguf").exists()


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 600), value=st.sampled_from([0, 1, 127, 255]), end=st.integers(0, 20_000))
def test_a_mutant_converts_or_is_invalid(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, end: int
) -> None:
    content = bytearray(E5s1().build())
    content[at] = value
    directory = tmp_path_factory.getbasetemp()
    source, target = directory / "mutant.bin", directory / "mutant.gguf"
    source.write_bytes(content[: end if end < len(content) // 2 else None])
    with contextlib.suppress(Invalid):
        convert(source, target)
        assert precheck(target).tensor_count == len(shapes())
        target.unlink()
    assert not target.exists()
