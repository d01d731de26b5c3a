"""A person's inbox in Valkey: the scripts that write it, each whole or not at all.

The inbox is one stream. An entry is a message, or tells what was read (`read`) or may be asked
next (`related`); all have the fields in the same order, which the scripts count on. At the bound
of messages the oldest one that nobody misses leaves: one that was read or has expired. The others
have a bound of their own, so that news of reading and asking never push out a message, and past it
the oldest leaves. Messages that wait for their time are in a hash beside it, with their
idempotency keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance import keys
from appliance.bus.client import Bus, Value
from appliance.bus.script import Script

NEWS_KEPT = 64
"""Of what was read and may be asked: a device that was away longer lists the inbox anyway."""

# Fields of an entry by position: event 2, data 4, id 6, key 8, digest 10, expires 12.
_SHARED = """
local function lost(fields, now)
  return fields[2] ~= 'message' or tonumber(fields[12]) <= now
    or redis.call('SISMEMBER', KEYS[2], fields[6]) == 1
end
local function make_room(event, bound, now)
  local alike = {}
  for _, row in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    if (row[2][2] == 'message') == (event == 'message') then alike[#alike + 1] = row end
  end
  local excess = #alike - bound + 1
  if excess <= 0 then return true end
  for _, row in ipairs(alike) do
    if lost(row[2], now) then
      redis.call('XDEL', KEYS[1], row[1])
      redis.call('SREM', KEYS[2], row[2][6])
      excess = excess - 1
      if excess <= 0 then return true end
    end
  end
  return false
end
local function unread(now)
  local count = 0
  for _, row in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    if not lost(row[2], now) then count = count + 1 end
  end
  return count
end
local function add(event, data, id, key, digest, expires, kept_s)
  local made = redis.call('XADD', KEYS[1], '*', 'event', event, 'data', data, 'id', id,
    'key', key, 'digest', digest, 'expires', expires)
  redis.call('EXPIRE', KEYS[1], kept_s)
  redis.call('EXPIRE', KEYS[2], kept_s)
  return made
end
"""

# KEYS inbox read later; ARGV key: {id, digest} of the message written with it, or nil
FIND = Script("""
local held = redis.call('HGET', KEYS[3], 'k:' .. ARGV[1])
if held then
  local at = string.find(held, ' ')
  return {string.sub(held, 1, at - 1), string.sub(held, at + 1)}
end
for _, row in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  if row[2][8] == ARGV[1] then return {row[2][6], row[2][10]} end
end
return nil
""")

# KEYS inbox read later; ARGV event data id key digest expires now bound kept_s waited
# 1 when written, 0 when the id is there, -1 when the inbox is full of what nobody has read.
# One that `waited` waits no more then; 0 too when it was withdrawn.
WRITE = Script(
    _SHARED
    + """
if ARGV[10] == '1' and redis.call('HEXISTS', KEYS[3], ARGV[3]) == 0 then return 0 end
for _, row in ipairs(redis.call('XREVRANGE', KEYS[1], '+', '-')) do
  if ARGV[3] ~= '' and row[2][6] == ARGV[3] then return 0 end
  if ARGV[4] ~= '' and row[2][8] == ARGV[4] then return 0 end
end
if not make_room(ARGV[1], tonumber(ARGV[8]), tonumber(ARGV[7])) then return -1 end
add(ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[9])
if ARGV[10] == '1' then redis.call('HDEL', KEYS[3], ARGV[3], 'k:' .. ARGV[4]) end
return 1
"""
)

# KEYS inbox read later; ARGV id data key digest bound: 1, 0 when it is there, -1 past the bound
SCHEDULE = Script("""
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return 0 end
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[3], 'k:' .. ARGV[3]) == 1 then return 0 end
local waiting = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  if string.sub(field, 1, 2) ~= 'k:' then waiting = waiting + 1 end
end
if waiting >= tonumber(ARGV[5]) then return -1 end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], 'k:' .. ARGV[3], ARGV[1] .. ' ' .. ARGV[4]) end
return 1
""")

# KEYS inbox read later; ARGV id key
UNSCHEDULE = Script("""
if ARGV[2] ~= '' then redis.call('HDEL', KEYS[3], 'k:' .. ARGV[2]) end
return redis.call('HDEL', KEYS[3], ARGV[1])
""")

# KEYS inbox read later; ARGV now bound kept_s all id...
ACKNOWLEDGE = Script(
    _SHARED
    + """
local now, wanted, read = tonumber(ARGV[1]), {}, {}
for i = 5, #ARGV do wanted[ARGV[i]] = true end
for _, row in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  local id = row[2][6]
  if row[2][2] == 'message' and (ARGV[4] == '1' or wanted[id])
    and redis.call('SADD', KEYS[2], id) == 1 then
    read[#read + 1] = id
  end
end
local left = unread(now)
if #read > 0 then
  make_room('read', tonumber(ARGV[2]), now)
  add('read', cjson.encode({ids = read, unread = left}), '', '', '', 0, ARGV[3])
end
return left
"""
)


@dataclass(frozen=True)
class Item:
    """What is written; `key` and `digest` tell a repeated post from a new one."""

    id: str
    data: bytes
    expires_at_ms: int
    event: str = "message"
    key: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Bounds:
    """How much is kept of a person's inbox and for how long."""

    messages: int
    scheduled: int
    kept_s: int


@dataclass(frozen=True)
class Found:
    """A message that came with the same idempotency key."""

    id: str
    digest: str


def _names(uid: str) -> tuple[str, ...]:
    return keys.inbox(uid), keys.inbox_read(uid), keys.inbox_later(uid)


async def find(bus: Bus, uid: str, key: str) -> Found | None:
    found = await FIND.run(bus, _names(uid), key)
    return Found(found[0].decode(), found[1].decode()) if found else None


async def write(
    bus: Bus, uid: str, item: Item, bounds: Bounds, *, now_ms: int, waited: bool = False
) -> int:
    """1 when written, 0 when it was there, -1 when there is no room; 0 too for one that was to have
    `waited` and does not."""
    arguments: Sequence[Value] = (
        item.event,
        item.data,
        item.id,
        item.key,
        item.digest,
        item.expires_at_ms,
        now_ms,
        bounds.messages if item.event == "message" else NEWS_KEPT,
        bounds.kept_s,
        int(waited),
    )
    return int(await WRITE.run(bus, _names(uid), *arguments))


async def schedule(bus: Bus, uid: str, item: Item, bounds: Bounds, *, due_ms: int) -> int:
    """Likewise. Its place in the list of what is due comes first, so no crash forgets it."""
    member = f"{uid}/{item.id}"
    await bus.zadd(keys.SCHEDULED, {member: due_ms})
    arguments = (item.id, item.data, item.key, item.digest, bounds.scheduled)
    outcome = int(await SCHEDULE.run(bus, _names(uid), *arguments))
    if outcome != 1 and not await bus.hget(keys.inbox_later(uid), item.id):
        await bus.zrem(keys.SCHEDULED, member)
    return outcome


async def unschedule(bus: Bus, uid: str, message_id: str, key: str = "") -> bool:
    """False when it does not wait any more."""
    removed = await UNSCHEDULE.run(bus, _names(uid), message_id, key)
    await bus.zrem(keys.SCHEDULED, f"{uid}/{message_id}")
    return bool(removed)


async def acknowledge(
    bus: Bus, uid: str, ids: Sequence[str], bounds: Bounds, *, everything: bool, now_ms: int
) -> int:
    """How many are unread then."""
    return int(
        await ACKNOWLEDGE.run(
            bus, _names(uid), now_ms, NEWS_KEPT, bounds.kept_s, int(everything), *ids
        )
    )
