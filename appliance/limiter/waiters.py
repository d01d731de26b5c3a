"""Who waits for grants of a bucket in this process: the longest waiting first, on one connection.

Waiters stand in a line; while there is one, a single blocking read per bucket takes grants from
Valkey and hands each to the first in line. A grant whose waiter has gone in the meantime goes to
the next, and back into the bucket when there is none: no grant is lost with a caller.
"""

import asyncio
import contextlib
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from appliance import keys
from appliance.bus import gates
from appliance.bus.client import AWAY, Bus, connect_blocking
from appliance.bus.gates import Bucket

log = logging.getLogger(__name__)

RETRY_S = 0.2


@dataclass
class _Line:
    bucket: Bucket
    waiters: deque["asyncio.Future[None]"] = field(default_factory=deque)
    users: Counter[str] = field(default_factory=Counter)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def hand(self) -> bool:
        """Gives a grant to the first who still waits; False when nobody does."""
        while self.waiters:
            first = self.waiters.popleft()
            if not first.done():
                first.set_result(None)
                return True
        return False


class Waiters:
    """`run` owns one reader per bucket; there are as many buckets as tiers."""

    def __init__(self, bus: Bus, url: str, buckets: dict[str, Bucket]) -> None:
        self._bus = bus
        self._url = url
        self._lines = {name: _Line(bucket) for name, bucket in buckets.items()}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for line in self._lines.values():
                group.create_task(self._read(line), name=f"grants {line.bucket.name}")

    def waiting(self, name: str) -> int:
        return len(self._lines[name].waiters)

    def waiting_of(self, name: str, uid: str) -> int:
        return self._lines[name].users[uid]

    async def grant(self, name: str, uid: str, timeout_s: float) -> bool:
        """Waits for a grant of a bucket; False when the time ran out."""
        line = self._lines[name]
        line.users[uid] += 1
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiters.append(granted)
        line.news.set()
        try:
            await asyncio.wait([granted], timeout=timeout_s)
            if granted.done():
                return True
        except asyncio.CancelledError:
            if granted.done():
                await self.give_back(name)
            raise
        finally:
            granted.cancel()
            line.users[uid] -= 1
            if not line.users[uid]:
                del line.users[uid]
            with contextlib.suppress(ValueError):
                line.waiters.remove(granted)
        return False

    async def give_back(self, name: str) -> None:
        """A grant that was not used after all: to the first who waits, else into the bucket."""
        line = self._lines[name]
        if not line.hand():
            await gates.give_back(self._bus, line.bucket)

    async def _read(self, line: _Line) -> None:
        async with _blocking(self._url) as blocking:
            while True:
                await line.news.wait()
                line.news.clear()
                while line.waiters:
                    try:
                        wait_s = await gates.refill(self._bus, line.bucket)
                        found = await blocking.blpop([keys.grants(line.bucket.name)], wait_s)
                        if found:
                            await self.give_back(line.bucket.name)
                    except AWAY as error:
                        log.debug("grants: store away (%s), letting nobody in", error)
                        await blocking.connection_pool.disconnect()
                        await asyncio.sleep(RETRY_S)


@contextlib.asynccontextmanager
async def _blocking(url: str) -> AsyncIterator[Bus]:
    blocking = connect_blocking(url)
    try:
        yield blocking
    finally:
        await blocking.aclose()
