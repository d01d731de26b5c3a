"""A model file in memory: loading, its vocabulary, and the batch that carries tokens into it.

Raises CannotBoot where a model cannot be loaded, with what the library said last as the reason.
Pointers to C objects are plain `int`s; whoever creates one frees it.
"""

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot
from appliance.worker.backend import Chunk
from appliance.worker.llama_library import Library, progress_callback
from appliance.worker.offload import Share

MOST_DEVICES = 128  # numbers that `tensor_split` has room for; llama.cpp reads one per device
PIECE_BYTES = 256  # tokens are shorter, but the library says when one is not
TEMPLATE_NAME = None  # the model's default template


class Model:
    """Weights and vocabulary of one file; its last layers are on GPUs as `shares` say.

    Raises CannotBoot, also for a GPU that is not there or took fewer layers.
    """

    def __init__(
        self,
        library: Library,
        path: Path,
        *,
        shares: Sequence[Share] = (),
        on_progress: Callable[[float], None] = lambda fraction: None,
    ) -> None:
        parameters = binding.llama_model_default_params()
        # Lists that must live until loading is done. The devices end with a null pointer; when
        # that is all, GPUs are left alone. The split says how many layers each one holds.
        handles = [library.device_handle(share.device) for share in shares]
        devices = (ctypes.c_void_p * (len(shares) + 1))(*handles, None)
        split = (ctypes.c_float * MOST_DEVICES)(*(share.layers for share in shares))
        parameters.devices = ctypes.cast(devices, ctypes.c_void_p)
        parameters.tensor_split = split
        wanted = parameters.n_gpu_layers = sum(share.layers for share in shares)
        callback = progress_callback(on_progress)
        parameters.progress_callback = callback
        library.complaints.clear()
        library.offloaded = None
        self.pointer = binding.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.pointer:
            raise CannotBoot(
                f"the model {path} cannot be loaded: {'; '.join(library.complaints) or 'unknown'}",
                hint="check the file with `sluice models verify`, or choose another model",
            )
        if library.offloaded is not None and library.offloaded < wanted:
            self.free()
            raise CannotBoot(
                f"llama.cpp put {library.offloaded} layers of {path.name} on the GPU, not {wanted}",
                hint="lower worker.gpu_layers",
            )
        self._vocabulary = binding.llama_model_get_vocab(self.pointer)
        self.name = self.metadata("general.name") or path.stem
        self.vocabulary_size = int(binding.llama_vocab_n_tokens(self._vocabulary))
        self.embedding_size = int(binding.llama_model_n_embd(self.pointer))
        self.can_share = not (
            binding.llama_model_is_recurrent(self.pointer)
            or binding.llama_model_is_hybrid(self.pointer)
        )
        self.trained_tokens = int(binding.llama_model_n_ctx_train(self.pointer))
        self.layers = int(binding.llama_model_n_layer(self.pointer))
        self.window_tokens = int(binding.llama_model_n_swa(self.pointer))  # 0: sees everything

    @property
    def chat_template(self) -> str:
        source = binding.llama_model_chat_template(self.pointer, TEMPLATE_NAME)
        return source.decode(errors="replace") if source else ""

    @property
    def begin_token(self) -> int | None:
        """The token that begins every prompt, None when the model wants none."""
        wanted = binding.llama_vocab_get_add_bos(self._vocabulary)
        return int(binding.llama_vocab_bos(self._vocabulary)) if wanted else None

    @property
    def begin_text(self) -> str:
        return self._token_text(binding.llama_vocab_bos(self._vocabulary))

    @property
    def end_text(self) -> str:
        return self._token_text(binding.llama_vocab_eos(self._vocabulary))

    def metadata(self, key: str) -> str:
        """A value of the model file's metadata as text, "" when it has none."""
        room = ctypes.create_string_buffer(256)
        length = binding.llama_model_meta_val_str(self.pointer, key.encode(), room, len(room))
        return room.value.decode(errors="replace") if length >= 0 else ""

    def tokenize(self, text: str, *, special: bool, ends: bool = False) -> list[int]:
        """Tokens of a text; `ends` adds the begin and end tokens the model was trained with."""
        encoded = text.encode(errors="replace")
        room = len(encoded) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = binding.llama_tokenize(
                self._vocabulary, encoded, len(encoded), tokens, room, ends, special
            )
            if count >= 0:
                return tokens[:count]
            room = -count

    def piece(self, token: int) -> bytes:
        """Bytes of a token, empty for control tokens."""
        room = PIECE_BYTES
        while True:
            text = ctypes.create_string_buffer(room)
            length = binding.llama_token_to_piece(self._vocabulary, token, text, room, 0, False)
            if length >= 0:
                return text.raw[:length]
            room = -length

    def is_end(self, token: int) -> bool:
        return bool(binding.llama_vocab_is_eog(self._vocabulary, token))

    def is_control(self, token: int) -> bool:
        return bool(binding.llama_vocab_is_control(self._vocabulary, token))

    def open_context(self, parameters: Any) -> int:
        """A context of this model (`parameters` is the library's own struct)."""
        context = binding.llama_init_from_model(self.pointer, parameters)
        if not context:
            raise CannotBoot(
                f"there is not enough memory for the context of {self.name}",
                hint="lower worker.cache_tokens or choose a smaller model",
            )
        return int(context)

    def free(self) -> None:
        binding.llama_model_free(self.pointer)

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        text = binding.llama_vocab_get_text(self._vocabulary, token)
        return text.decode(errors="replace") if text else ""


class Batch:
    """One `llama_batch`, allocated once and filled through numpy views."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tokens = np.zeros(capacity, dtype=np.int32)
        self._positions = np.zeros(capacity, dtype=np.int32)
        self._counting = np.arange(capacity, dtype=np.int32)
        self._sequences = np.zeros(capacity, dtype=np.int32)
        self._sequence_counts = np.ones(capacity, dtype=np.int32)
        self._outputs = np.zeros(capacity, dtype=np.int8)
        # each token's list of sequences is one number long: an address into `_sequences`
        addresses = self._sequences.ctypes.data + 4 * np.arange(capacity, dtype=np.uint64)
        self._addresses = np.ascontiguousarray(addresses, dtype=np.uint64)
        number, flag = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_int8)
        self.struct = binding.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(number),
            embd=None,
            pos=self._positions.ctypes.data_as(number),
            n_seq_id=self._sequence_counts.ctypes.data_as(number),
            seq_id=self._addresses.ctypes.data_as(ctypes.POINTER(number)),
            logits=self._outputs.ctypes.data_as(flag),
        )

    def fill(self, chunks: list[Chunk], *, all_outputs: bool = False) -> list[int] | None:
        """Put the chunks in. Returns where each one's last token is, None when they do not fit."""
        if not 0 < sum(len(chunk.tokens) for chunk in chunks) <= self._capacity:
            return None
        end = 0
        last = []
        for chunk in chunks:
            start, end = end, end + len(chunk.tokens)
            self._tokens[start:end] = chunk.tokens
            self._positions[start:end] = self._counting[: end - start] + chunk.position
            self._sequences[start:end] = chunk.sequence
            self._outputs[start:end] = all_outputs
            self._outputs[end - chunk.outputs : end] = True
            last.append(end - 1)
        self.struct.n_tokens = end
        return last
