"""Which children this appliance has, in start order: store, index, workers."""

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from appliance.errors import CannotBoot, NotFound
from appliance.settings import Settings, models_directory
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.directory import socket_directory
from appliance.supervisor.guard import own_command
from appliance.supervisor.machine import Policy
from appliance.supervisor.milvus import embedded_milvus
from appliance.supervisor.valkey import embedded_valkey
from appliance.worker.config import WorkerConfig
from models.store import Store

POOL = "main"
COMPUTE_ENVIRONMENT = {
    # ggml's threads wait for each other by spinning. Without a bound one busy neighbour on the
    # machine makes an answer several times slower; without any spin a quiet machine loses a third.
    "GOMP_SPINCOUNT": "1000",
}
VALKEY = "valkey"
MILVUS = "milvus"


@dataclass(frozen=True)
class Family:
    """The children, and where store and index answer."""

    specs: tuple[ChildSpec, ...]
    redis_url: str
    milvus_uri: str
    workers: tuple[str, ...]
    embedded_store: bool
    embedded_index: bool


def family(settings: Settings, data: Path) -> Family:
    """Raises CannotBoot for a missing model or binary."""
    sockets = socket_directory(data)
    specs: list[ChildSpec] = []
    redis_url, milvus_uri = settings.external.redis_url, settings.external.milvus_uri
    if not redis_url:
        valkey = embedded_valkey(data / "valkey", sockets)
        specs.append(valkey.child)
        redis_url = valkey.endpoint.url
    if not milvus_uri:
        milvus = embedded_milvus(data / "milvus", sockets)
        specs.append(milvus.child)
        milvus_uri = milvus.uri
    configs = worker_configs(settings, redis_url)
    needs = () if settings.external.redis_url else (VALKEY,)
    specs += [_worker(settings, config, data, needs) for config in configs]
    return Family(
        specs=tuple(specs),
        redis_url=redis_url,
        milvus_uri=milvus_uri,
        workers=tuple(config.name for config in configs),
        embedded_store=not settings.external.redis_url,
        embedded_index=not settings.external.milvus_uri,
    )


def worker_configs(settings: Settings, redis_url: str) -> list[WorkerConfig]:
    """One configuration per worker; together their threads never exceed the cores."""
    chat, embedding = model_paths(settings)
    worker = settings.worker
    threads = worker.threads or physical_cores()
    return [
        WorkerConfig(
            name=f"worker-{number}",
            redis_url=redis_url,
            pool=POOL,
            engine=worker.engine,
            chat_model=chat,
            embedding_model=embedding,
            slots=worker.slots,
            context_tokens=worker.context_tokens,
            cache_tokens=max(worker.cache_tokens, worker.context_tokens),
            step_tokens=max(worker.step_tokens, worker.slots),
            threads=max(1, threads // worker.count),
            gpu_layers=worker.gpu_layers,
            heartbeat_s=worker.heartbeat_s,
            lost_after_s=worker.lost_after_s,
            reply_ttl_s=settings.requests.reply_ttl_s,
            drain_timeout_s=settings.supervision.drain_timeout_s,
            log_level=settings.log.level,
        )
        for number in range(worker.count)
    ]


def model_paths(settings: Settings) -> tuple[str, str]:
    """Chat and embedding weights; empty with the fake engine, which has none."""
    if settings.worker.engine == "fake":
        return "", ""
    store = Store(models_directory(settings))
    return (
        _weights(store, settings.models.chat, "chat"),
        _weights(store, settings.models.embedding, "embedding"),
    )


def physical_cores() -> int:
    """Cores this process may use: hyper-threads only slow matrix products down."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1))


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


def _worker(
    settings: Settings, config: WorkerConfig, data: Path, needs: tuple[str, ...]
) -> ChildSpec:
    return ChildSpec(
        name=config.name,
        command=own_command("worker", "--name", config.name),
        directory=data,
        boot_line=msgspec.json.encode(config).decode(),
        extra_environment=COMPUTE_ENVIRONMENT,
        needs=needs,
        policy=Policy(
            start_timeout_s=settings.supervision.start_timeout_s,
            stop_timeout_s=settings.supervision.drain_timeout_s + 2.0,
        ),
    )
