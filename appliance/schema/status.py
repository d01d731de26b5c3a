"""The records of `/api/status` and of what stands behind it."""

from typing import Literal

from appliance.schema.faq import Calibration
from appliance.schema.fields import Record
from appliance.schema.requests import Priority


class ChildStatus(Record, frozen=True, kw_only=True):
    """A supervised process. `state`: stopped, starting, ready, backing_off, failed, stopping.

    `percent` is how far a starting one says it is, 0 when it does not.
    """

    name: str
    state: str
    pid: int | None
    restarts: int
    uptime_s: float
    detail: str
    rss_bytes: int
    percent: int = 0


ModelState = Literal["absent", "on_disk", "loading", "loaded", "draining", "unloading", "failed"]


class ModelStatus(Record, frozen=True, kw_only=True):
    """A model that may be asked for by `name`.

    `percent` counts while it is loading. `memory_bytes` is weights, KV cache and working memory
    of one worker; 0 while the weights are absent or unsound. `detail` says why it failed; `notes`,
    by language, what it is good for.
    """

    name: str
    state: ModelState
    default: bool = False
    percent: int = 0
    size_bytes: int = 0
    memory_bytes: int = 0
    detail: str = ""
    notes: dict[str, str] = {}


class DeviceStatus(Record, frozen=True, kw_only=True):
    """Something that computes, and how many layers of the chat model it holds.

    `kind`: cpu, gpu, integrated. Memory is as it was before the models were loaded.
    """

    name: str
    description: str
    kind: str
    backend: str
    free_bytes: int
    total_bytes: int
    layers: int = 0


class Alarm(Record, frozen=True, kw_only=True):
    """Something works worse than it was meant to, and nobody would notice. `facts` are what the
    message names."""

    code: str
    message: str
    hint: str
    facts: dict[str, str] = {}


class WorkerStatus(Record, frozen=True, kw_only=True):
    """What a worker says of itself, refreshed every heartbeat in `worker:{id}`.

    `state` is ready, or draining when it takes nothing new.

    `python_share` is the part of the engine's busy time outside the model's library. `used_cells`
    of the cache are occupied, partly by `idle_sequences` that have ended. Of `drafted` tokens
    `confirmed` were right.
    """

    id: str
    engine: str
    model: str
    embedding_model: str
    device: str
    slots: int
    busy: int
    context_tokens: int
    tokens_per_s: float
    embedding_size: int
    pid: int
    pool: str = "main"
    state: str = "ready"
    threads: int = 0
    warm: tuple[str, ...] = ()
    """Sessions in the worker's cache, the last used first."""
    adapters: str = ""
    """LoRA adapters in force: file name x scale, comma-separated."""
    devices: tuple[DeviceStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    python_share: float = 0.0
    cache_tokens: int = 0
    used_cells: int = 0
    idle_sequences: int = 0
    drafted: int = 0
    confirmed: int = 0


class QueueUser(Record, frozen=True, kw_only=True):
    uid: str
    waiting: int
    running: int


class RuleStatus(Record, frozen=True, kw_only=True):
    """The operator's own rule of admission.

    `state`: in_force, failing (the built-in rule decides until it works again), or set_aside (it
    failed too often in a row and is tried again later). `error` is what went wrong last.
    """

    file: str
    state: Literal["in_force", "failing", "set_aside"]
    decided: int
    failures: int
    error: str = ""


class QueueStatus(Record, frozen=True, kw_only=True):
    """Who waits and who runs. `users` are those with most requests, at most 20; `classes` counts
    who waits by class; `pools` counts waiting and running requests by pool of workers.

    Of `promises` (first waits told to people) `promises_kept` were true within 30 % or 2 s.
    """

    waiting: int
    running: int
    capacity: int
    bound: int
    users: tuple[QueueUser, ...] = ()
    classes: dict[str, int] = {}
    pools: dict[str, int] = {}
    promises: int = 0
    promises_kept: int = 0
    rule: RuleStatus | None = None


class PlacedWorker(Record, frozen=True, kw_only=True):
    """What the placement loop believes of a worker: `bound` requests wait in its own stream,
    `backlog_s` of prompts lie before it, and it takes `pace` times as long as one would expect."""

    id: str
    bound: int
    running: int
    slots: int
    backlog_s: float
    pace: float
    takes_new: bool


class PlacementStatus(Record, frozen=True, kw_only=True):
    """Which worker gets a request, as the loop last told; `active` is false while none leads, and
    idle workers then take the oldest by themselves.

    `pools` are those with more than one worker. Of `prompt_tokens` so far `matched_tokens` lay in
    the cache of the worker they were placed on, as far as the loop knew.
    """

    policy: str
    active: bool = True
    pools: tuple[str, ...] = ()
    workers: tuple[PlacedWorker, ...] = ()
    placed: int = 0
    shared: int = 0
    given_back: int = 0
    prompt_tokens: int = 0
    matched_tokens: int = 0


class LengthStatus(Record, frozen=True, kw_only=True):
    """How right predictions of answers' lengths were lately: mean error of the logarithm,
    Kendall's tau, and the share of answers within their 80 % quantile."""

    answers: int = 0
    error: float = 0.0
    tau: float = 0.0
    covered: float = 0.0


class Limit(Record, frozen=True, kw_only=True):
    """One limit of a user. `reserved` is what open requests may use, `used` what ended ones did;
    in `reset_s` seconds nothing of it is used any more, if nothing is added."""

    name: str
    limit: int
    used: int
    reserved: int
    left: int
    reset_s: float


class Quota(Record, frozen=True, kw_only=True):
    """What a user may still use, and why. `concurrency` 0 is no limit; `limits` has those there
    are."""

    uid: str
    tier: str
    priority: Priority
    weight: float
    concurrency: int
    limits: tuple[Limit, ...]


class DeadLetter(Record, frozen=True, kw_only=True):
    """A request that was given up because workers died of it.

    `words` are the last ones of the worker that died, empty when nobody heard them.
    """

    id: str
    uid: str
    session_id: str
    failed_at_ms: int
    attempts: int
    deaths: int
    reason: str
    words: str


class FaqStatus(Record, frozen=True, kw_only=True):
    """`detail` says why the index is not up to date, and `reason` does so for programs."""

    entries: int
    phrasings: int
    indexed: bool
    detail: str
    reason: str = ""
    calibration: Calibration | None = None


class Status(Record, frozen=True, kw_only=True):
    version: str
    uptime_s: float
    ready: bool
    children: tuple[ChildStatus, ...]
    workers: tuple[WorkerStatus, ...]
    queue: QueueStatus
    faq: FaqStatus
    sessions_following: int
    lengths: LengthStatus = LengthStatus()
    placement: PlacementStatus | None = None
    dead_letters: int = 0
    models: tuple[ModelStatus, ...] = ()
    alarms: tuple[Alarm, ...] = ()
