"""Which children this appliance has, in start order: store, index, workers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from appliance import keys
from appliance.errors import CannotBoot, NotFound
from appliance.fleet.devices import gpus
from appliance.fleet.plan import Machine, Seat, seats
from appliance.fleet.record import ChatPool
from appliance.fleet.shelf import Shelf, Weights
from appliance.fleet.workers import (
    Serving,
    abort_directory,
    cache_tokens,
    physical_cores,
    snapshot_directory,
    worker_child,
    worker_config,
)
from appliance.settings import Settings, models_directory
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.directory import socket_directory
from appliance.supervisor.machine import Policy
from appliance.supervisor.milvus import embedded_milvus
from appliance.supervisor.valkey import embedded_valkey
from appliance.worker.abort_mark import forget_marks
from appliance.worker.config import WorkerConfig
from appliance.worker.memory import memory_bytes
from models.catalogue import Entry
from models.store import Store

MEGABYTE = 1 << 20
VALKEY = "valkey"
VALKEY_START_TIMEOUT_S = 60.0
MILVUS = "milvus"


@dataclass(frozen=True)
class Family:
    """The children, and where store and index answer.

    `chat` are the workers of the chat model, none of which there are while weights are `lacking`;
    these are names of the catalogue, the chat model first. `another` makes one of another
    model, from its weights, the worker's number and its threads.
    """

    specs: tuple[ChildSpec, ...]
    shelf: Shelf
    chat: ChatPool
    lacking: tuple[str, ...]
    another: Callable[[Weights, int, int], ChildSpec]
    redis_url: str
    milvus_uri: str
    snapshots: Path
    embedded_store: bool
    embedded_index: bool


def family(settings: Settings, data: Path, *, may_lack: bool = False) -> Family:
    """Raises CannotBoot for a missing binary or model, unless that one may still be fetched."""
    sockets = socket_directory(data)
    specs: list[ChildSpec] = []
    redis_url, milvus_uri = settings.external.redis_url, settings.external.milvus_uri
    if not redis_url:
        valkey = embedded_valkey(
            data / "valkey",
            sockets,
            fsync=settings.store.fsync,
            memory_bytes=settings.store.memory_mb * MEGABYTE,
            policy=Policy(
                start_timeout_s=VALKEY_START_TIMEOUT_S,
                restarts=settings.supervision.restarts,
                window_s=settings.supervision.restart_window_s,
            ),
        )
        specs.append(valkey.child)
        redis_url = valkey.endpoint.url
    if not milvus_uri:
        milvus = embedded_milvus(data / "milvus", sockets)
        specs.append(milvus.child)
        milvus_uri = milvus.uri
    lacking = lacking_weights(settings) if may_lack else ()
    configs = [] if lacking else worker_configs(settings, redis_url)
    shelf = Shelf(settings, configs[0].chat_model if configs else _future_chat(settings))
    needs = () if settings.external.redis_url else (VALKEY,)

    def another(weights: Weights, number: int, threads: int) -> ChildSpec:
        pool = keys.pool(weights.name)
        serving = Serving(redis_url=redis_url, pool=pool, name=weights.name, chat=weights.path)
        seat = Seat(number=number, threads=threads, embeds=False)
        return worker_child(settings, worker_config(settings, seat, serving), data, needs)

    forget_marks(abort_directory(data))
    specs += [worker_child(settings, config, data, needs) for config in configs]
    return Family(
        specs=tuple(specs),
        redis_url=redis_url,
        milvus_uri=milvus_uri,
        shelf=shelf,
        chat=ChatPool(
            workers=tuple(config.name for config in configs),
            threads=_threads(settings),
            memory_bytes=_chat_bytes(shelf, len(configs)) if configs else 0,
        ),
        lacking=lacking,
        another=another,
        snapshots=snapshot_directory(data),
        embedded_store=not settings.external.redis_url,
        embedded_index=not settings.external.milvus_uri,
    )


def worker_configs(settings: Settings, redis_url: str) -> list[WorkerConfig]:
    """One configuration per worker of the chat model. Raises CannotBoot, see `fleet.plan`."""
    chat, embedding = model_paths(settings)
    serving = Serving(
        redis_url=redis_url,
        pool=keys.MAIN,
        name=Shelf(settings, chat).default,
        chat=chat,
        embedding=embedding,
        adapters=settings.models.lora,
    )
    worker = settings.worker
    fake = worker.engine == "fake"
    is_spread = not (fake or worker.device or worker.count == 1 or worker.gpu_layers == 0)
    machine = Machine(
        gpus=tuple(one.name for one in gpus()) if is_spread else (),
        # A fake worker computes nothing, so any number of them is within the budget.
        threads=max(worker.count, 1) if fake else _threads(settings),
        memory_bytes=psutil.virtual_memory().available,
    )
    weights_bytes = copy_bytes = 0
    if not fake and worker.count > 1:
        weights_bytes = Path(chat).stat().st_size
        copy_bytes = memory_bytes(Path(chat), cache_tokens=cache_tokens(settings)) - weights_bytes
    return [
        worker_config(settings, seat, serving)
        for seat in seats(
            machine, count=worker.count, weights_bytes=weights_bytes, copy_bytes=copy_bytes
        )
    ]


def lone_config(settings: Settings, redis_url: str) -> WorkerConfig:
    """A worker that has its machine to itself: all its threads, pinned to no GPU."""
    one = msgspec.structs.replace(settings.worker, count=1)
    return worker_configs(msgspec.structs.replace(settings, worker=one), redis_url)[0]


def _threads(settings: Settings) -> int:
    return settings.worker.threads or physical_cores()


def _chat_bytes(shelf: Shelf, workers: int) -> int:
    """Memory of the chat model's workers: they map the same weights."""
    weights = shelf.listing()[0]
    own_bytes = max(0, shelf.needed_bytes(weights) - weights.size_bytes)
    return weights.size_bytes + workers * own_bytes


def lacking_weights(settings: Settings) -> tuple[str, ...]:
    """Weights of the catalogue that the settings mean and that are not here, chat first. Hashes
    what was not checked before: call it on a thread."""
    if settings.worker.engine == "fake":
        return ()
    store = Store(models_directory(settings))
    meant = (("chat", settings.models.chat), ("embedding", settings.models.embedding))
    entries = [_catalogued(store, kind, named) for kind, named in meant]
    return tuple(one.name for one in entries if one is not None and not store.has(one.name))


def _catalogued(store: Store, kind: str, named: str) -> Entry | None:
    """The catalogue's entry that a setting means; None for a file of its own."""
    if named and Path(named).expanduser().exists():
        return None
    return store.catalogue.by_role(named or kind) or store.catalogue.by_name(named)


def _future_chat(settings: Settings) -> str:
    """Where the chat model's weights are or will be."""
    store = Store(models_directory(settings))
    entry = _catalogued(store, "chat", settings.models.chat)
    if entry is None:
        return _weights(store, settings.models.chat, "chat")
    return str(store.path(entry.name))


def model_paths(settings: Settings) -> tuple[str, str]:
    """Chat and embedding weights; of the fake engine, what it is to pretend."""
    if settings.worker.engine == "fake":
        return settings.models.chat, ""
    store = Store(models_directory(settings))
    return (
        _weights(store, settings.models.chat, "chat"),
        _weights(store, settings.models.embedding, "embedding"),
    )


def _weights(store: Store, named: str, kind: str) -> str:
    path = Path(named).expanduser()
    if named and (path.is_absolute() or path.exists()):
        if not path.is_file():
            raise CannotBoot(f"there is no model at {named}", hint="see `sluice models list`")
        return str(path.absolute())
    try:
        return str(store.find(named) if named else store.starter(kind))
    except NotFound as error:
        raise CannotBoot(error.message, hint=error.hint) from None
