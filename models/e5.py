"""Re-wraps the packed embedding model (an `E5S1` file) as a GGUF that llama.cpp loads.

The source file holds multilingual-e5-small with its matrices already stored as ggml Q4_0 blocks
(32 weights in 18 bytes). A GGUF wants the same blocks under other names, so nothing is
quantised again: the bytes of every matrix are copied, and only the header, the tokenizer tables
and the tensor names are written anew. The output holds no date, no host and no version, so one
source gives one sha256 and the catalogue can pin it.

Refuses a file whose tables overrun it, whose tensors do not have the shapes its header implies,
or which lacks a tensor: every such fault is `Invalid`, and no half-written target is left.

The model wants its texts NFKC-normalised and prefixed `query: ` or `passage: `; the tokenizer
tables carry no normalisation map, so the caller does it.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from appliance.errors import Invalid

MAGIC = b"E5S1"
BLOCK_WEIGHTS = 32
BLOCK_BYTES = 18
MAX_SOURCE_BYTES = 1 << 30
MAX_LAYERS = 256
MAX_PIECES = 4_000_000
MAX_TENSORS = 16 * MAX_LAYERS
UNUSED_SCORE = -1000.0  # below any sum of real pieces, so padding is never chosen

_EMBEDDING_NAMES = {
    "emb.word": "token_embd.weight",
    "emb.pos": "position_embd.weight",
    "emb.type": "token_types.weight",
    "emb.ln.w": "token_embd_norm.weight",
    "emb.ln.b": "token_embd_norm.bias",
}
_LAYER_NAMES = {
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "ao": "attn_output",
    "aln": "attn_output_norm",
    "fi": "ffn_up",
    "fo": "ffn_down",
    "oln": "layer_output_norm",
}

_Array = npt.NDArray[np.uint8] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float


@dataclass(frozen=True)
class _Tokenizer:
    pieces: list[bytes]
    scores: list[float]
    bos: int
    eos: int
    pad: int
    unknown: int


@dataclass(frozen=True)
class _Tensor:
    quantised: bool
    count: int
    offset: int
    size_bytes: int


@dataclass(frozen=True)
class _Wanted:
    source: str
    target: str
    shape: tuple[int, ...]


class _Cursor:
    """Reads little-endian fields one after another; running past the end is `Invalid`."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.content):
            raise _broken("it ends in the middle of a table")
        taken = self.content[self.position : end]
        self.position = end
        return taken

    def integer(self, kind: str) -> int:
        layout = "<" + kind
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def floating(self) -> float:
        return float(struct.unpack("<f", self.take(4))[0])

    def bounded(self, kind: str, name: str, high: int) -> int:
        value = self.integer(kind)
        if not 1 <= value <= high:
            raise _broken(f"its {name} is {value}, allowed are 1 to {high}")
        return value


def convert(source: Path, target: Path) -> None:
    """Write `target` as the GGUF of the `E5S1` file `source`, flushed to the disk.

    Raises `Invalid` when the source is not a sound E5S1 file; then `target` does not exist.
    """
    if source.stat().st_size > MAX_SOURCE_BYTES:
        raise _broken(f"it is larger than {MAX_SOURCE_BYTES} bytes")
    cursor = _Cursor(source.read_bytes())
    if cursor.take(4) != MAGIC:
        raise _broken("it does not begin with the E5S1 mark")
    cursor.integer("I")  # the format's version: one is known, and the checks below judge the rest
    shape = _read_shape(cursor)
    tokenizer = _read_tokenizer(cursor, shape)
    tensors = _read_directory(cursor)
    try:
        _write(target, cursor.content, shape, tokenizer, tensors)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _broken(why: str) -> Invalid:
    return Invalid(
        f"The packed embedding model cannot be converted: {why}.",
        hint="Remove it and run `sluice models pull` again.",
    )


def _read_shape(cursor: _Cursor) -> _Shape:
    hidden = cursor.bounded("i", "width", 1 << 16)
    layers = cursor.bounded("i", "number of layers", MAX_LAYERS)
    heads = cursor.bounded("i", "number of heads", hidden)
    feed_forward = cursor.bounded("i", "inner width", 1 << 20)
    vocabulary = cursor.bounded("i", "vocabulary", MAX_PIECES)
    positions = cursor.bounded("i", "number of positions", 1 << 20)
    token_types = cursor.bounded("i", "number of token types", 1 << 10)
    epsilon = cursor.floating()
    block = cursor.integer("i")
    if block != BLOCK_WEIGHTS or hidden % block or feed_forward % block or hidden % heads:
        raise _broken(f"its widths do not fit blocks of {BLOCK_WEIGHTS} weights and its heads")
    return _Shape(hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon)


def _read_tokenizer(cursor: _Cursor, shape: _Shape) -> _Tokenizer:
    count = cursor.bounded("i", "number of pieces", shape.vocabulary)
    special = [cursor.integer("i") for _ in range(4)]
    if not all(0 <= one < count for one in special):
        raise _broken("a special piece lies outside its vocabulary")
    blob_bytes = cursor.integer("Q")
    offsets = np.frombuffer(cursor.take(4 * (count + 1)), dtype="<u4").astype(np.int64)
    scores = np.frombuffer(cursor.take(4 * count), dtype="<f4")
    blob = cursor.take(blob_bytes)
    if offsets[-1] > blob_bytes or (np.diff(offsets) < 0).any():
        raise _broken("its piece offsets are out of order")
    pieces = [blob[offsets[i] : offsets[i + 1]] for i in range(count)]
    cursor.integer("i")  # entries of the normalisation map: llama.cpp reads texts already NFKC
    cursor.take(cursor.integer("I"))
    bos, eos, pad, unknown = special
    return _Tokenizer(pieces, scores.tolist(), bos=bos, eos=eos, pad=pad, unknown=unknown)


def _read_directory(cursor: _Cursor) -> dict[str, _Tensor]:
    tensors: dict[str, _Tensor] = {}
    for _ in range(cursor.bounded("i", "number of tensors", MAX_TENSORS)):
        name = cursor.take(cursor.integer("H")).decode("ascii", errors="replace")
        kind = cursor.integer("B")
        count = cursor.integer("I")
        offset = cursor.integer("Q")
        size_bytes = cursor.integer("Q")
        if kind not in (0, 1):
            raise _broken(f"tensor {name!r} has an unknown type {kind}")
        if offset + size_bytes > len(cursor.content):
            raise _broken(f"tensor {name!r} lies outside the file")
        tensors[name] = _Tensor(kind == 1, count, offset, size_bytes)
    return tensors


def _wanted(shape: _Shape) -> Iterator[_Wanted]:
    hidden, inner = shape.hidden, shape.feed_forward
    rows = {
        "emb.word": (shape.vocabulary, hidden),
        "emb.pos": (shape.positions, hidden),
        "emb.type": (shape.token_types, hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
    }
    for source, target in _EMBEDDING_NAMES.items():
        yield _Wanted(source, target, rows[source])
    for layer in range(shape.layers):
        for part, name in _LAYER_NAMES.items():
            outputs = inner if part == "fi" else hidden
            inputs = inner if part == "fo" else hidden
            weight = (hidden,) if part.endswith("ln") else (outputs, inputs)
            target = f"blk.{layer}.{name}"
            yield _Wanted(f"l{layer}.{part}.w", f"{target}.weight", weight)
            yield _Wanted(f"l{layer}.{part}.b", f"{target}.bias", (outputs,))


def _array(content: bytes, tensors: dict[str, _Tensor], wanted: _Wanted) -> _Array:
    tensor = tensors.get(wanted.source)
    if tensor is None:
        raise _broken(f"tensor {wanted.source!r} is missing")
    count = int(np.prod(wanted.shape))
    size_bytes = count // BLOCK_WEIGHTS * BLOCK_BYTES if tensor.quantised else 4 * count
    if tensor.count != count or tensor.size_bytes != size_bytes:
        raise _broken(f"tensor {wanted.source!r} does not have the shape {wanted.shape}")
    raw = memoryview(content)[tensor.offset : tensor.offset + size_bytes]
    if not tensor.quantised:
        return np.frombuffer(raw, dtype="<f4").reshape(wanted.shape)
    if len(wanted.shape) != 2:
        raise _broken(f"tensor {wanted.source!r} is quantised where a vector is expected")
    return np.frombuffer(raw, dtype=np.uint8).reshape(wanted.shape[0], -1)


def _write(
    target: Path,
    content: bytes,
    shape: _Shape,
    tokenizer: _Tokenizer,
    tensors: dict[str, _Tensor],
) -> None:
    arrays = {one.target: _array(content, tensors, one) for one in _wanted(shape)}
    writer = gguf.GGUFWriter(target, "bert", endianess=gguf.GGUFEndian.LITTLE)
    try:
        _add_metadata(writer, shape)
        _add_tokenizer(writer, tokenizer, shape.vocabulary)
        for name, array in arrays.items():
            quantised = array.dtype == np.uint8
            kind = gguf.GGMLQuantizationType.Q4_0 if quantised else None
            writer.add_tensor(name, array, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        # Not `write_tensors_to_file`: numpy's `tofile` hides a full disk from small tensors.
        out = writer.fout[0]
        writer.write_padding(out, out.tell())
        for array in arrays.values():
            out.write(array.data)
            writer.write_padding(out, array.nbytes)
    finally:
        writer.close()
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _add_metadata(writer: "gguf.GGUFWriter", shape: _Shape) -> None:
    writer.add_type("model")
    writer.add_name("multilingual-e5-small")
    writer.add_context_length(shape.positions)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_layer_norm_eps(shape.epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(writer: "gguf.GGUFWriter", tokenizer: _Tokenizer, vocabulary: int) -> None:
    kinds = [int(gguf.TokenType.NORMAL)] * len(tokenizer.pieces)
    for special in (tokenizer.bos, tokenizer.eos, tokenizer.pad):
        kinds[special] = int(gguf.TokenType.CONTROL)
    kinds[tokenizer.unknown] = int(gguf.TokenType.UNKNOWN)
    mask = tokenizer.pieces.index(b"<mask>") if b"<mask>" in tokenizer.pieces else None
    if mask is not None:
        kinds[mask] = int(gguf.TokenType.CONTROL)
    padding = range(len(tokenizer.pieces), vocabulary)
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokenizer.pieces + [b"[PAD%d]" % i for i in padding])
    writer.add_token_scores(tokenizer.scores + [UNUSED_SCORE] * len(padding))
    writer.add_token_types(kinds + [int(gguf.TokenType.UNUSED)] * len(padding))
    writer.add_token_type_count(2)
    writer.add_bos_token_id(tokenizer.bos)
    writer.add_eos_token_id(tokenizer.eos)
    writer.add_unk_token_id(tokenizer.unknown)
    writer.add_pad_token_id(tokenizer.pad)
    if mask is not None:
        writer.add_mask_token_id(mask)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
