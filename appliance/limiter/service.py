"""The limiter loop: leads or stands by, reads `admit`, and has a desk decide.

It shares nothing with access but Valkey. Whoever holds the lease decides; others wait for it
and know of the queue what the leader tells in `queue`. A leader that ends in order gives
the lease back; after a crash it runs out, in `lease_s`. A leader acts only until its lease ends by
its own clock, counted from before it asked for it; what a stopped one would still write is
refused by epoch (see `bus.leadership`).

While Valkey is away nobody is admitted. A verdict may then be half told: the records know, so the
desk is made anew from them.
"""

import asyncio
import contextlib
import logging
import secrets
import time

import msgspec

from appliance import keys
from appliance.bus import leadership
from appliance.bus.client import AWAY, Bus, connect, connect_blocking, ensure_group, hear
from appliance.bus.leadership import Deposed
from appliance.bus.notices import Notice
from appliance.bus.outage import Outage
from appliance.limiter.desk import Desk
from appliance.limiter.estimate import Pace
from appliance.limiter.honesty import Honesty
from appliance.limiter.rule_process import rule_of
from appliance.schema.status import QueueStatus
from appliance.settings import Settings

log = logging.getLogger(__name__)

CONSUMER = "limiter"
BATCH = 256
RETRY_S = 0.2
TELL_INTERVAL_S = 1.0
TELL_AGAIN_S = 4.0  # what has not changed
TOLD_TTL_S = 10


class LimiterService:
    """One limiter. `run` is its task."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._bus = connect(url, connections=4)
        self._url = url
        self._settings = settings
        self._lease_s = settings.limiter.lease_s
        self._name = secrets.token_hex(8)
        self._honesty = Honesty()
        self._paces: dict[str, Pace] = {}
        self.rule = rule_of(settings.limiter)
        self._desk: Desk | None = None
        self._epoch = 0
        self._until_s = 0.0
        self._renew_at_s = 0.0
        self._reconcile_at_s = 0.0
        self._tell_at_s = self._tell_again_at_s = 0.0
        self._said = b""
        bound = settings.limiter.queue_bound
        self._told = QueueStatus(waiting=0, running=0, capacity=0, bound=bound)

    @property
    def leads(self) -> bool:
        return self._desk is not None

    @property
    def status(self) -> QueueStatus:
        """The queue as it is, or as the leader last told it."""
        return self._desk.status() if self._desk else self._told

    def busy(self, pool: str) -> int:
        """Requests that wait for or hold a slot of this pool."""
        return self._desk.busy(pool) if self._desk else self._told.pools.get(pool, 0)

    async def run(self) -> None:
        """Runs until cancelled; while Valkey is away it admits nobody."""
        async with asyncio.TaskGroup() as group:
            if self.rule is not None:
                group.create_task(self.rule.run(), name="operator's rule")
            group.create_task(self._decide(), name="limiter")

    async def _decide(self) -> None:
        blocking = connect_blocking(self._url)
        outage = Outage(log, "admitting nobody")
        try:
            while True:
                try:
                    await outage.over(blocking)
                    await ensure_group(self._bus, keys.ADMIT, keys.ADMIT_GROUP)
                    while True:
                        await self._turn(blocking)
                except Deposed:
                    log.warning("limiter: another process decides now")
                    self._step_down()
                except AWAY as error:
                    outage.met(error)
                    self._step_down()
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            with contextlib.suppress(*AWAY, TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await leadership.resign(self._bus, self._name)
            await blocking.aclose()
            await self._bus.aclose()

    async def _turn(self, blocking: Bus) -> None:
        if not await self._lead():
            await self._listen()
            await asyncio.sleep(self._lease_s / leadership.RENEWALS)
            return
        desk = self._desk
        assert desk is not None
        now_s = time.monotonic()
        if now_s >= self._reconcile_at_s:
            await desk.reconcile()
            self._reconcile_at_s = now_s + self._settings.limiter.reconcile_interval_s
        await self._tell(desk)
        due_s = min(desk.next_due_s(now_s), self._reconcile_at_s, self._renew_at_s)
        block_ms = max(1, int(1000 * (due_s - time.monotonic())))
        rows = await hear(
            blocking, keys.ADMIT, keys.ADMIT_GROUP, CONSUMER, count=BATCH, block_ms=block_ms
        )
        for _, fields in rows:
            self._require_lease()  # a notice not taken is found in the records by the successor
            await desk.take(msgspec.json.decode(fields[b"notice"], type=Notice))
        if rows:
            await self._bus.xdel(keys.ADMIT, *(row_id for row_id, _ in rows))
        self._require_lease()
        await desk.tick()

    async def _lead(self) -> bool:
        """Holds the lease, or tries to get it. A desk lasts as long as its epoch."""
        now_s = time.monotonic()
        if self._desk is not None and now_s < self._renew_at_s:
            return True
        epoch = await leadership.lead(self._bus, self._name, int(1000 * self._lease_s))
        if not epoch:
            self._step_down()
            return False
        self._until_s, self._renew_at_s = (
            now_s + self._lease_s,
            now_s + self._lease_s / leadership.RENEWALS,
        )
        if self._desk is None or epoch != self._epoch:
            log.info("limiter: this process decides who is admitted, epoch %d", epoch)
            self._epoch, self._reconcile_at_s = epoch, 0.0
            self._desk = Desk(
                self._bus, self._settings, epoch, self._honesty, self.rule, self._paces
            )
        return True

    def _step_down(self) -> None:
        if self._desk is not None:
            self._told = self._desk.status()
        self._desk, self._renew_at_s, self._said = None, 0.0, b""

    def _require_lease(self) -> None:
        """Renewed in time, the lease only ends under a loop that was stopped or starved."""
        if time.monotonic() >= self._until_s:
            raise Deposed

    async def _tell(self, desk: Desk) -> None:
        now_s = time.monotonic()
        if now_s < self._tell_at_s:
            return
        self._tell_at_s = now_s + TELL_INTERVAL_S
        status = msgspec.json.encode(desk.status())
        if status != self._said or now_s >= self._tell_again_at_s:
            await self._bus.set(keys.QUEUE, status, ex=TOLD_TTL_S)
            self._said, self._tell_again_at_s = status, now_s + TELL_AGAIN_S

    async def _listen(self) -> None:
        told = await self._bus.get(keys.QUEUE)
        if told:
            self._told = msgspec.json.decode(told, type=QueueStatus)
