"""The llama.cpp backend: one chat model, one context with a unified cache, and the embedder.

All sequences live in one cache (`kv_unified`), so slots cost nothing until they are used and
equal prefixes can be shared. A step is one `llama_decode` over one reused batch. Codes that the
library returns become an `Outcome`; what it can only answer with an abort (a batch larger than
promised) is checked before.

Sliding-window models keep the full-size cache (`swa_full`): a prefix of a conversation can then
be used again, which the small window cache would have dropped. Even so the library gives cells
that lie outside a sequence's window to others when it finds no empty one before them, and what is
left of such a sequence begins later than at 0: `share` looks, and then shares nothing.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot
from appliance.schema import Sampling
from appliance.worker.backend import Cells, Chunk, Facts, Outcome, Shape, TextKind, Vectors
from appliance.worker.llama_cells import TO_THE_END, copy_in, copy_out, copy_within
from appliance.worker.llama_embedding import BATCH_TEXTS, BATCH_TOKENS, EmbeddingModel
from appliance.worker.llama_library import Library, load_library
from appliance.worker.llama_model import ALL_LAYERS, Batch, Model
from appliance.worker.sampler import SamplerChain
from appliance.worker.stamp import cache_stamp

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """What to load and with what. `gpu_layers` -1: all, when there is a GPU.

    `device` names the one GPU to use, "" leaves that to the library.
    """

    chat_model: Path
    embedding_model: Path | None
    threads: int
    gpu_layers: int = ALL_LAYERS
    device: str = ""


class LlamaBackend:
    """Raises CannotBoot when a model cannot be loaded.

    `on_progress` hears the loaded fraction of the chat model, 0 to 1. A GPU that has too little
    memory is left alone with a warning: everything then runs on the CPU.
    """

    def __init__(
        self, options: LlamaOptions, shape: Shape, *, on_progress: Callable[[float], None]
    ) -> None:
        self._shape = shape
        self._device = options.device
        library = load_library()
        gpu_layers = options.gpu_layers if computes_on_gpu() else 0
        try:
            self._load(library, options, gpu_layers, on_progress)
        except CannotBoot as error:
            if gpu_layers == 0:
                raise
            log.warning("not on the GPU: %s", error)
            gpu_layers = 0
            self._load(library, options, gpu_layers, on_progress)
        self._memory = binding.llama_get_memory(self._context)
        self._batch = Batch(shape.step_tokens)
        self._samplers: dict[int, SamplerChain] = {}
        self._outputs: dict[int, int] = {}  # by sequence: the batch's first token with its logits
        self._facts = self._find_facts(library, options.chat_model, on_gpu=gpu_layers != 0)

    @property
    def facts(self) -> Facts:
        return self._facts

    @property
    def shape(self) -> Shape:
        return self._shape

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        return self._model.tokenize(text, special=special)

    def piece(self, token: int) -> bytes:
        return self._model.piece(token)

    def is_end(self, token: int) -> bool:
        return self._model.is_end(token)

    def is_control(self, token: int) -> bool:
        """Whether a token is one that only templates may write."""
        return self._model.is_control(token)

    def open(self, sequence: int, sampling: Sampling, *, seed: int, answered: list[int]) -> None:
        self.close(sequence)
        self._samplers[sequence] = SamplerChain(
            sampling,
            vocabulary_size=self._model.vocabulary_size,
            seed=seed,
            answered=answered,
        )

    def decode(self, chunks: list[Chunk]) -> Outcome:
        self._outputs.clear()
        last = self._batch.fill(chunks)
        if last is None:
            return Outcome.REFUSED
        code = binding.llama_decode(self._context, self._batch.struct)
        if code == 0:
            self._outputs = {
                chunk.sequence: at + 1 - chunk.outputs
                for chunk, at in zip(chunks, last, strict=True)
                if chunk.outputs
            }
            return Outcome.DONE
        return {1: Outcome.NO_ROOM, -1: Outcome.REFUSED}.get(code, Outcome.BROKEN)

    def sample(self, sequence: int, row: int = 0) -> int:
        return self._samplers[sequence].sample(self._context, self._outputs[sequence] + row)

    def close(self, sequence: int) -> None:
        sampler = self._samplers.pop(sequence, None)
        if sampler is not None:
            sampler.free()

    def share(self, source: int, target: int, tokens: int) -> bool:
        window = self._model.window_tokens
        return copy_within(self._context, source, target, tokens=tokens, window=window)

    def truncate(self, sequence: int, length: int) -> None:
        cut = binding.llama_memory_seq_rm(self._memory, sequence, length, TO_THE_END)
        assert cut, "only models that can share are cut in the middle"

    def save(self, sequence: int) -> Cells | None:
        return copy_out(self._context, sequence)

    def restore(self, sequence: int, cells: Cells, *, tokens: int) -> bool:
        window = self._model.window_tokens
        return copy_in(self._context, sequence, cells, tokens=tokens, window=window)

    def embedding_tokens(self, text: str, kind: TextKind) -> list[int]:
        assert self._embedder is not None, "the engine asks facts.embedding_size first"
        return self._embedder.tokens(text, kind)

    def embed(self, texts: list[list[int]]) -> Vectors:
        assert self._embedder is not None, "the engine asks facts.embedding_size first"
        return self._embedder.embed(texts)

    def shut_down(self) -> None:
        for sequence in list(self._samplers):
            self.close(sequence)
        if self._embedder is not None:
            self._embedder.free()
        binding.llama_free(self._context)
        self._model.free()

    def _load(
        self,
        library: Library,
        options: LlamaOptions,
        gpu_layers: int,
        on_progress: Callable[[float], None],
    ) -> None:
        """Load everything or nothing."""
        self._embedder: EmbeddingModel | None = None
        self._model = Model(
            library,
            options.chat_model,
            gpu_layers=gpu_layers,
            device=options.device if gpu_layers else "",
            on_progress=on_progress,
        )
        try:
            self._context = self._open_context(options.threads, on_gpu=gpu_layers != 0)
        except CannotBoot:
            self._model.free()
            raise
        if options.embedding_model is None:
            return
        try:
            self._embedder = _load_embedder(library, options, gpu_layers)
        except CannotBoot:
            binding.llama_free(self._context)
            self._model.free()
            raise

    def _open_context(self, threads: int, *, on_gpu: bool) -> int:
        shape = self._shape
        parameters = binding.llama_context_default_params()
        parameters.n_ctx = shape.cache_tokens
        parameters.n_seq_max = shape.sequences
        # A step is never computed in parts: the second could take cells of a sliding window
        # that rejected drafts of the first give back.
        parameters.n_batch = parameters.n_ubatch = shape.step_tokens
        # By default there is room for the logits of every token of a batch: 300 MB here.
        parameters.n_outputs_max = shape.slots + shape.drafts
        parameters.kv_unified = True
        parameters.swa_full = True
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.offload_kqv = parameters.op_offload = on_gpu
        parameters.no_perf = True
        return self._model.open_context(parameters)

    def _find_facts(self, library: Library, weights: Path, *, on_gpu: bool) -> Facts:
        kinds = ("gpu", "integrated") if on_gpu else ("cpu",)
        devices = [one for one in library.devices() if one.kind in kinds]
        pinned = [one for one in devices if one.name == self._device]
        device = next(iter(pinned or devices), None)
        embedder = self._embedder
        return Facts(
            engine="llama",
            model=self._model.name,
            device=device.description if device else "unknown",
            cache_stamp=cache_stamp(weights, library.build, self._model.layers),
            chat_template=self._model.chat_template,
            begin_text=self._model.begin_text,
            end_text=self._model.end_text,
            begin_token=self._model.begin_token,
            embedding_model=embedder.model.name if embedder else "",
            embedding_size=embedder.model.embedding_size if embedder else 0,
            embedding_text_tokens=embedder.text_tokens if embedder else 0,
            embedding_batch_tokens=BATCH_TOKENS if embedder else 0,
            embedding_batch_texts=BATCH_TEXTS if embedder else 0,
            can_share=self._model.can_share,
        )


def computes_on_gpu() -> bool:
    """Whether this machine has a GPU that the library can use. Raises CannotBoot."""
    return any(device.kind != "cpu" for device in load_library().devices())


def _load_embedder(library: Library, options: LlamaOptions, gpu_layers: int) -> EmbeddingModel:
    assert options.embedding_model is not None
    model = Model(
        library,
        options.embedding_model,
        gpu_layers=ALL_LAYERS if gpu_layers else 0,
        device=options.device if gpu_layers else "",
        on_progress=lambda fraction: None,
    )
    try:
        return EmbeddingModel(model, threads=options.threads, on_gpu=gpu_layers != 0)
    except CannotBoot:
        model.free()
        raise
