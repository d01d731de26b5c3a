"""One appliance: every part built, started in order, and stopped in the opposite order.

    lock, settings, logs, socket     before anything runs: what is wrong is told at once, and
                                     who connects from now on waits instead of being refused
    children                         store, index, workers, each once what it needs is ready
    imports                          beside the store's start, see `parts`
    demo FAQ                         stored if asked for; embedded later, like every import
    loops                            reply reader, limiter, reaper, flow, index
    HTTP                             answers as soon as the store does; `/readyz` says the rest
    ready                            when a question can be answered; asked earlier, it waits

Without models there are no workers and this life is never ready: it serves, fetches what is lacking
(`fleet.provision`), and is followed by one that has them.

A stop drains: new requests are refused, running answers get `drain_timeout_s`, then
everything ends in order under one deadline. What was not finished is in the store and goes on
at the next start. A second signal stops at once. `serving` starts it, and starts another after it.
"""

import asyncio
import importlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from appliance import __version__
from appliance.access.situation import Situation
from appliance.clock import now_ms
from appliance.errors import EXIT_OK, CannotBoot, SluiceError
from appliance.log_ring import LogRing
from appliance.runtime.children import MILVUS, VALKEY, Family
from appliance.runtime.http import HttpServer, address
from appliance.runtime.options import Options
from appliance.schema.status import ChildStatus
from appliance.settings import Settings
from appliance.supervisor.tree import Tree

if TYPE_CHECKING:
    from appliance.fleet.provision import Provision
    from appliance.runtime.parts import Parts

log = logging.getLogger("sluice")

EXIT_STOPPED_AT_ONCE = 143
INDEX_START_TIMEOUT_S = 30.0
DRAIN_BEAT_S = 0.1


class Appliance:
    """Owns the parts of one run.

    Afterwards `replaced` is the chat model's name in the settings before another one was chosen,
    None when the run ended for good; `was_ready` tells whether questions could be answered.
    """

    def __init__(
        self,
        settings: Settings,
        options: Options,
        children: Family,
        bound: socket.socket,
        ring: LogRing,
        situation: Situation,
    ) -> None:
        self._settings = settings
        self._options = options
        self._children = children
        self._bound = bound
        self._ring = ring
        self._situation = situation
        self.was_ready = False
        self.replaced: str | None = None
        self._failure: SluiceError | None = None
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._server: HttpServer | None = None
        self._parts: Parts | None = None
        self._began_ms = now_ms()
        self._tree = Tree(children.specs, on_change=self._child_changed)

    async def run(self, key: str, ready: Callable[[str], None]) -> int:
        """The whole life: start, serve, drain, stop. `ready` hears the address."""
        self._listen_to_signals()
        log.info("sluice %s starting, pid %d", __version__, os.getpid())
        living = asyncio.create_task(self._live(key, ready), name="appliance")
        at_once = asyncio.create_task(self._at_once.wait(), name="at-once")
        await asyncio.wait([living, at_once], return_when=asyncio.FIRST_COMPLETED)
        at_once.cancel()
        if not living.done():
            log.warning("stopping at once")
            living.cancel()
            await asyncio.wait([living])
            return EXIT_STOPPED_AT_ONCE
        try:
            await living
        except* SluiceError as group:
            raise _first(group) from None
        log.info("stopped")
        if self._failure is not None:
            raise self._failure
        return EXIT_OK

    # -- start

    async def _live(self, key: str, ready: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            tree = group.create_task(self._tree.run(), name="children")
            loops: list[asyncio.Task[None]] = []
            try:
                await self._or_stop(self._start(group, loops, key, ready))
                await self._stop.wait()
                await self._drain()
                if self.replaced is None:
                    self._bound.close()  # else callers wait for the next life
            finally:
                if self._server is not None:
                    self._server.leave()
                for task in loops:
                    task.cancel()
                if self._parts is not None:
                    await self._parts.vectors.close()
                await self._tree.stop(self._settings.supervision.stop_timeout_s)
                await tree

    async def _or_stop(self, starting: Awaitable[None]) -> None:
        """Starts, unless a stop is asked for first."""
        start = asyncio.ensure_future(starting)
        stop = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([start, stop], return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                await start
        finally:
            stop.cancel()
            if not start.done():
                start.cancel()
                await asyncio.wait([start])

    async def _start(
        self,
        group: asyncio.TaskGroup,
        loops: list[asyncio.Task[None]],
        key: str,
        ready: Callable[[str], None],
    ) -> None:
        # Imports take as long as the store does: on a thread, so that children go on meanwhile.
        reading = group.create_task(
            asyncio.to_thread(importlib.import_module, "appliance.runtime.parts"), name="imports"
        )
        if self._children.embedded_store:
            await self._child_ready(VALKEY)
        await reading
        parts = await self._assembled(key)
        for status in self._tree.statuses():
            parts.reapers.met(status)
        self._parts = parts
        if self._options.demo_faq:
            await self._load_demo(parts)
        parts.index.expect(self._settings.supervision.start_timeout_s)  # who asks by then waits
        loops.extend(group.create_task(loop(), name="loop") for loop in parts.loops)
        self._server = HttpServer(parts.application, self._settings.server)
        # A copy: serving closes what it is given, and another life may need the socket.
        group.create_task(self._server.serve(sockets=[self._bound.dup()]), name="http")
        await self._server.listening.wait()
        where = address(self._bound)
        log.info("serving at %s", where)
        loops.append(group.create_task(parts.vectors.prepare(), name="vectors"))
        if parts.provision is not None:
            log.info("without models: %s are not here", ", ".join(self._children.lacking))
            loops.append(group.create_task(self._provide(parts.provision), name="provision"))
            return
        await self._workers_met(parts)
        loops.append(group.create_task(parts.centred.prepare(), name="centre"))
        await self._index_opened(parts)
        log.info("ready at %s", where)
        self.was_ready = True
        ready(where)

    async def _provide(self, provision: "Provision") -> None:
        """Ends this life in order when nobody is there to mend what keeps models away."""
        try:
            await provision.run()
        except SluiceError as error:
            self._failure = error
            self._stop.set()

    async def _assembled(self, key: str) -> "Parts":
        from appliance.runtime.parts import Ground, assemble

        ground = Ground(
            settings=self._settings,
            children=self._children,
            tree=self._tree,
            admin_key=key,
            logs=self._ring,
            situation=self._situation,
            began_ms=self._began_ms,
            on_silent=self._worker_silent,
            on_replaced=self._replace,
        )
        return await assemble(ground)

    async def _workers_met(self, parts: "Parts") -> None:
        """Returns once a worker answers, which none can while the store is full."""
        await parts.writable()
        for name in self._children.chat.workers:
            await self._child_ready(name)
        await parts.meet_workers(self._settings.worker.lost_after_s)

    async def _index_opened(self, parts: "Parts") -> None:
        """Returns once the index is open, or goes on without it."""
        parts.index.expect(INDEX_START_TIMEOUT_S)
        parts.index.wake()
        if not await parts.index.opened(INDEX_START_TIMEOUT_S):
            log.warning("serving without the FAQ index: %s", parts.index.degraded)

    async def _load_demo(self, parts: "Parts") -> None:
        """Stores it in a FAQ in which nothing was ever written, whole or not at all. Its words
        are found at once; the index embeds what it finds marked, as of every import."""
        from appliance.knowledge.demo import FORM, load_demo
        from appliance.knowledge.imports import import_file

        if await parts.entries.revision() == 0:
            taken = await import_file(parts.entries, load_demo(), FORM)
            log.info("loaded the demo FAQ, %d entries", taken.report.created)

    async def _child_ready(self, name: str) -> None:
        """Raises CannotBoot with the child's own words when it failed or takes too long."""
        status = await self._tree.wait_ready(name, self._settings.supervision.start_timeout_s)
        if status.state != "ready":
            raise CannotBoot(
                f"{name} did not start: {status.detail or status.state}",
                hint="`sluice doctor` checks the parts; the log in the data directory says more",
            )

    # -- while it runs

    def _child_changed(self, status: ChildStatus) -> None:
        parts = self._parts
        if parts is None:
            return  # nobody has been given work yet
        if pool := parts.loader.pool_of(status.name):
            parts.reapers.child_changed(status, pool)
        parts.loader.child_changed(status)
        if status.name == MILVUS and status.state == "ready":
            parts.vectors.found()
            parts.index.wake(compare=True)
        elif status.name == MILVUS:
            parts.vectors.lost()

    def _worker_silent(self, name: str) -> None:
        """Alive but stopped or wedged is dead: it is killed, and comes back like after a crash."""
        settled_s = self._settings.worker.lost_after_s
        for status in self._tree.statuses():
            if status.name == name and status.state == "ready" and status.uptime_s > settled_s:
                log.error("%s runs and does not report: killing it", name)
                self._tree.kill(name)

    # -- stop

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set() and self.replaced is None:
            self._at_once.set()
        self.replaced = None  # whatever was to come after this life
        self._stop.set()

    def _replace(self, before: str) -> None:
        """Another chat model was chosen, or what was lacking is here: the next life has it."""
        log.info("starting anew, with the models that are to be used now")
        self.replaced = before
        self._stop.set()

    async def _drain(self) -> None:
        """Refuses what is new and lets answers end for a while; without models none can."""
        if self._parts is None or self._parts.provision is not None:
            return
        drain_s = self._settings.supervision.drain_timeout_s
        log.info("draining: nothing new is taken, running answers may take %g s more", drain_s)
        self._parts.flow.stop_accepting()
        deadline_s = time.monotonic() + drain_s
        while await self._parts.open_requests() and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_BEAT_S)  # other access nodes may share the store: no event


def _first(group: BaseExceptionGroup[SluiceError]) -> SluiceError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group holds at least one")
