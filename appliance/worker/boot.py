"""Builds the engine a worker was asked for, or says in words why that cannot be.

What can be known before the native parser sees a file is checked first: that the files are
there, that they are GGUF models of the right kind, and that weights and cache fit into memory. A
worker that fails here exits with its own status and is not started again in a loop.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from appliance.errors import CannotBoot, Invalid
from appliance.schema.sampling import Adapter
from appliance.worker import offload
from appliance.worker.archive import Archive
from appliance.worker.backend import Backend, Shape
from appliance.worker.config import WorkerConfig
from appliance.worker.engine import Bounds, Engine
from appliance.worker.fake import FakeBackend
from appliance.worker.fake_model import parse
from appliance.worker.gpu_alarms import Seen
from appliance.worker.jobs import Output
from appliance.worker.memory import cache_bytes, check_memory, checked_header, needed_bytes
from models.precheck import Header

NVIDIA_NODE = Path("/dev/nvidia0")
SPARE_REQUESTS = 256  # beyond the slots: what was given up stays open until the next step
ENCODERS = ("bert", "nomic-bert", "jina-bert-v2", "roberta", "t5encoder", "modern-bert")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """`gpu_layers` -1: as many as fit, when there is a GPU. `threads` 0: the physical cores.

    `embedding_model` None runs without one. `device` "" uses every GPU there is, and none is
    used when the process before this one `was_aborted`.
    `step_delay_s` slows the fake engine, which pretends to load `fake_model`.
    """

    engine: Literal["llama", "fake"]
    chat_model: Path | None = None
    embedding_model: Path | None = None
    adapters: tuple[Adapter, ...] = ()
    shape: Shape = field(default_factory=Shape)
    threads: int = 0
    gpu_layers: int = -1
    device: str = ""
    was_aborted: bool = False
    step_delay_s: float = 0.0
    fake_model: str = ""


def build_engine(
    config: WorkerConfig,
    *,
    emit: Callable[[list[Output]], None],
    on_fatal: Callable[[Exception], None],
    progress: Callable[[str, int], None],
    was_aborted: bool = False,
) -> Engine:
    """The engine of a worker process, loaded but not started.

    `progress` hears how loading goes, in words and percent. After a life that was aborted no GPU
    is used.

    Raises CannotBoot with what to do about it.
    """
    settings = BackendSettings(
        engine=config.engine,
        fake_model=config.chat_model if config.engine == "fake" else "",
        chat_model=Path(config.chat_model) if config.chat_model else None,
        embedding_model=Path(config.embedding_model) if config.embedding_model else None,
        adapters=config.adapters,
        shape=_shape(config),
        threads=config.threads,
        gpu_layers=config.gpu_layers,
        device=config.device,
        was_aborted=was_aborted,
    )
    backend = build_backend(settings, on_progress=_Percentage(progress).hear)
    archive = None
    if config.snapshot_bytes and config.snapshot_directory:
        archive = Archive(
            Path(config.snapshot_directory),
            bound_bytes=config.snapshot_bytes,
            stamp=backend.facts.cache_stamp,
            memory_bytes=config.conversation_bytes,
        )
    bounds = Bounds(
        requests=config.slots + SPARE_REQUESTS,
        drafts_per_request=config.draft_tokens,
        gap_s=config.gap_ms / 1000,
        kept_pace=config.kept_pace,
    )
    return Engine(backend, emit=emit, on_fatal=on_fatal, bounds=bounds, archive=archive)


def build_backend(
    settings: BackendSettings, *, on_progress: Callable[[float], None] = lambda fraction: None
) -> Backend:
    """The backend, loaded. `on_progress` hears the loaded fraction of the chat model.

    Raises CannotBoot with what to do about it.
    """
    if settings.engine == "fake":
        try:
            model = parse(settings.fake_model)
        except Invalid as error:
            raise CannotBoot(error.message, hint=error.hint) from None
        model.load(on_progress)
        return FakeBackend(
            settings.shape,
            step_delay_s=settings.step_delay_s,
            embed_delay_s=model.embed_ms / 1000,
        )
    if settings.chat_model is None:
        raise CannotBoot("no chat model is configured", hint="set models.chat")
    chat = checked_header(settings.chat_model)
    if chat.architecture in ENCODERS:
        raise CannotBoot(
            f"{settings.chat_model} is an embedding model and cannot chat",
            hint="set models.chat to a chat model",
        )
    embedding = checked_header(settings.embedding_model) if settings.embedding_model else None
    return _build_llama(settings, settings.chat_model, chat, embedding, on_progress)


def _build_llama(
    settings: BackendSettings,
    path: Path,
    chat: Header,
    embedding: Header | None,
    on_progress: Callable[[float], None],
) -> Backend:
    """Plans what goes to GPUs, checks what is left for the machine's memory, and loads."""
    # Imported here: the fake engine must start without the native library.
    from appliance.worker.llama import LlamaBackend, LlamaOptions
    from appliance.worker.llama_library import load_library

    library = load_library()
    gpus = offload.usable(library.devices(), settings.device)
    cache_tokens = settings.shape.cache_tokens
    need = offload.need(chat, embedding, cache_bytes=cache_bytes(chat, cache_tokens))
    usable = () if settings.was_aborted else gpus
    planned = offload.attempts(need, usable, asked=settings.gpu_layers)
    adapters_bytes = sum(_check_adapter(one, chat) for one in settings.adapters)
    available = psutil.virtual_memory().available - adapters_bytes
    needed = needed_bytes(chat, cache_tokens) + (embedding.size_bytes if embedding else 0)
    attempts = [one for one in planned if needed - one.freed_bytes <= available]
    if not attempts:
        check_memory(chat, embedding, cache_tokens=cache_tokens, available_bytes=available)
    options = LlamaOptions(
        chat_model=path,
        embedding_model=settings.embedding_model,
        adapters=settings.adapters,
        threads=settings.threads or psutil.cpu_count(logical=False) or 1,
        layers=len(need.layers),
        attempts=attempts,
        seen=Seen(
            asked=settings.gpu_layers,
            named=settings.device,
            gpus=gpus,
            silent=library.silent_backends(),
            nvidia=NVIDIA_NODE.exists(),
            planned=planned[0],
            aborted=settings.was_aborted,
        ),
    )
    return LlamaBackend(options, settings.shape, on_progress=on_progress)


def _shape(config: WorkerConfig) -> Shape:
    try:
        return Shape(
            slots=config.slots,
            warm_sequences=config.warm_sequences,
            warm_tokens=config.warm_tokens,
            context_tokens=config.context_tokens,
            cache_tokens=config.cache_tokens,
            step_tokens=config.step_tokens,
        )
    except Invalid as error:
        raise CannotBoot(error.message, hint=error.hint) from error


class _Percentage:
    """Says a loaded fraction in words, once per ten percent."""

    def __init__(self, say: Callable[[str, int], None]) -> None:
        self._say = say
        self._told = -1

    def hear(self, fraction: float) -> None:
        tens = int(fraction * 10)
        if tens > self._told:
            self._told = tens
            self._say(f"loading the model: {tens * 10} %", tens * 10)


def _check_adapter(adapter: Adapter, chat: Header) -> int:
    """Size in bytes of an adapter made for this kind of model. Raises CannotBoot for any other."""
    path = Path(adapter.path).expanduser()
    hint = "correct models.lora in the settings"
    if not path.is_file():
        raise CannotBoot(f"there is no adapter at {path}", hint=hint)
    header = checked_header(path)
    if header.values.get("general.type") != "adapter":
        raise CannotBoot(f"{path} is a model, not an adapter", hint=hint)
    if header.values.get("adapter.type") != "lora":
        raise CannotBoot(f"{path} is no LoRA adapter", hint=hint)
    if header.architecture != chat.architecture:
        raise CannotBoot(
            f"{path} is made for {header.architecture} models, "
            f"the chat model is {chat.architecture}",
            hint=hint,
        )
    return header.size_bytes
