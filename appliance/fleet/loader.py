"""The loader: models beside the chat model come and go as they are asked for.

One loop owns what is loaded. It hears wishes (`held`, `load`, `unload`) and what becomes of the
workers (`child_changed`), asks `loading.decide` what to do, and does it: a model is one more
child of the supervisor with a pool of its own. Requests that wait for a model stand here and not
in the limiter's queue, so they are in nobody's way; while they stand they hear how far it is.

A load that fails is not repeated: who waits is told why, and so is who asks within
`models.retry_after_s`. What a model that died for good leaves in its work stream is ended.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import psutil

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import AWAY, Bus
from appliance.bus.notices import Notice, notify
from appliance.errors import Conflict, Overloaded, SluiceError, WaitedOut
from appliance.fleet.loading import (
    Action,
    Drain,
    Load,
    Refuse,
    Room,
    Unload,
    View,
    decide,
    next_due_s,
)
from appliance.fleet.plan import shares
from appliance.fleet.record import (
    ChatPool,
    Model,
    Waiter,
    Wish,
    chat_status,
    needed_bytes,
    not_loaded,
)
from appliance.fleet.shelf import Shelf, Weights
from appliance.schema.events import Failed
from appliance.schema.status import ChildStatus, ModelStatus
from appliance.settings import Settings
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.tree import Tree

log = logging.getLogger(__name__)

BEAT_S = 0.5  # ends of answers are told to the limiter, not here: while it matters, look
AWAY_RETRY_S = 1.0
STRANDED_BATCH = 100
FAILURE_CHARS = 600

Told = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """How the loader reaches the other parts."""

    child: Callable[[Weights, int, int], ChildSpec]  # weights, number, threads
    busy: Callable[[str], int]  # requests in this pool
    pool_opened: Callable[[str], None]


class Loader:
    """Owns the models beside the chat model. `run` is its task."""

    def __init__(
        self,
        bus: Bus,
        shelf: Shelf,
        tree: Tree,
        hooks: Hooks,
        *,
        settings: Settings,
        chat: ChatPool,
    ) -> None:
        self._bus = bus
        self._shelf = shelf
        self._tree = tree
        self._hooks = hooks
        self._settings = settings
        self._chat = chat
        self._retry_s = settings.models.retry_after_s
        self._models: dict[str, Model] = {}
        self._wake = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None

    # -- what others ask

    async def resolve(self, asked: str) -> str:
        """The model a name means, "" for the chat model. Raises NotFound."""
        return await asyncio.to_thread(self._shelf.resolve, asked)

    @property
    def default(self) -> str:
        """The name of the chat model."""
        return self._shelf.default

    @contextlib.asynccontextmanager
    async def held(self, wish: Wish, told: Told) -> AsyncIterator[bool]:
        """Keeps a model loaded while inside; True once it is, False when `forget` came first.

        `told` hears the percentage while it loads. Raises NotFound, Overloaded when too many
        wait, WaitedOut at the deadline, and Unavailable when it cannot be loaded.
        """
        if not wish.model:
            yield True
            return
        one = await self._known(wish.model)
        if not await self._entered(one, wish, told):
            yield False
            return
        one.holds += 1
        self._wake.set()
        try:
            yield True
        finally:
            one.holds -= 1
            one.used_at_s = time.monotonic()
            self._wake.set()

    def forget(self, request_id: str) -> None:
        """This request does not wait any more: it was cancelled."""
        for one in self._models.values():
            for waiter in one.waiters:
                waiter.gone = waiter.gone or waiter.request_id == request_id
            one.tell()

    async def load(self, name: str) -> ModelStatus:
        """Loads a model without a request. Raises NotFound, and Unavailable for unsound weights."""
        resolved = await self.resolve(name)
        if resolved:
            one = await self._known(resolved, again=True)
            if one.state == "on_disk":
                one.asked_at_s = time.monotonic()
                self._wake.set()
        return await self.status(resolved or self._shelf.default)

    async def unload(self, name: str) -> ModelStatus:
        """Unloads a model nobody uses. Raises NotFound, and Conflict for any other."""
        resolved = await self.resolve(name)
        if not resolved:
            raise Conflict(
                "the chat model stays loaded",
                hint="set models.chat to change it",
                reason="chat_model_stays",
            )
        one = self._models.get(resolved)
        if one is None or one.state != "loaded":
            raise Conflict(
                f"{resolved} is not loaded",
                hint="see GET /api/models",
                reason="model_not_loaded",
                facts={"name": resolved},
            )
        users = self._users(one)
        if users or one.waiters:
            raise Conflict(
                f"{users} requests use {resolved}",
                hint="wait for them or cancel them",
                reason="model_in_use",
                facts={"name": resolved, "count": users},
            )
        self._unload(one)
        return await self.status(resolved)

    async def status(self, name: str) -> ModelStatus:
        return next(one for one in await self.statuses() if one.name == name)

    async def statuses(self) -> tuple[ModelStatus, ...]:
        """Every model one may ask for, the chat model first."""
        listing = await asyncio.to_thread(self._shelf.listing)
        needed = await asyncio.to_thread(needed_bytes, self._shelf, listing)
        rows = zip(listing, needed, strict=True)
        found = [
            self._models.get(weights.name, Model(weights.name)).status(weights, memory)
            for weights, memory in rows
        ]
        workers = [one for one in self._tree.statuses() if one.name in self._chat.workers]
        return (chat_status(found[0], workers), *found[1:])

    # -- what becomes of workers

    def child_changed(self, status: ChildStatus) -> None:
        """Hears of every change of every child; those that are not ours change nothing."""
        one = next((one for one in self._models.values() if one.child == status.name), None)
        if one is None:
            return
        if one.state == "loading" and status.state == "starting":
            if status.percent > one.percent:
                one.percent = status.percent
                one.tell()
        elif one.state == "loading" and status.state == "ready":
            one.state, one.used_at_s, one.asked_at_s = "loaded", time.monotonic(), None
            one.tell()
        elif status.state == "failed" or (one.state == "loading" and status.state == "backing_off"):
            self._failed(one, status.detail)
        self._wake.set()

    def pool_of(self, child: str) -> str:
        """The pool a worker belongs to; "" for a child that is no worker."""
        if child in self._chat.workers:
            return keys.MAIN
        return next((one.pool for one in self._models.values() if one.child == child), "")

    async def run(self) -> None:
        """Decides and acts until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            is_shared = not self._chat.workers
            while True:
                self._wake.clear()
                try:
                    if not is_shared:  # an earlier life may have left other shares
                        await self._share_threads(list(self._chat.workers))
                        is_shared = True
                    for action in decide(self._views(), self._room(), now_s=time.monotonic()):
                        await self._perform(action)
                    pause_s = self._pause_s(await self._end_stranded())
                except AWAY as error:
                    log.debug("loader: store away (%s)", error)
                    pause_s = AWAY_RETRY_S
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()

    # Below: helpers in call order.

    async def _known(self, name: str, *, again: bool = False) -> Model:
        """The model's record, fit to be waited for. Raises Unavailable while it is not."""
        weights = await asyncio.to_thread(self._shelf.find, name)
        try:
            memory_bytes = await asyncio.to_thread(self._shelf.needed_bytes, weights)
        except SluiceError as error:
            raise not_loaded(error.message, retry_after_s=self._retry_s) from error
        one = self._models.setdefault(name, Model(name))
        one.needed_bytes = memory_bytes
        if one.state == "failed":
            over = time.monotonic() - one.failed_at_s >= self._retry_s
            if one.child or not (over or again):
                raise not_loaded(one.failure, retry_after_s=self._retry_s)
            one.state, one.failure = "on_disk", ""
        return one

    async def _entered(self, one: Model, wish: Wish, told: Told) -> bool:
        if one.is_loaded:
            return True
        self._require_place(wish.uid)
        waiter = Waiter(wish.request_id, time.monotonic(), wish.uid)
        one.waiters.append(waiter)
        self._wake.set()
        try:
            async with asyncio.timeout(max(0.0, wish.deadline_s - time.monotonic())):
                while not one.is_loaded:
                    if waiter.gone:
                        return False
                    if waiter.refusal is not None:
                        raise not_loaded(
                            waiter.refusal.message,
                            reason=waiter.refusal.reason,
                            retry_after_s=self._retry_s,
                        )
                    if one.state == "failed":
                        raise not_loaded(one.failure, retry_after_s=self._retry_s)
                    changed = one.changed
                    await told(one.percent)
                    await changed.wait()
        except TimeoutError:
            raise WaitedOut(
                f"{one.name} was not loaded before the deadline", reason="waited_out"
            ) from None
        finally:
            one.waiters.remove(waiter)
        return not waiter.gone

    def _require_place(self, uid: str) -> None:
        limits = self._settings.limiter
        waiting = [waiter.uid for one in self._models.values() for waiter in one.waiters]
        if len(waiting) >= limits.queue_bound:
            raise Overloaded("too many requests wait for models", reason="queue_full")
        if waiting.count(uid) >= limits.queue_bound_per_user:
            raise Overloaded("you have too many requests waiting", reason="user_queue_full")

    def _users(self, one: Model) -> int:
        return one.holds + self._hooks.busy(one.pool)

    def _views(self) -> list[View]:
        now_s = time.monotonic()
        return [one.view(users=self._users(one), now_s=now_s) for one in self._models.values()]

    def _room(self) -> Room:
        models = self._settings.models
        memory = psutil.virtual_memory()
        bound_bytes = models.memory_bound_mb * 1_000_000 or memory.total
        fake = self._settings.worker.engine == "fake"
        threads_left = self._chat.threads - len(self._chat.workers)
        return Room(
            bound=models.loaded_bound - 1 if fake else min(models.loaded_bound - 1, threads_left),
            ceiling_bytes=max(0, bound_bytes - self._chat.memory_bytes),
            free_bytes=bound_bytes if fake else memory.available,
            idle_unload_s=models.idle_unload_s,
        )

    async def _perform(self, action: Action) -> None:
        one = self._models[action.name]
        match action:
            case Load():
                await self._load(one)
            case Drain():
                log.info("draining the model %s to make room", one.name)
                one.state = "draining"
            case Unload():
                self._unload(one)
            case Refuse(message=message):
                log.warning("not loaded: %s", message)
                one.asked_at_s, one.failure = None, message
                for waiter in one.waiters:
                    waiter.refusal = action
                one.tell()

    async def _load(self, one: Model) -> None:
        try:
            weights = await asyncio.to_thread(self._shelf.find, one.name)
        except SluiceError as error:
            self._failed(one, error.message)
            return
        self._hooks.pool_opened(one.pool)
        await self._bus.sadd(keys.POOLS, one.pool)
        used = {other.child for other in self._models.values()} | set(self._chat.workers)
        number = next(n for n in range(len(used) + 1) if f"worker-{n}" not in used)
        threads = await self._share_threads([*used - {""}, f"worker-{number}"])
        spec = self._hooks.child(weights, number, threads)
        one.child, one.state, one.percent, one.failure = spec.name, "loading", 0, ""
        log.info("loading the model %s on %s", one.name, spec.name)
        self._tree.add(spec)

    async def _share_threads(self, workers: list[str]) -> int:
        """Splits the budget anew; returns the share of the last one."""
        split = shares(self._chat.threads, len(workers))
        await self._bus.delete(keys.THREADS)
        await self._bus.hset(keys.THREADS, mapping=dict(zip(workers, split, strict=True)))
        return split[-1]

    def _unload(self, one: Model) -> None:
        log.info("unloading the model %s", one.name)
        one.state = "unloading"
        self._remove(one)

    def _failed(self, one: Model, why: str) -> None:
        log.error("the model %s failed: %s", one.name, why)
        one.state, one.failure = "failed", why[:FAILURE_CHARS] or "it stopped"
        one.failed_at_s, one.asked_at_s = time.monotonic(), None
        one.tell()
        if one.child:
            self._remove(one)

    def _remove(self, one: Model) -> None:
        assert self._group is not None, "models come and go while the loop runs"
        self._group.create_task(self._removed(one), name=f"unload {one.name}")

    async def _removed(self, one: Model) -> None:
        timeout_s = self._settings.supervision.stop_timeout_s
        with contextlib.suppress(SluiceError):  # the whole appliance is stopping
            await self._tree.remove(one.child, timeout_s)
        one.child = ""
        if one.state == "unloading":
            one.state = "on_disk"
        with contextlib.suppress(*AWAY):
            used = {other.child for other in self._models.values()} | set(self._chat.workers)
            if left := sorted(used - {""}):
                await self._share_threads(left)
        one.tell()
        self._wake.set()

    async def _end_stranded(self) -> bool:
        """Ends what stands in the work streams of failed models; True while there is some."""
        left = False
        for one in self._models.values():
            if one.state != "failed" or not self._hooks.busy(one.pool):
                continue
            left = True
            stream = keys.work(one.pool)
            for entry_id, fields in await self._bus.xrange(stream, "-", "+", STRANDED_BATCH):
                request_id = fields[b"request_id"].decode()
                event = Failed(code="unavailable", reason="load_failed", message=one.failure)
                ttl_s = self._settings.requests.reply_ttl_s
                if await scripts.end(self._bus, request_id, event, ttl_s=ttl_s):
                    await notify(self._bus, Notice(kind="ended", request_id=request_id))
                    await self._bus.xdel(stream, entry_id)
        return left

    def _pause_s(self, stranded: bool) -> float | None:
        views = self._views()
        waits_for_ends = stranded or any(view.state == "draining" for view in views)
        due_s = next_due_s(views, self._room()) - time.monotonic()
        if waits_for_ends:
            return min(BEAT_S, max(0.0, due_s))
        return None if due_s == float("inf") else max(BEAT_S, due_s)
