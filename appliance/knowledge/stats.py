"""How often each entry was used and what people thought of the answers made from it.

Counted once per request: a request that is walked again after a crash finds that it was heard. A
thumb may be changed; what it counted before is taken back.
"""

from collections.abc import Sequence

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.people.turns import Thumbed
from appliance.schema.curation import EntryStats, Thumb

# KEYS request; ARGV entry_ids_json: 1 the first time
_HEARD = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HSETNX', KEYS[1], 'heard', ARGV[1])
""")

# KEYS request turns turn; ARGV rid feedback_json
# What was there before, '' for nothing; 0 for an unknown request, 1 for one that has not ended.
_FEEDBACK = Script("""
local key, field = KEYS[3], ARGV[1] .. ':feedback'
local state = redis.call('HGET', KEYS[1], 'state')
if redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  if redis.call('HEXISTS', key, ARGV[1] .. ':answer') == 0 then return 1 end
elseif state then
  if state ~= 'done' and state ~= 'failed' and state ~= 'cancelled' then return 1 end
  key, field = KEYS[1], 'feedback'
else
  return 0
end
local before = redis.call('HGET', key, field) or ''
redis.call('HSET', key, field, ARGV[2])
return before
""")

# KEYS stats...; ARGV field by at_ms ('' leaves the last hit): counts in each of them, never below 0
_COUNT = Script("""
for _, key in ipairs(KEYS) do
  if redis.call('HINCRBY', key, ARGV[1], ARGV[2]) < 0 then redis.call('HSET', key, ARGV[1], 0) end
  if ARGV[3] ~= '' then redis.call('HSET', key, 'last_hit_ms', ARGV[3]) end
end
return 1
""")


class Stats:
    """Counts hits and thumbs by entry."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def heard(self, request_id: str, entry_ids: Sequence[str], at_ms: int) -> bool:
        """Counts the entries that a request is answered from; False when that was done before."""
        body = msgspec.json.encode(entry_ids)
        if not await _HEARD.run(self._bus, (keys.request(request_id),), body):
            return False
        await self._count(entry_ids, "hits", 1, at_ms)
        return True

    async def holds(self, request_id: str) -> bool:
        """Whether the request or its turn is still kept; nothing is of who was erased."""
        if await self._bus.exists(keys.request(request_id)):
            return True
        asked = await self._bus.hget(keys.turn(keys.tag(request_id)), f"{request_id}:question")
        return asked is not None

    async def read(self, entry_ids: Sequence[str]) -> list[EntryStats]:
        """One for each id, in their order."""
        pipeline = self._bus.pipeline(transaction=False)
        for entry_id in entry_ids:
            pipeline.hgetall(keys.stats(entry_id))
        found: list[dict[bytes, bytes]] = await pipeline.execute()
        return [
            EntryStats(**{name.decode(): max(0, int(value)) for name, value in fields.items()})
            for fields in found
        ]

    async def leave(self, request_id: str, feedback: Thumbed) -> Thumbed | int:
        """Stores what a person thinks of an answer; returns what was there before.

        0 instead when there is no such request, 1 when it has not ended.
        """
        tag = keys.tag(request_id)
        before = await _FEEDBACK.run(
            self._bus,
            (keys.request(request_id), keys.turns(tag), keys.turn(tag)),
            request_id,
            msgspec.json.encode(feedback),
        )
        if isinstance(before, int):
            return before
        return msgspec.json.decode(before, type=Thumbed) if before else Thumbed("none")

    async def vote(self, entry_ids: Sequence[str], before: Thumb, after: Thumb) -> None:
        """Moves the thumb of one answer from `before` to `after` on its entries."""
        if before == after:
            return
        for thumb, by in ((before, -1), (after, 1)):
            if thumb != "none":
                await self._count(entry_ids, thumb, by)

    async def _count(
        self, entry_ids: Sequence[str], field: str, by: int, at_ms: int | None = None
    ) -> None:
        if entry_ids:
            counted = [keys.stats(entry_id) for entry_id in dict.fromkeys(entry_ids)]
            await _COUNT.run(self._bus, counted, field, by, "" if at_ms is None else at_ms)
