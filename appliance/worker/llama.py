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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from llama_cpp import llama_cpp as binding

from appliance.errors import CannotBoot
from appliance.grammar.automaton import Automaton
from appliance.schema.events import TokenLogprob
from appliance.schema.sampling import Adapter, Sampling
from appliance.schema.status import DeviceStatus
from appliance.worker.backend import Cells, Chunk, Facts, Outcome, Shape, TextKind, Unless, Vectors
from appliance.worker.gpu_alarms import NOTHING_ASKED, Seen, gpu_alarms
from appliance.worker.llama_adapters import lay_over, place
from appliance.worker.llama_cells import TO_THE_END, copy_in, copy_out, copy_within
from appliance.worker.llama_embedding import BATCH_TEXTS, BATCH_TOKENS, EmbeddingModel
from appliance.worker.llama_library import Library, load_library
from appliance.worker.llama_model import Batch, Model
from appliance.worker.offload import CPU_ONLY, Device, Offload
from appliance.worker.sampler import SamplerChain
from appliance.worker.stamp import cache_stamp
from appliance.worker.vocabulary import read_vocabulary

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaOptions:
    """What to load and with what. The first of `attempts` that loads is kept.

    `seen` is what was asked of GPUs, for the alarm when another attempt or the CPU is left.
    """

    chat_model: Path
    embedding_model: Path | None
    adapters: tuple[Adapter, ...] = ()
    threads: int
    layers: int
    attempts: Sequence[Offload] = (CPU_ONLY,)
    seen: Seen = NOTHING_ASKED


class LlamaBackend:
    """Raises CannotBoot when a model cannot be loaded.

    `on_progress` hears the loaded fraction of the chat model, 0 to 1. What did not load on a GPU
    is told in `facts.alarms`.
    """

    def __init__(
        self, options: LlamaOptions, shape: Shape, *, on_progress: Callable[[float], None]
    ) -> None:
        self._shape = shape
        library = load_library()
        devices = library.devices()
        failures: list[str] = []
        for offload in options.attempts:
            try:
                self._load(library, options, offload, on_progress)
                break
            except CannotBoot as error:
                if offload is options.attempts[-1]:
                    raise
                log.warning("%d layers do not load on the GPU: %s", offload.layers, error)
                failures.append(error.message)
        self._memory = binding.llama_get_memory(self._context)
        self._batch = Batch(shape.step_tokens)
        self._samplers: dict[int, SamplerChain] = {}
        self._outputs: dict[int, int] = {}  # by sequence: the batch's first token with its logits
        seen = replace(options.seen, used=offload, failures=failures)
        self._facts = self._find_facts(
            device_statuses(devices, offload),
            options.layers,
            seen,
            stamp=cells_stamp(
                options,
                library.stamp(on_gpu=bool(offload.shares)),
                on_gpu=bool(offload.shares),
                cache_tokens=shape.cache_tokens,
            ),
            adapters=", ".join(f"{place(one).name} x {one.scale:g}" for one in options.adapters),
        )

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

    def open(
        self,
        sequence: int,
        sampling: Sampling,
        *,
        seed: int,
        answered: list[int],
        automaton: Automaton | None = None,
    ) -> None:
        assert (automaton is None) == (not sampling.grammar), (
            "the grammar's automaton comes with it"
        )
        self.close(sequence)
        self._samplers[sequence] = SamplerChain(
            sampling,
            vocabulary=self._vocabulary,
            seed=seed,
            answered=answered,
            automaton=automaton,
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

    def logprobs(self, sequence: int) -> TokenLogprob | None:
        return self._samplers[sequence].logprobs

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

    def embed(self, texts: list[list[int]], unless: Unless | None = None) -> Vectors:
        assert self._embedder is not None, "the engine asks facts.embedding_size first"
        return self._embedder.embed(texts, unless)

    def use_threads(self, threads: int) -> None:
        binding.llama_set_n_threads(self._context, threads, threads)
        if self._embedder is not None:
            self._embedder.use_threads(threads)

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
        offload: Offload,
        on_progress: Callable[[float], None],
    ) -> None:
        """Load everything or nothing."""
        self._embedder: EmbeddingModel | None = None
        self._model = Model(
            library, options.chat_model, shares=offload.shares, on_progress=on_progress
        )
        try:
            self._context = self._open_context(options.threads, on_gpu=bool(offload.shares))
        except CannotBoot:
            self._model.free()
            raise
        try:
            lay_over(library, self._model.pointer, self._context, options.adapters)
            with ThreadPoolExecutor(1) as beside:  # each takes as long as the other
                reading = beside.submit(
                    read_vocabulary,
                    self._model.vocabulary_size,
                    self._model.piece,
                    self._model.is_end,
                )
                if options.embedding_model is not None:
                    self._embedder = _load_embedder(
                        library, options.embedding_model, options.threads, offload
                    )
            self._vocabulary = reading.result()
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

    def _find_facts(
        self,
        devices: tuple[DeviceStatus, ...],
        layers: int,
        seen: Seen,
        *,
        stamp: str,
        adapters: str,
    ) -> Facts:
        embedder = self._embedder
        return Facts(
            engine="llama",
            model=self._model.name,
            device=in_words(devices, layers),
            devices=devices,
            alarms=gpu_alarms(seen),
            cache_stamp=stamp,
            adapters=adapters,
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


def cells_stamp(options: LlamaOptions, library: str, *, on_gpu: bool, cache_tokens: int) -> str:
    """Of all that saved cells depend on; some models turn positions by the size of the cache."""
    return cache_stamp(
        options.chat_model,
        *(library, on_gpu, cache_tokens),
        *((cache_stamp(place(one)), one.scale) for one in options.adapters),
    )


def device_statuses(devices: Iterable[Device], offload: Offload) -> tuple[DeviceStatus, ...]:
    """The devices, with what each holds of the chat model."""
    held = {share.device: share.layers for share in offload.shares}
    return tuple(
        DeviceStatus(
            name=device.name,
            description=device.description,
            kind=device.kind,
            backend=device.backend,
            free_bytes=device.free_bytes,
            total_bytes=device.total_bytes,
            layers=held.get(device.name, 0),
        )
        for device in devices
    )


def in_words(devices: Iterable[DeviceStatus], layers: int) -> str:
    """What computes: "Vulkan0: Radeon, 12 of 19 layers", or the CPU's name."""
    on_gpu = [
        f"{device.name}: {device.description}, {device.layers} of {layers} layers"
        for device in devices
        if device.layers
    ]
    cpu = next((device.description for device in devices if device.kind == "cpu"), "unknown")
    return "; ".join(on_gpu) or f"CPU: {cpu}"


def _load_embedder(library: Library, path: Path, threads: int, offload: Offload) -> EmbeddingModel:
    shares = (offload.embedder,) if offload.embedder else ()
    model = Model(library, path, shares=shares)
    try:
        return EmbeddingModel(model, threads=threads, on_gpu=bool(shares))
    except CannotBoot:
        model.free()
        raise
