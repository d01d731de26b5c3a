"""The placement loop: leads or stands by, reads `place`, and puts requests before workers.

It leads by a lease like the limiter's. What it decides is advice: access asks where to put a
request, and puts it into the shared stream when no answer comes; news of what workers took, began
and ended arrives on the same stream, and what is lost of it is found in the records. So nothing is
fenced by an epoch, two loops at once do no harm, and without any loop workers pull.

Once a second it looks at the workers' reports, less often while there is nothing to choose: one
worker a pool at most, and no request before it. What waits for one that is gone, draining or
stalled is given back to the shared stream; the reaper does the same for the dead, in case this
loop is.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Iterable

import msgspec

from appliance import keys
from appliance.bus import leadership, placing, work
from appliance.bus.client import AWAY, Bus, connect, connect_blocking, ensure_group, hear
from appliance.bus.notices import Asked
from appliance.bus.placing import Told
from appliance.bus.workers import live_workers
from appliance.placement.choice import Placements
from appliance.placement.policies import make_policy
from appliance.placement.pool import PoolPlacement
from appliance.schema.requests import TERMINAL_STATES
from appliance.schema.status import PlacementStatus, WorkerStatus
from appliance.settings import Settings

log = logging.getLogger(__name__)

CONSUMER = "placement"
BATCH = 256
RETRY_S = 0.2
LOOK_INTERVAL_S = 1.0
LOOK_IDLE_S = 10.0
TOLD_TTL_S = 3  # for each second between two looks
LEASED_MOST = 10_000


class PlacementService:
    """One placement loop. `run` is its task."""

    def __init__(self, url: str, settings: Settings) -> None:
        self._bus = connect(url, connections=4)
        self._url = url
        self._settings = settings
        self._name = secrets.token_hex(8)
        self._choices = random.Random()  # noqa: S311 # ties between workers, no secret
        self._policy = settings.placement.policy
        self._placements = Placements(self._bus, self._policy)
        self._pools: dict[str, PoolPlacement] = {}
        self._warm: dict[str, str] = {}
        self._given_back = 0
        self._leads = False
        self._renew_at_s = self._look_at_s = 0.0

    @property
    def leads(self) -> bool:
        return self._leads

    async def run(self) -> None:
        """Runs until cancelled; while Valkey is away it places nothing."""
        blocking = connect_blocking(self._url)
        try:
            while True:
                try:
                    await ensure_group(self._bus, keys.PLACE, keys.PLACE_GROUP)
                    while True:
                        await self._turn(blocking)
                except AWAY as error:
                    log.debug("placement: store away (%s)", error)
                    self._step_down()
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            with contextlib.suppress(*AWAY, TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await leadership.resign(self._bus, self._name, of=keys.PLACEMENT)
                    if self._leads:
                        await self._bus.delete(keys.PLACING)
            await blocking.aclose()
            await self._bus.aclose()

    # Below: helpers in call order.

    async def _turn(self, blocking: Bus) -> None:
        if not await self._lead():
            await asyncio.sleep(self._settings.placement.lease_s / leadership.RENEWALS)
            return
        if time.monotonic() >= self._look_at_s:
            await self._look()
            self._look_at_s = time.monotonic() + self._look_every_s
        due_s = min(self._look_at_s, self._renew_at_s) - time.monotonic()
        block_ms = max(1, int(1000 * due_s))
        rows = await hear(
            blocking, keys.PLACE, keys.PLACE_GROUP, CONSUMER, count=BATCH, block_ms=block_ms
        )
        for _, fields in rows:
            await self._hear(msgspec.json.decode(fields[b"told"], type=Told))
        for pool in self._pools.values():
            for request_id, worker_id in pool.released(time.monotonic()).items():
                await placing.answer(self._bus, request_id, worker_id)
        if rows:
            await self._bus.xdel(keys.PLACE, *(row_id for row_id, _ in rows))

    async def _lead(self) -> bool:
        now_s = time.monotonic()
        if self._leads and now_s < self._renew_at_s:
            return True
        lease_s = self._settings.placement.lease_s
        epoch = await leadership.lead(self._bus, self._name, int(1000 * lease_s), of=keys.PLACEMENT)
        if not epoch:
            self._step_down()
            return False
        if not self._leads:
            log.info("placement: this process decides who gets which worker, epoch %d", epoch)
            self._look_at_s = 0.0
        self._leads, self._renew_at_s = True, now_s + lease_s / leadership.RENEWALS
        return True

    def _step_down(self) -> None:
        self._leads, self._renew_at_s = False, 0.0
        self._pools, self._warm = {}, {}

    @property
    def _look_every_s(self) -> float:
        idle = all(pool.workers <= 1 and not pool.known() for pool in self._pools.values())
        return LOOK_IDLE_S if idle else LOOK_INTERVAL_S

    async def _look(self) -> None:
        """Workers, the chosen policy, what was not heard of; then tells how it stands."""
        policy = await self._placements.chosen()
        if policy != self._policy:
            log.info("placement: by %s from now on", policy)
            self._policy = policy
            for pool in self._pools.values():
                pool.board.policy = make_policy(policy, self._choices)
        found = await live_workers(self._bus, self._settings.worker.lost_after_s)
        self._warm = {session: one.id for one in reversed(found) for session in one.warm}
        for name in {one.pool for one in found} | self._pools.keys():
            await self._look_at(name, [one for one in found if one.pool == name])
        status = msgspec.json.encode(self.status())
        ttl_s = round(TOLD_TTL_S * self._look_every_s)
        await self._bus.set(keys.PLACING, status, ex=ttl_s)

    async def _look_at(self, name: str, found: list[WorkerStatus]) -> None:
        pool = self._pool(name)
        emptied = pool.reported(found, time.monotonic()) | pool.stalled(time.monotonic())
        alive = {one.id for one in found}
        for worker_id in await work.bound_workers(self._bus, name):
            if worker_id in emptied or worker_id not in alive:
                moved = await work.give_back(self._bus, name, worker_id)
                self._given_back += moved
                if moved:
                    log.warning("%s: %d waiting requests go to others", worker_id, moved)
        await self._compare(name, pool)

    async def _compare(self, name: str, pool: PoolPlacement) -> None:
        """Forgets what has ended, learns of what runs: news may have been lost."""
        known = pool.known()
        for request_id, state in zip(known, await self._read(known, "state"), strict=True):
            if not state or state in TERMINAL_STATES:
                pool.ended(request_id, time.monotonic())
        listed = await self._bus.zrangebyscore(
            keys.leases(name), "-inf", "+inf", start=0, num=LEASED_MOST
        )
        leased = [one for one in (raw.decode() for raw in listed) if not pool.runs(one)]
        for request_id, lease in zip(leased, await self._read(leased, "lease"), strict=True):
            holder = lease.rpartition(":")[0]
            if holder:
                await self._taken(pool, request_id, holder)

    async def _read(self, request_ids: list[str], field: str) -> list[str]:
        """A field of many records at once, "" where there is none."""
        asked = self._bus.pipeline(transaction=False)
        for request_id in request_ids:
            asked.hget(keys.request(request_id), field)
        return [(found or b"").decode() for found in await asked.execute()]

    async def _hear(self, told: Told) -> None:
        now_s = time.monotonic()
        if told.kind == "policy":
            self._look_at_s = 0.0
        elif told.kind == "ended":  # whoever ends it need not know its pool
            for pool in self._pools.values():
                pool.ended(told.request_id, now_s)
        elif told.kind == "first":
            self._pool(told.pool).first(told.request_id, now_s)
        elif told.kind == "taken":
            await self._taken(self._pool(told.pool), told.request_id, told.worker)
        else:
            tokens = await self._output_tokens(told.request_id)
            pool = self._pool(told.pool)
            worker_id = pool.wanted(told, tokens, self._warm, time.monotonic())
            await placing.answer(self._bus, told.request_id, worker_id)

    async def _taken(self, pool: PoolPlacement, request_id: str, worker_id: str) -> None:
        tokens = await self._output_tokens(request_id)
        pool.taken(request_id, worker_id, tokens, time.monotonic())

    async def _output_tokens(self, request_id: str) -> float:
        """As predicted at its arrival."""
        raw = await self._bus.hget(keys.request(request_id), "ask")
        return (msgspec.json.decode(raw, type=Asked) if raw else Asked()).p50

    def _pool(self, name: str) -> PoolPlacement:
        if name not in self._pools:
            policy = make_policy(self._policy, self._choices)
            self._pools[name] = PoolPlacement(policy, self._settings.placement.stall_s)
        return self._pools[name]

    def status(self) -> PlacementStatus:
        pools: Iterable[PoolPlacement] = self._pools.values()
        return PlacementStatus(
            policy=self._policy,
            active=self._leads,
            pools=tuple(name for name, pool in self._pools.items() if pool.workers > 1),
            workers=tuple(one for pool in pools for one in pool.status()),
            placed=sum(pool.placed for pool in pools),
            shared=sum(pool.shared for pool in pools),
            given_back=self._given_back,
            prompt_tokens=sum(pool.prompt_tokens for pool in pools),
            matched_tokens=sum(pool.matched_tokens for pool in pools),
        )
