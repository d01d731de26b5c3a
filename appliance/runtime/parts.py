"""The parts of one appliance: built here, each from what it needs, and started by nobody yet.

Importing this module imports the whole product, which takes as long as the store takes to start:
`appliance` does both at once.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial

from appliance import keys
from appliance.access.afterwards import Afterwards
from appliance.access.answering import Answering
from appliance.access.asides import Asides
from appliance.access.cancelling import Cancelling
from appliance.access.earlier import EarlierTurns
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
from appliance.access.setting_up import SetUp, is_set_up
from appliance.access.situation import Situation
from appliance.access.warmth import Warmth
from appliance.api.app import build
from appliance.api.gate import Gate
from appliance.api.services import Knowledge, Services
from appliance.background.deliveries import Deliveries
from appliance.background.reaper import Reaper
from appliance.background.retention import Retention
from appliance.bus import leadership
from appliance.bus.client import AWAY, FULL, Bus, check_layout, connect
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.embeddings import Embedder
from appliance.bus.outage import Outage, takes_writes
from appliance.bus.replies import ReplyReader
from appliance.bus.workers import live_workers
from appliance.errors import CannotBoot
from appliance.fleet.loader import Hooks, Loader
from appliance.fleet.offers import Offers
from appliance.fleet.provision import Provision, Wanted
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.centring import Centred
from appliance.knowledge.entries import Entries
from appliance.knowledge.history import History
from appliance.knowledge.import_jobs import ImportJobs
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
from appliance.runtime.children import Family
from appliance.runtime.reapers import Reapers
from appliance.runtime.report import Report
from appliance.settings import Settings
from appliance.settings.listing import SettingsFile
from appliance.supervisor.tree import Tree
from appliance.vectors.client import Vectors
from appliance.worker.snapshots import erase

log = logging.getLogger(__name__)

NODE = "main"
FULL_RETRY_S = 1.0

Loop = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What the parts stand on.

    `on_silent` gets the name of a worker that reports no more, `on_replaced` that of the chat
    model before another one was chosen. `began_ms` is when this life began.
    """

    settings: Settings
    children: Family
    tree: Tree
    admin_key: str
    logs: LogRing
    situation: Situation
    began_ms: int
    on_silent: Callable[[str], None]
    on_replaced: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the runtime itself talks to, the API's `application`, and the `loops` to run.

    `provision` is there while models are lacking.
    """

    bus: Bus
    embedder: Embedder
    centred: Centred
    entries: Entries
    flow: Flow
    index: Index
    loader: Loader
    provision: Provision | None
    reapers: Reapers
    vectors: Vectors
    application: Gate
    loops: tuple[Loop, ...]

    async def meet_workers(self, lost_after_s: float) -> None:
        """Learns from the workers that have reported which embedding model there is."""
        for worker in await live_workers(self.bus, lost_after_s):
            if worker.embedding_size:
                self.embedder.known(worker)

    async def writable(self) -> None:
        """Returns once the store is not full; until then what is stored can be read."""
        outage = Outage(log, "serving what is stored")
        while True:
            try:
                await takes_writes(self.bus)
                await outage.over(self.bus)
                return
            except FULL as error:
                outage.met(error)
                await asyncio.sleep(FULL_RETRY_S)

    async def open_requests(self) -> int:
        """Requests that have not ended; none while the store cannot be asked."""
        try:
            return await self.bus.zcard(keys.OPEN)
        except AWAY:
            return 0


async def assemble(ground: Ground) -> Parts:
    """Builds every part around a store that is ready. Raises CannotBoot if it does not answer."""
    settings, children = ground.settings, ground.children
    url = children.redis_url
    bus = await _reachable(url)
    await check_layout(bus)
    replies = ReplyReader(bus, url, NODE)
    embedder = Embedder(bus, replies, pool=keys.MAIN, node=NODE)
    limiter = LimiterService(url, settings)
    loader = Loader(
        bus,
        children.shelf,
        ground.tree,
        Hooks(
            child=children.another,
            busy=limiter.busy,
            pool_opened=lambda pool: reapers.watch(pool),
        ),
        settings=settings,
        chat=children.chat,
    )
    dead_letters = DeadLetters(
        bus,
        kept=settings.requests.dead_letters_kept,
        ttl_s=settings.requests.dead_letter_ttl_s,
    )
    vectors = Vectors(children.milvus_uri, settings.external.milvus_token)
    entries = Entries(
        bus,
        settings.faq.entries_bound,
        history_kept=settings.curation.history_kept,
        deleted_kept=settings.curation.deleted_kept,
    )
    centred = Centred(bus, embedder)
    index = Index(entries, vectors, centred)
    calibrator = Calibrator(bus, entries, index, centred)
    retrieval = Retrieval(
        entries,
        index,
        centred,
        settings.faq,
        calibration=lambda: calibrator.current,
        metric=lambda: calibrator.metric,
    )
    people = People(
        Users(bus, settings.people),
        Sessions(bus, sessions_kept=settings.sessions.sessions_kept),
        Turns(bus),
    )
    fragments = Fragments(bus, settings.people)
    profiles = Profiles(bus, people.users, people.turns, fragments, settings)
    earlier = EarlierTurns(bus, people.turns, entries, settings.sessions)
    warmth = Warmth(
        bus,
        profiles,
        earlier,
        settings=settings,
        erase=partial(erase, children.snapshots),
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
    calibrator.on_learned(regressions.again)
    provision = _provision(ground, bus, entries)
    cancelling = Cancelling(
        bus,
        loader,
        sessions=people.sessions,
        turns=people.turns,
        warmth=warmth,
        reply_ttl_s=settings.requests.reply_ttl_s,
    )
    flow = Flow(
        bus,
        replies,
        people,
        retrieval,
        loader,
        answering=answering,
        cancelling=cancelling,
        earlier=earlier,
        forecasts=Forecasts(people.users, people.turns, warmth, lengths, settings),
        gates=Gates(bus, waiters, tiers_of(settings), queue_bound=settings.limiter.queue_bound),
        presence=presence,
        placing=Placing(bus, settings.placement),
        profiles=profiles,
        questions=questions,
        settings=settings,
        provision=provision,
    )
    afterwards = Afterwards(bus, people, inbox, retrieval, Asides(bus, flow), settings)
    flow.on_ended(afterwards.ended)
    retention = Retention(bus, people.sessions, cancelling, settings.sessions.kept_days)
    reapers = Reapers(
        lambda pool: Reaper(
            bus,
            settings,
            dead_letters,
            pool=pool,
            on_silent=ground.on_silent,
            on_missing=flow.take_up,
        )
    )
    for pool in {keys.MAIN, *map(bytes.decode, await bus.smembers(keys.POOLS))}:
        reapers.watch(pool)
    placements = Placements(bus, settings.placement.policy)
    report = Report(
        bus,
        settings,
        ground.tree,
        limiter,
        index,
        calibrator,
        replies,
        loader,
        dead_letters,
        lengths,
        placements,
        provision,
    )
    services = Services(
        settings=settings,
        admin_key=ground.admin_key,
        flow=flow,
        cancelling=cancelling,
        warmth=warmth,
        people=people,
        branches=Branches(bus, people.sessions),
        inbox=inbox,
        profiles=profiles,
        api_keys=api_keys,
        owners=Owners(bus),
        erasure=Erasure(
            bus,
            cancelling,
            people,
            inbox,
            api_keys=api_keys,
            dead_letters=dead_letters,
            more=(misses.forget_person, warmth.forget_person),
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
            rehearsal=Rehearsal(profiles, retrieval, answering),
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
            Offers(children.shelf, settings=settings, chat=children.chat),
            ground.situation,
            provision,
            language=settings.ui.language,
            restart=ground.on_replaced,
        ),
        settings_file=SettingsFile(ground.situation.data, settings),
        logs=ground.logs,
        status=report.status,
        readiness=report.readiness,
    )
    if children.embedded_store:
        with contextlib.suppress(*FULL):  # then earlier workers are found gone by their silence
            await reapers.reap_earlier(ground.began_ms)
            await leadership.vacate(bus)
    return Parts(
        bus=bus,
        embedder=embedder,
        centred=centred,
        entries=entries,
        flow=flow,
        index=index,
        loader=loader,
        provision=provision,
        reapers=reapers,
        vectors=vectors,
        application=await asyncio.to_thread(build, services),
        loops=(
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
            Deliveries(bus, inbox, presence).run,
            afterwards.run,
            *([retention.run] if settings.sessions.kept_days else []),
        ),
    )


def _provision(ground: Ground, bus: Bus, entries: Entries) -> Provision | None:
    """None where no model is lacking."""
    situation, lacking = ground.situation, ground.children.lacking
    if not lacking:
        return None
    # A model that was chosen and does not start gives way to the starter, unless nobody is there.
    fallback = ground.settings.models.chat if situation.unattended else ""

    async def chosen() -> bool:
        chat_is_here = ground.children.shelf.default not in lacking
        named = bool(ground.settings.models.chat)
        return situation.fetches or chat_is_here or named or await is_set_up(bus, entries)

    return Provision(
        situation.downloads,
        Wanted(lacking=situation.lacking, chosen=chosen, unattended=situation.unattended),
        lacking=lacking,
        complete=lambda: ground.on_replaced(fallback),
    )


async def _reachable(url: str) -> Bus:
    """A client of a store that answers. Raises CannotBoot otherwise, without the password."""
    bus = connect(url)
    try:
        with contextlib.suppress(*FULL):
            await bus.ping()
    except Exception as error:
        await bus.aclose()
        raise CannotBoot(
            f"the store does not answer: {type(error).__name__}",
            hint="check external.redis_url in the settings and that the server runs",
        ) from None
    return bus
