"""One appliance: every part built, started in order, and stopped in the opposite order.

    lock, settings, logs, socket     before anything runs: what is wrong is told at once
    children                         store, index, workers, each once what it needs is ready
    loops                            reply reader, limiter, reaper, flow, index
    HTTP                             answers as soon as the store does; `/readyz` says the rest
    ready                            when a question can be answered

A stop drains: new requests are refused, running answers get `drain_timeout_s`, then
everything ends in order under one deadline. What was not finished is in the store and goes on
at the next start. A second signal stops at once. `serving` starts it, and starts another after it.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from functools import partial

from appliance import __version__, keys
from appliance.access.afterwards import Afterwards
from appliance.access.answering import Answering
from appliance.access.asides import Asides
from appliance.access.erasure import Erasure
from appliance.access.feedback import FeedbackDesk
from appliance.access.flow import Flow, People
from appliance.access.forecast import Forecasts
from appliance.access.fragments import Fragments
from appliance.access.generations import Gates, buckets_of
from appliance.access.owners import Owners
from appliance.access.placing import Placing
from appliance.access.presence import Presence
from appliance.access.profile import Profiles
from appliance.access.quotas import Quotas
from appliance.access.rehearsal import Rehearsal
from appliance.access.setting_up import SetUp, Situation
from appliance.access.warmth import Warmth
from appliance.api.app import build
from appliance.api.services import Knowledge, Services
from appliance.background.deliveries import Deliveries
from appliance.background.reaper import Reaper
from appliance.background.retention import Retention
from appliance.bus import leadership
from appliance.bus.client import AWAY, Bus, check_layout, connect
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.embeddings import Embedder
from appliance.bus.replies import ReplyReader
from appliance.bus.workers import live_workers
from appliance.clock import now_ms
from appliance.errors import EXIT_OK, CannotBoot, SluiceError
from appliance.fleet.loader import Hooks, Loader
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.centring import Centred
from appliance.knowledge.demo import load_demo
from appliance.knowledge.entries import Entries
from appliance.knowledge.history import History
from appliance.knowledge.import_jobs import ImportJobs
from appliance.knowledge.imports import import_file
from appliance.knowledge.index import Index
from appliance.knowledge.misses import Misses
from appliance.knowledge.near import Near
from appliance.knowledge.persons import Persons
from appliance.knowledge.promotion import Promotion
from appliance.knowledge.questions import Questions
from appliance.knowledge.regressions import Regressions
from appliance.knowledge.retrieval import Retrieval
from appliance.knowledge.stats import Stats
from appliance.limiter.rules import tiers_of
from appliance.limiter.service import LimiterService
from appliance.limiter.waiters import Waiters
from appliance.log_ring import LogRing
from appliance.people.api_keys import ApiKeys
from appliance.people.branches import Branches
from appliance.people.inbox import Inbox
from appliance.people.late_answers import LateAnswers
from appliance.people.search import Search
from appliance.people.sessions import Sessions
from appliance.people.turns import Turns
from appliance.people.users import Users
from appliance.placement.choice import Placements
from appliance.placement.service import PlacementService
from appliance.prediction.lengths import Lengths
from appliance.runtime.children import MILVUS, VALKEY, Family
from appliance.runtime.http import HttpServer, address
from appliance.runtime.options import Options
from appliance.runtime.reapers import Reapers
from appliance.runtime.report import Report
from appliance.schema import ChildStatus
from appliance.settings import Settings
from appliance.supervisor.lock import DataLock, Running
from appliance.supervisor.tree import Tree
from appliance.vectors.client import Vectors
from appliance.worker.snapshots import erase

log = logging.getLogger("sluice")

NODE = "main"
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
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._reapers: Reapers | None = None
        self._loader: Loader | None = None
        self._server: HttpServer | None = None
        self._flow: Flow | None = None
        self._bus: Bus | None = None
        self._vectors: Vectors | None = None
        self._index: Index | None = None
        self._began_ms = now_ms()
        self._tree = Tree(children.specs, on_change=self._child_changed)

    async def run(self, lock: DataLock, key: str, on_ready: Callable[[str], None]) -> int:
        """The whole life: start, serve, drain, stop."""
        self._listen_to_signals()
        log.info("sluice %s starting, pid %d", __version__, os.getpid())
        living = asyncio.create_task(self._live(lock, key, on_ready), name="appliance")
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
        return EXIT_OK

    # -- start

    async def _live(self, lock: DataLock, key: str, on_ready: Callable[[str], None]) -> None:
        async with asyncio.TaskGroup() as group:
            tree = group.create_task(self._tree.run(), name="children")
            loops: list[asyncio.Task[None]] = []
            try:
                await self._or_stop(self._start(group, loops, lock, key, on_ready))
                await self._stop.wait()
                await self._drain()
                if self.replaced is None:
                    self._bound.close()  # else callers wait for the next life
            finally:
                if self._server is not None:
                    self._server.should_exit = True
                for task in loops:
                    task.cancel()
                if self._vectors is not None:
                    await self._vectors.close()
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
        lock: DataLock,
        key: str,
        on_ready: Callable[[str], None],
    ) -> None:
        url, settings = self._children.redis_url, self._settings
        if self._children.embedded_store:
            await self._child_ready(VALKEY)
        bus = await _reachable(url)
        await check_layout(bus)
        replies = ReplyReader(bus, url, NODE)
        embedder = Embedder(bus, replies, pool=keys.MAIN, node=NODE)
        limiter = LimiterService(url, settings)
        loader = self._loader = Loader(
            bus,
            self._children.shelf,
            self._tree,
            Hooks(
                child=self._children.another,
                busy=limiter.busy,
                pool_opened=lambda pool: reapers.watch(pool),
            ),
            settings=settings,
            chat=self._children.chat,
        )
        dead_letters = DeadLetters(
            bus,
            kept=settings.requests.dead_letters_kept,
            ttl_s=settings.requests.dead_letter_ttl_s,
        )
        vectors = Vectors(self._children.milvus_uri, settings.external.milvus_token)
        entries = Entries(
            bus,
            settings.faq.entries_bound,
            history_kept=settings.curation.history_kept,
            deleted_kept=settings.curation.deleted_kept,
        )
        centred = Centred(embedder)
        index = Index(entries, vectors, centred)
        calibrator = Calibrator(bus, entries, index, centred)
        retrieval = Retrieval(
            entries, index, centred, settings.faq, calibration=lambda: calibrator.current
        )
        people = People(
            Users(bus, settings.people),
            Sessions(bus, sessions_kept=settings.sessions.sessions_kept),
            Turns(bus),
        )
        fragments = Fragments(bus, settings.people)
        profiles = Profiles(bus, people.users, people.turns, fragments, settings)
        warmth = Warmth(
            bus,
            profiles,
            people.turns,
            settings=settings,
            erase=partial(erase, self._children.snapshots),
        )
        inbox = Inbox(bus, replies, people.users, settings.inbox)
        api_keys = ApiKeys(bus, settings.people.keys_bound)
        presence = Presence(bus, settings.inbox.left_after_s)
        lengths = Lengths(bus)
        waiters = Waiters(bus, url, buckets_of(tiers_of(settings)))
        stats = Stats(bus)
        misses = Misses(
            bus,
            kept=settings.curation.misses_kept,
            askers_kept=settings.curation.askers_kept,
            least=settings.curation.miss_score,
        )
        await misses.load()
        questions = Questions(stats, misses, retrieval)
        late_answers = LateAnswers(
            bus,
            people.sessions,
            turns_kept=settings.sessions.turns_kept,
            reply_ttl_s=settings.requests.reply_ttl_s,
        )
        promotion = Promotion(entries, misses, inbox, late_answers)
        persons = Persons(misses, inbox, settings.faq.persons)
        answering = Answering(bus, retrieval, persons, settings)
        regressions = Regressions(
            bus, entries, index, retrieval, bound=settings.curation.regressions_bound
        )
        flow = Flow(
            bus,
            replies,
            people,
            retrieval,
            loader,
            answering=answering,
            warmth=warmth,
            forecasts=Forecasts(people.users, people.turns, warmth, lengths, settings),
            gates=Gates(bus, waiters, tiers_of(settings)),
            presence=presence,
            placing=Placing(bus, settings.placement),
            profiles=profiles,
            questions=questions,
            settings=settings,
        )
        afterwards = Afterwards(bus, people, inbox, retrieval, Asides(bus, flow), settings)
        flow.on_ended(afterwards.ended)
        retention = Retention(bus, people.sessions, flow, settings.sessions.kept_days)
        reapers = self._reapers = Reapers(
            lambda pool: Reaper(
                bus,
                settings,
                dead_letters,
                pool=pool,
                on_silent=self._worker_silent,
                on_missing=flow.take_up,
            )
        )
        for pool in {keys.MAIN, *map(bytes.decode, await bus.smembers(keys.POOLS))}:
            reapers.watch(pool)
        placements = Placements(bus, settings.placement.policy)
        report = Report(
            bus,
            settings,
            self._tree,
            limiter,
            index,
            calibrator,
            replies,
            loader,
            dead_letters,
            lengths,
            placements,
        )
        services = Services(
            settings=settings,
            admin_key=key,
            flow=flow,
            warmth=warmth,
            people=people,
            branches=Branches(bus, people.sessions),
            inbox=inbox,
            profiles=profiles,
            api_keys=api_keys,
            owners=Owners(bus),
            erasure=Erasure(
                bus,
                flow,
                people,
                inbox,
                api_keys=api_keys,
                dead_letters=dead_letters,
                more=(misses.forget_person,),
                asked_in_vain=misses.asked_by,
            ),
            afterwards=afterwards,
            search=Search(people.sessions, people.turns, settings.sessions.search_turns),
            fragments=fragments,
            presence=presence,
            knowledge=Knowledge(
                entries=entries,
                history=History(bus, entries),
                imports=ImportJobs(bus, index, kept=settings.curation.imports_kept),
                index=index,
                retrieval=retrieval,
                rehearsal=Rehearsal(profiles, retrieval, answering, settings),
                near=Near(
                    retrieval,
                    least=settings.curation.near_score,
                    lines_bound=settings.curation.near_lines,
                ),
                stats=stats,
                misses=misses,
                promotion=promotion,
                regressions=regressions,
            ),
            feedback=FeedbackDesk(bus, people, stats, questions),
            embedder=embedder,
            loader=loader,
            dead_letters=dead_letters,
            quotas=Quotas(bus, people.users, settings),
            placements=placements,
            setup=SetUp(
                bus,
                entries,
                self._children.shelf,
                self._situation,
                settings=settings,
                chat=self._children.chat,
                restart=self._replace,
            ),
            logs=self._ring,
            status=report.status,
            readiness=report.readiness,
        )
        if settings.sessions.kept_days:
            loops.append(group.create_task(retention.run(), name="retention"))
        if self._children.embedded_store:
            await reapers.reap_earlier(self._began_ms)
            await leadership.vacate(bus)
        loops.extend(
            group.create_task(loop(), name=loop.__qualname__)
            for loop in (
                replies.run,
                limiter.run,
                PlacementService(url, settings).run,
                reapers.run,
                loader.run,
                flow.run,
                index.run,
                calibrator.run,
                questions.run,
                promotion.run,
                regressions.run,
                lengths.run,
                waiters.run,
                Deliveries(inbox, presence).run,
                afterwards.run,
            )
        )
        self._bus, self._flow, self._vectors, self._index = bus, flow, vectors, index
        self._server = HttpServer(build(services), settings.server)
        # A copy: serving closes what it is given, and another life may need the socket.
        group.create_task(self._server.serve(sockets=[self._bound.dup()]), name="http")
        where = address(self._bound)
        lock.announce(Running(pid=os.getpid(), url=where, started_at_ms=now_ms()))
        await self._questions_answered(bus, embedder, index)
        if self._options.demo_faq and await entries.count() == 0:
            await self._load_demo(entries, index)
        log.info("ready at %s", where)
        self.was_ready = True
        on_ready(where)

    async def _questions_answered(self, bus: Bus, embedder: Embedder, index: Index) -> None:
        """Returns once a worker answers and the index is open, or goes on without the index."""
        for name in self._children.chat.workers:
            await self._child_ready(name)
        for worker in await live_workers(bus, self._settings.worker.lost_after_s):
            if worker.embedding_size:
                embedder.known(worker)
        index.wake()
        if not await index.opened(INDEX_START_TIMEOUT_S):
            log.warning("serving without the FAQ index: %s", index.degraded)

    async def _load_demo(self, entries: Entries, index: Index) -> None:
        taken = await import_file(entries, load_demo(), "jsonl")
        await index.settled([entry.id for entry in taken.writes], INDEX_START_TIMEOUT_S)
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
        level = logging.ERROR if status.state == "failed" else logging.INFO
        log.log(level, "%s is %s %s", status.name, status.state, status.detail)
        pool = self._loader.pool_of(status.name) if self._loader is not None else ""
        if pool and self._reapers is not None:
            self._reapers.child_changed(status, pool)
        if self._loader is not None:
            self._loader.child_changed(status)
        if status.name == MILVUS and status.state == "ready" and self._index is not None:
            self._index.wake(compare=True)

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
        """Another chat model was chosen: this life ends in order and the next one has it."""
        log.info("another chat model was chosen: starting anew")
        self.replaced = before
        self._stop.set()

    async def _drain(self) -> None:
        """Refuses what is new and lets answers end for a while."""
        if self._flow is None or self._bus is None:
            return
        log.info("draining")
        self._flow.stop_accepting()
        deadline_s = time.monotonic() + self._settings.supervision.drain_timeout_s
        while await _open_requests(self._bus) and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(DRAIN_BEAT_S)  # other access nodes may share the store: no event


async def _open_requests(bus: Bus) -> int:
    try:
        return await bus.zcard(keys.OPEN)
    except AWAY:
        return 0


async def _reachable(url: str) -> Bus:
    """A client of a store that answers. Raises CannotBoot otherwise, without the password."""
    bus = connect(url)
    try:
        await bus.ping()
    except Exception as error:
        await bus.aclose()
        raise CannotBoot(
            f"the store does not answer: {type(error).__name__}",
            hint="check external.redis_url in the settings and that the server runs",
        ) from None
    return bus


def _first(group: BaseExceptionGroup[SluiceError]) -> SluiceError:
    for error in group.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    raise AssertionError("an exception group holds at least one")
