"""What the appliance says about itself: status for the operator, readiness for callers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import msgspec

from appliance import __version__, keys
from appliance.bus.client import AWAY, Bus, RedisFault
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.replies import ReplyReader
from appliance.bus.room import Room, room
from appliance.bus.workers import live_workers
from appliance.fleet.loader import Loader
from appliance.fleet.provision import Provision
from appliance.knowledge.calibrator import Calibrator
from appliance.knowledge.index import Index
from appliance.limiter.service import LimiterService
from appliance.placement.choice import Placements
from appliance.prediction.lengths import Lengths
from appliance.schema.status import Alarm, FaqStatus, LengthStatus, RuleStatus, Status
from appliance.settings import Settings
from appliance.supervisor.tree import Tree


def rule_alarms(rule: RuleStatus | None) -> list[Alarm]:
    """An operator's rule that does not work; nobody would notice, for the built-in one decides."""
    if rule is None or rule.state == "in_force":
        return []
    hint = "mend the file: it is read anew when its process starts again"
    if rule.state == "set_aside":
        hint += ", which is tried after limiter.rule_pause_s"
    message = f"{rule.file}: {rule.error}; the built-in rule decides"
    return [
        Alarm(
            code="rule_failed",
            message=message,
            hint=hint,
            facts={"file": rule.file, "error": rule.error},
        )
    ]


def store_alarms(found: Room | None) -> list[Alarm]:
    """A store that takes nothing new, or soon will not."""
    if found is None or not found.is_scarce:
        return []
    if not found.disk_works:
        message, hint = "the store cannot write to its disk", "make room on the disk"
        return [Alarm(code="store_disk_full", message=message, hint=hint)]
    used_mb, bound_mb = found.used_bytes >> 20, found.bound_bytes >> 20
    message = f"the store uses {used_mb} of {bound_mb} MB"
    hint = "raise store.memory_mb and start again, or delete sessions that are not needed"
    return [
        Alarm(
            code="store_full",
            message=message,
            hint=hint,
            facts={"used": str(used_mb), "bound": str(bound_mb)},
        )
    ]


@dataclass
class Report:
    """Gathers what the parts know. It changes nothing."""

    bus: Bus
    settings: Settings
    tree: Tree
    limiter: LimiterService
    index: Index
    calibrator: Calibrator
    replies: ReplyReader
    loader: Loader
    dead_letters: DeadLetters
    lengths: Lengths
    placements: Placements
    provision: Provision | None = None
    started_s: float = field(default_factory=time.monotonic)

    async def status(self) -> Status:
        workers = await live_workers(self.bus, self.settings.worker.lost_after_s)
        return Status(
            version=__version__,
            uptime_s=round(time.monotonic() - self.started_s, 1),
            ready=not await self.readiness(),
            children=self.tree.statuses(),
            workers=workers,
            queue=self.limiter.status,
            faq=await self.faq(),
            sessions_following=self.replies.following,
            lengths=LengthStatus(**asdict(self.lengths.quality())),
            placement=await self.placements.told(),
            dead_letters=await self.dead_letters.count(),
            models=await self.loader.statuses(),
            alarms=_distinct(
                [alarm for worker in workers for alarm in worker.alarms]
                + rule_alarms(self.limiter.status.rule)
                + store_alarms(await self._room())
            ),
        )

    async def faq(self) -> FaqStatus:
        status = await self.index.status()
        return msgspec.structs.replace(status, calibration=self.calibrator.current)

    async def readiness(self) -> Mapping[str, str]:
        """What keeps questions from being answered, by part; empty when nothing does."""
        if self.provision is not None:
            said = filter(None, (self.provision.standing(), self.provision.next_step()))
            return {"models": "; ".join(said)}
        try:
            workers = await live_workers(self.bus, self.settings.worker.lost_after_s)
        except AWAY:
            return {"valkey": "the store is not answering"}
        if workers:
            return {}
        found = await self._room()
        if found is not None and found.is_full:  # then no worker can report
            return {"valkey": "the store is full and takes nothing new"}
        return {"worker": self._loading()}

    async def _room(self) -> Room | None:
        """None where the store does not tell: another one's user may not be allowed to ask."""
        try:
            return await room(self.bus)
        except RedisFault:
            return None

    def _loading(self) -> str:
        """How far the first worker of the chat model is, in its own words."""
        for child in self.tree.statuses():
            if child.state == "starting" and self.loader.pool_of(child.name) == keys.MAIN:
                return child.detail or "starting"
        return "no worker has reported; the model may still be loading"


def _distinct(alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """Workers on one machine say the same."""
    return tuple({(alarm.code, alarm.message): alarm for alarm in alarms}.values())
