"""What a worker is told at its start, on standard input so that no secret stands in `ps`."""

from typing import Literal

import msgspec

from appliance.schema.sampling import Adapter


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes are those of `settings.Worker`; `name` is the first part of the worker's id.

    `model_name` is what its model is called over the API; `device` is the one GPU to use, "" for
    whatever is there.
    """

    name: str
    redis_url: str
    pool: str
    engine: Literal["llama", "fake"]
    model_name: str
    chat_model: str
    embedding_model: str
    adapters: tuple[Adapter, ...] = ()
    slots: int
    warm_sequences: int
    warm_tokens: int
    gap_ms: int
    kept_pace: float
    draft_tokens: int
    context_tokens: int
    cache_tokens: int
    step_tokens: int
    threads: int
    gpu_layers: int
    device: str = ""
    heartbeat_s: float
    lost_after_s: float
    lease_s: float
    wedged_after_s: float
    probe_idle_s: float
    attempts: int
    reply_ttl_s: int
    drain_timeout_s: float
    log_level: str
    abort_file: str = ""  # where an aborted life of this worker leaves its mark
    snapshot_directory: str = ""
    snapshot_bytes: int = 0  # none are kept
    conversation_bytes: int = 0

    @property
    def lease_ms(self) -> int:
        return round(1000 * self.lease_s)
