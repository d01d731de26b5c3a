"""Conversations end by age: what the settings say nobody needs any more is removed.

A session that was idle for too long goes whole, with its snapshots; in the others old turns go one
by one. The look is slow and repeated, so a crash in between costs nothing.
"""

import asyncio
import logging
from collections.abc import AsyncIterator

from appliance import keys
from appliance.access.cancelling import Cancelling
from appliance.bus.client import AWAY, Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.errors import NotFound
from appliance.people.sessions import Sessions

log = logging.getLogger(__name__)

BEAT_S = 3_600.0
RETRY_S = 60.0
DAY_MS = 86_400_000
BATCH = 200

# KEYS turns turn; ARGV before_ms: how many turns were removed
_TRIM = Script("""
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
for _, id in ipairs(old) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id .. ':question', id .. ':sent', id .. ':answer', id .. ':feedback')
end
return #old
""")


class Retention:
    """`run` is its one task; with `kept_days` 0 there is nothing to do."""

    def __init__(
        self, bus: Bus, sessions: Sessions, cancelling: Cancelling, kept_days: float
    ) -> None:
        self._bus = bus
        self._sessions = sessions
        self._cancelling = cancelling
        self._kept_days = kept_days

    async def run(self) -> None:
        """Looks once an hour until cancelled."""
        while self._kept_days:
            try:
                await self.look(now_ms() - int(self._kept_days * DAY_MS))
                await asyncio.sleep(BEAT_S)
            except AWAY as error:
                log.debug("retention: store away (%s)", error)
                await asyncio.sleep(RETRY_S)

    async def look(self, before_ms: int) -> int:
        """Removes what is older; how many sessions went."""
        removed = 0
        async for uid in self._people():
            ids = await self._bus.zrangebyscore(
                keys.sessions(uid), "-inf", "+inf", start=0, num=1_000_000
            )
            for session_id in map(bytes.decode, ids):
                removed += await self._look_at(uid, session_id, before_ms)
        return removed

    async def _look_at(self, uid: str, session_id: str, before_ms: int) -> bool:
        try:
            session = await self._sessions.read(session_id)
        except NotFound:  # a crash left its id, or it is about to be written
            listed_ms = await self._bus.zscore(keys.sessions(uid), session_id)
            if listed_ms is not None and listed_ms < before_ms:
                await self._bus.zrem(keys.sessions(uid), session_id)
            return False
        if session.last_active_at_ms < before_ms:
            await self._cancelling.delete_session(session)
            return True
        names = (keys.turns(session_id), keys.turn(session_id))
        await _TRIM.run(self._bus, names, before_ms)
        return False

    async def _people(self) -> AsyncIterator[str]:
        """Everybody who has sessions; one who comes meanwhile may be missed until the next look."""
        prefix = keys.sessions("")
        cursor = 0
        while True:
            cursor, found = await self._bus.scan(cursor, match=f"{prefix}*", count=BATCH)
            for name in found:
                yield name.decode().removeprefix(prefix)
            if cursor == 0:
                return
