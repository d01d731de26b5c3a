"""The two simpler generations of admission in Valkey: a fixed window and a bucket of grants.

A window counts up to its limit and is gone with its time; counting and the time to live are
set in one script, so no counter without an end can be left behind. A bucket is a list of grants
that fills with time up to its size: whoever looks fills it for the time that passed by the store's
clock, so it may be filled by any number of processes, and none need live for it.
"""

from dataclasses import dataclass

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script

# KEYS window; ARGV limit period_s. Returns {taken, seconds left}
WINDOW = Script("""
local count = tonumber(redis.call('GET', KEYS[1]) or 0)
if count >= tonumber(ARGV[1]) then return {0, redis.call('TTL', KEYS[1])} end
if redis.call('INCR', KEYS[1]) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return {1, redis.call('TTL', KEYS[1])}
""")

# KEYS window. Returns {taken, seconds left}
TAKEN = Script("return {redis.call('GET', KEYS[1]) or 0, redis.call('TTL', KEYS[1])}")

# KEYS grants filled; ARGV size per_minute kept_s. Returns milliseconds to the next grant
REFILL = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local size, every = tonumber(ARGV[1]), 60000 / tonumber(ARGV[2])
local filled = tonumber(redis.call('GET', KEYS[2]))
local due = size
if filled then due = math.floor((now - filled) / every) else filled = now end
for i = 1, math.min(due, size - redis.call('LLEN', KEYS[1])) do
  redis.call('RPUSH', KEYS[1], 1)
end
if due > 0 and filled < now then filled = filled + due * every end
redis.call('SET', KEYS[2], filled, 'EX', ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return math.max(1, math.ceil(filled + every - now))
""")

# KEYS grants; ARGV size kept_s
GIVE_BACK = Script("""
if redis.call('LLEN', KEYS[1]) < tonumber(ARGV[1]) then redis.call('LPUSH', KEYS[1], 1) end
return redis.call('EXPIRE', KEYS[1], ARGV[2])
""")

KEPT_S = 3_600
WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """`per_minute` grants come in a minute, at most `size` are kept."""

    name: str
    size: int
    per_minute: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Of a window that is over in `left_s` seconds."""

    count: int
    left_s: float


async def take(bus: Bus, name: str, limit: int) -> float:
    """0 when there was room in this minute's window, else the seconds until the next."""
    taken, left_s = await WINDOW.run(bus, (keys.window(name),), limit, WINDOW_S)
    return 0.0 if taken else max(1.0, float(left_s))


async def taken(bus: Bus, name: str) -> Taken:
    """How far this minute's window is used up."""
    count, left_s = await TAKEN.run(bus, (keys.window(name),))
    return Taken(int(count), max(0.0, float(left_s)))


async def left(bus: Bus, bucket: Bucket) -> int:
    """Grants that lie ready for anybody."""
    await refill(bus, bucket)
    return await bus.llen(keys.grants(bucket.name))


async def refill(bus: Bus, bucket: Bucket) -> float:
    """Seconds until the next grant comes."""
    names = (keys.grants(bucket.name), keys.filled(bucket.name))
    wait_ms = await REFILL.run(bus, names, bucket.size, bucket.per_minute, KEPT_S)
    return float(wait_ms) / 1000


async def give_back(bus: Bus, bucket: Bucket) -> None:
    """A grant nobody used any more; there are never more than fit."""
    await GIVE_BACK.run(bus, (keys.grants(bucket.name),), bucket.size, KEPT_S)
