"""Requests that were given up because workers died of them, kept for the operator.

A list of ids by time and a record for each, bounded in number and age. Keeping the same letter
again changes nothing, so it can be stored before the request is failed.
"""

import time

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.errors import NotFound
from appliance.schema.requests import Request
from appliance.schema.status import DeadLetter


class Kept(msgspec.Struct, frozen=True):
    """`dead:RID`: the letter, and the request as it was accepted."""

    letter: DeadLetter
    request: Request


class DeadLetters:
    """At most `kept` letters, none older than `ttl_s`."""

    def __init__(self, bus: Bus, *, kept: int, ttl_s: int) -> None:
        self._bus = bus
        self._kept = kept
        self._ttl_s = ttl_s

    async def keep(self, letter: DeadLetter, request: Request) -> None:
        """Stores a letter; the oldest leave at the bound."""
        pipeline = self._bus.pipeline(transaction=False)
        body = msgspec.json.encode(Kept(letter, request))
        pipeline.set(keys.dead(letter.id), body, nx=True, ex=self._ttl_s)
        pipeline.zadd(keys.DEAD, {letter.id: letter.failed_at_ms}, nx=True)
        await pipeline.execute()
        excess = await self._bus.zcard(keys.DEAD) - self._kept
        if excess > 0:
            await self._remove([raw.decode() for raw in await self._oldest(excess)])

    async def newest(self, skip: int, count: int) -> tuple[DeadLetter, ...]:
        """Newest first, `count` at most after the first `skip`."""
        await self._expire()
        ids = await self._bus.zrevrange(keys.DEAD, skip, skip + count - 1)
        pipeline = self._bus.pipeline(transaction=False)
        for raw in ids:
            pipeline.get(keys.dead(raw.decode()))
        found: list[bytes | None] = await pipeline.execute()
        return tuple(msgspec.json.decode(body, type=Kept).letter for body in found if body)

    async def find(self, request_id: str) -> Kept:
        """Raises NotFound."""
        body = await self._bus.get(keys.dead(request_id))
        if body is None:
            raise NotFound(
                f"no dead letter {request_id}",
                hint="they are kept for requests.dead_letter_ttl_s",
                reason="no_dead_letter",
            )
        return msgspec.json.decode(body, type=Kept)

    async def drop(self, request_id: str) -> None:
        """Raises NotFound."""
        await self.find(request_id)
        await self._remove([request_id])

    async def count(self) -> int:
        await self._expire()
        return await self._bus.zcard(keys.DEAD)

    async def _expire(self) -> None:
        """Records leave by themselves; their ids are taken off the list here."""
        before_ms = int(1000 * (time.time() - self._ttl_s))
        old = await self._bus.zrangebyscore(keys.DEAD, "-inf", before_ms, start=0, num=self._kept)
        await self._remove([raw.decode() for raw in old])

    async def _oldest(self, count: int) -> list[bytes]:
        return await self._bus.zrange(keys.DEAD, 0, count - 1)

    async def _remove(self, ids: list[str]) -> None:
        if ids:
            await self._bus.zrem(keys.DEAD, *ids)
            for request_id in ids:
                await self._bus.delete(keys.dead(request_id))
