"""The embedding model: a second context, run on the engine thread between two chat steps.

An encoder such as E5 has no cache: a batch of whole texts goes in, one vector per text comes
out, pooled as the model says (by the mean where it does not). E5 models were trained with
`query: ` and `passage: ` before NFKC-normalised texts; others get the text as it is.

A batch can be given up half-way: on CPUs the library asks between two operations, some hundred
times a batch, whether it shall go on. Nothing is kept of what was given up.
"""

import unicodedata

import numpy as np
from llama_cpp import llama_cpp as binding

from appliance.errors import Unavailable
from appliance.worker.backend import Chunk, GivenUp, TextKind, Unless, Vectors
from appliance.worker.llama_library import load_library
from appliance.worker.llama_model import Batch, Model

BATCH_TOKENS = 512
BATCH_TEXTS = 16
_ABORTED = 2  # what `llama_decode` returns then
CHARS_PER_TOKEN = 16  # a longer text is cut before it is tokenised: tokens are shorter


class EmbeddingModel:
    """Owns model and context. Texts are cut to `text_tokens` tokens."""

    def __init__(self, model: Model, *, threads: int, on_gpu: bool) -> None:
        self.model = model
        self.text_tokens = min(model.trained_tokens, BATCH_TOKENS)
        self._prefixed = "e5" in model.name.lower()
        self._batch = Batch(BATCH_TOKENS)
        parameters = binding.llama_context_default_params()
        parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = BATCH_TOKENS
        parameters.n_seq_max = BATCH_TEXTS
        parameters.kv_unified = True
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.embeddings = True
        parameters.offload_kqv = parameters.op_offload = on_gpu
        if not model.metadata(f"{model.metadata('general.architecture')}.pooling_type"):
            parameters.pooling_type = binding.LLAMA_POOLING_TYPE_MEAN
            parameters.attention_type = binding.LLAMA_ATTENTION_TYPE_NON_CAUSAL
        self._context = model.open_context(parameters)
        self._unless: Unless | None = None
        self._library = load_library()
        # The library keeps the bare pointer: this reference keeps the callback alive.
        self._callback = binding.ggml_abort_callback(self._gives_up)
        binding.llama_set_abort_callback(self._context, self._callback, None)
        self._memory = binding.llama_get_memory(self._context)  # none for encoders

    def tokens(self, text: str, kind: TextKind) -> list[int]:
        """Tokens with the model's own ends; the end token stays when a text is cut."""
        text = text[: CHARS_PER_TOKEN * self.text_tokens]
        if self._prefixed:
            text = f"{kind}: {unicodedata.normalize('NFKC', text)}"
        tokens = self.model.tokenize(text, special=False, ends=True)
        if len(tokens) > self.text_tokens:
            tokens = [*tokens[: self.text_tokens - 1], tokens[-1]]
        return tokens

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        """One row per text. Raises Unavailable when the model fails or the batch is too large, and
        GivenUp when `unless` came true before the end.
        """
        if self._memory:
            binding.llama_memory_clear(self._memory, False)
        chunks = [Chunk(n, tokens, 0, outputs=1) for n, tokens in enumerate(texts)]
        if len(texts) > BATCH_TEXTS or self._batch.fill(chunks, all_outputs=True) is None:
            raise Unavailable("the texts do not fit into one embedding batch")
        self._unless = unless
        code = binding.llama_decode(self._context, self._batch.struct)
        self._unless, self._library.is_muted = None, False
        if code == _ABORTED:
            raise GivenUp
        if code != 0:
            raise Unavailable(f"the embedding model failed with code {code}")
        return np.stack([self._vector(n) for n in range(len(texts))])

    def use_threads(self, threads: int) -> None:
        binding.llama_set_n_threads(self._context, threads, threads)

    def free(self) -> None:
        binding.llama_free(self._context)
        self.model.free()

    def _gives_up(self, _: object) -> bool:
        """What the library then says of a failure is not true."""
        gives_up = self._unless is not None and self._unless()
        self._library.is_muted = self._library.is_muted or gives_up
        return gives_up

    def _vector(self, text: int) -> Vectors:
        pointer = binding.llama_get_embeddings_seq(self._context, text)
        if not pointer:
            raise Unavailable("the embedding model pools nothing: it is not an embedding model")
        vector: Vectors = np.ctypeslib.as_array(pointer, shape=(self.model.embedding_size,)).copy()
        length = float(np.linalg.norm(vector))
        if not length or not np.isfinite(length):
            raise Unavailable("the embedding model gave a vector without direction")
        vector /= length
        return vector
