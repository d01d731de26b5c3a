"""What the loader keeps of each model, and how it looks from outside."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from appliance import keys
from appliance.errors import SluiceError, Unavailable
from appliance.fleet.loading import Refuse, State, View
from appliance.fleet.shelf import Shelf, Weights
from appliance.schema.status import ChildStatus, ModelState, ModelStatus


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A request and the model it wants, "" for the chat model."""

    request_id: str
    uid: str
    model: str
    deadline_s: float  # on the monotonic clock


@dataclass(frozen=True, kw_only=True)
class ChatPool:
    """The workers of the chat model, which are always there, but while its weights are not here.
    `threads` are for all workers."""

    workers: tuple[str, ...]
    threads: int
    memory_bytes: int


@dataclass(eq=False)
class Waiter:
    """A request that waits for a model; one that was taken up twice has two."""

    request_id: str
    since_s: float
    uid: str
    gone: bool = False
    refusal: Refuse | None = None


@dataclass(eq=False)
class Model:
    """A model beside the chat model, as the loader knows it.

    `asked_at_s` is when the operator asked for it without a request; `holds` are requests on their
    way to the limiter; `child` is its worker, "" while there is none. `changed` is set and replaced
    at each change.
    """

    name: str
    needed_bytes: int = 0
    state: State = "on_disk"
    percent: int = 0
    failure: str = ""
    failed_at_s: float = 0.0
    asked_at_s: float | None = None
    used_at_s: float = 0.0
    holds: int = 0
    child: str = ""
    waiters: list[Waiter] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pool(self) -> str:
        return keys.pool(self.name)

    @property
    def is_loaded(self) -> bool:
        return self.state == "loaded"

    def tell(self) -> None:
        """Wakes everybody who waits for news of this model."""
        self.changed.set()
        self.changed = asyncio.Event()

    def view(self, *, users: int, now_s: float) -> View:
        """This model for `loading.decide`; having users counts as being used."""
        if users:
            self.used_at_s = now_s
        since = [waiter.since_s for waiter in self.waiters if not waiter.gone]
        if self.asked_at_s is not None:
            since.append(self.asked_at_s)
        return View(
            name=self.name,
            state=self.state,
            needed_bytes=self.needed_bytes,
            users=users,
            wanted_since_s=min(since, default=None),
            used_at_s=self.used_at_s,
        )

    def status(self, weights: Weights, memory_bytes: int) -> ModelStatus:
        """This model for callers."""
        return ModelStatus(
            name=weights.name,
            state=self.state if weights.path else "absent",
            percent=self.percent if self.state == "loading" else 0,
            size_bytes=weights.size_bytes,
            memory_bytes=memory_bytes,
            detail=self.failure if weights.path else weights.missing,
            notes=weights.notes,
        )


def chat_status(found: ModelStatus, workers: Sequence[ChildStatus]) -> ModelStatus:
    """The chat model is what its workers are; while its weights are absent it has none."""
    if not workers:
        return msgspec.structs.replace(found, default=True)
    state: ModelState = "failed"
    if any(one.state == "ready" for one in workers):
        state = "loaded"
    elif any(one.state in ("starting", "backing_off", "stopped") for one in workers):
        state = "loading"
    return msgspec.structs.replace(
        found,
        state=state,
        default=True,
        percent=max((one.percent for one in workers), default=0),
        detail=next((one.detail for one in workers if one.state == "failed"), ""),
    )


def needed_bytes(shelf: Shelf, listing: Sequence[Weights]) -> list[int]:
    """Memory for a worker of each, 0 for what is absent or unsound. Reads files."""
    needed = []
    for weights in listing:
        try:
            needed.append(shelf.needed_bytes(weights) if weights.path else 0)
        except (SluiceError, OSError):
            needed.append(0)
    return needed


def not_loaded(why: str, *, reason: str = "load_failed", retry_after_s: float) -> Unavailable:
    """The error for who asked for a model that cannot be had now."""
    return Unavailable(
        why,
        hint="choose another model, or ask the operator",
        reason=reason,
        retry_after_s=retry_after_s,
    )
