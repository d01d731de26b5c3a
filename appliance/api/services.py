"""What the routes need, built by the runtime and handed over as one value."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from appliance.access.afterwards import Afterwards
from appliance.access.cancelling import Cancelling
from appliance.access.erasure import Erasure
from appliance.access.feedback import FeedbackDesk
from appliance.access.flow import Flow, People
from appliance.access.fragments import Fragments
from appliance.access.owners import Owners
from appliance.access.presence import Presence
from appliance.access.profile import Profiles
from appliance.access.quotas import Quotas
from appliance.access.rehearsal import Rehearsal
from appliance.access.setting_up import SetUp
from appliance.access.warmth import Warmth
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.embeddings import Embedder
from appliance.fleet.loader import Loader
from appliance.knowledge.entries import Entries
from appliance.knowledge.history import History
from appliance.knowledge.import_jobs import ImportJobs
from appliance.knowledge.index import Index
from appliance.knowledge.misses import Misses
from appliance.knowledge.near import Near
from appliance.knowledge.promotion import Promotion
from appliance.knowledge.regressions import Regressions
from appliance.knowledge.retrieval import Retrieval
from appliance.knowledge.stats import Stats
from appliance.log_ring import LogRing
from appliance.people.api_keys import ApiKeys
from appliance.people.branches import Branches
from appliance.people.inbox import Inbox
from appliance.people.search import Search
from appliance.placement.choice import Placements
from appliance.schema.status import Status
from appliance.settings import Settings
from appliance.settings.listing import SettingsFile


@dataclass(frozen=True)
class Knowledge:
    entries: Entries
    history: History
    imports: ImportJobs
    index: Index
    retrieval: Retrieval
    rehearsal: Rehearsal
    near: Near
    stats: Stats
    misses: Misses
    promotion: Promotion
    regressions: Regressions


@dataclass(frozen=True)
class Services:
    settings: Settings
    admin_key: str
    flow: Flow
    cancelling: Cancelling
    feedback: FeedbackDesk
    warmth: Warmth
    people: People
    branches: Branches
    inbox: Inbox
    profiles: Profiles
    api_keys: ApiKeys
    owners: Owners
    erasure: Erasure
    afterwards: Afterwards
    search: Search
    fragments: Fragments
    presence: Presence
    knowledge: Knowledge
    embedder: Embedder
    loader: Loader
    dead_letters: DeadLetters
    quotas: Quotas
    placements: Placements
    setup: SetUp
    settings_file: SettingsFile
    logs: LogRing
    status: Callable[[], Awaitable[Status]]
    readiness: Callable[[], Awaitable[Mapping[str, str]]]
    """What keeps the appliance from answering, by part; empty when it can answer."""
