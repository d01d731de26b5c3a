"""Workers as children: what each is told at its start, and how it is run."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from appliance.fleet.plan import Seat
from appliance.schema.sampling import Adapter
from appliance.settings import Settings
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.guard import own_command
from appliance.supervisor.machine import Policy
from appliance.worker.config import WorkerConfig

STOP_SPARE_S = 8.0  # a worker that drains is given its time, then this to save its cache


def physical_cores() -> int:
    """Cores this process may use: hyper-threads only slow matrix products down."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1))


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a worker serves: `chat` and `embedding` are weights' paths, `name` is for callers."""

    redis_url: str
    pool: str
    name: str
    chat: str
    embedding: str = ""
    adapters: tuple[Adapter, ...] = ()


def worker_config(settings: Settings, seat: Seat, serving: Serving) -> WorkerConfig:
    """What a worker is told."""
    worker = settings.worker
    return WorkerConfig(
        name=f"worker-{seat.number}",
        redis_url=serving.redis_url,
        pool=serving.pool,
        engine=worker.engine,
        model_name=serving.name,
        chat_model=serving.chat,
        embedding_model=serving.embedding if seat.embeds else "",
        adapters=serving.adapters,
        slots=worker.slots,
        warm_sequences=worker.warm_sequences,
        warm_tokens=worker.warm_tokens,
        gap_ms=worker.gap_ms,
        kept_pace=worker.kept_pace,
        draft_tokens=worker.draft_tokens,
        context_tokens=worker.context_tokens,
        cache_tokens=cache_tokens(settings),
        step_tokens=max(worker.step_tokens, worker.slots),
        threads=seat.threads,
        gpu_layers=worker.gpu_layers,
        device=worker.device or seat.device,
        heartbeat_s=worker.heartbeat_s,
        lost_after_s=worker.lost_after_s,
        lease_s=worker.lease_s,
        wedged_after_s=worker.wedged_after_s,
        probe_idle_s=worker.probe_idle_s,
        attempts=settings.requests.attempts,
        reply_ttl_s=settings.requests.reply_ttl_s,
        drain_timeout_s=settings.supervision.drain_timeout_s,
        log_level=settings.log.level,
        snapshot_bytes=worker.snapshot_bytes,
        conversation_bytes=worker.conversation_bytes,
    )


def cache_tokens(settings: Settings) -> int:
    """KV cache of one worker, in tokens: one request must fit."""
    return max(settings.worker.cache_tokens, settings.worker.context_tokens)


def snapshot_directory(data: Path) -> Path:
    """Where the workers of a data directory keep what left their caches."""
    return data / "snapshots"


def abort_directory(data: Path) -> Path:
    """Where workers that were aborted leave their marks."""
    return data / "aborts"


def abort_file(data: Path, config: WorkerConfig) -> Path:
    """The mark of this worker with this model: numbers are given again to workers of others."""
    pool = hashlib.sha256(config.pool.encode()).hexdigest()[:8]
    return abort_directory(data) / f"{config.name}-{pool}"


def worker_child(
    settings: Settings, config: WorkerConfig, data: Path, needs: tuple[str, ...]
) -> ChildSpec:
    """How the supervisor runs this worker; its configuration goes to its standard input."""
    config = msgspec.structs.replace(
        config,
        abort_file=str(abort_file(data, config)),
        snapshot_directory=str(snapshot_directory(data)),
    )
    return ChildSpec(
        name=config.name,
        command=own_command("worker", "--name", config.name),
        directory=data,
        boot_line=msgspec.json.encode(config).decode(),
        needs=needs,
        policy=Policy(
            start_timeout_s=settings.supervision.start_timeout_s,
            stop_timeout_s=settings.supervision.drain_timeout_s + STOP_SPARE_S,
            restarts=settings.supervision.restarts,
            window_s=settings.supervision.restart_window_s,
        ),
    )
