"""Who works: the workers whose last report is fresh enough to count as alive.

Reports are dated by the store's clock, for workers on other machines have their own.
"""

from typing import Any

import msgspec

from appliance import keys
from appliance.bus.client import Bus, Fields
from appliance.bus.script import Call, Script, run_all
from appliance.schema.status import WorkerStatus

WORKERS_MOST = 1_000
LISTS = ("warm", "devices", "alarms")

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
# KEYS workers; ARGV worker
_SEEN = Script(_NOW + "return redis.call('ZADD', KEYS[1], now, ARGV[1])")
# KEYS worker; ARGV ttl_s, then names and values
_SAY = Script("""
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
return redis.call('EXPIRE', KEYS[1], ARGV[1])
""")
# KEYS threads; ARGV name
_SHARE = Script("return redis.call('HGET', KEYS[1], ARGV[1])")
# KEYS workers; ARGV within_ms most
_ALIVE = Script(
    _NOW
    + """
return redis.call('ZRANGEBYSCORE', KEYS[1], now - ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])
"""
)
# KEYS workers; ARGV since_ms
_DROP = Script(
    _NOW
    + """
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[1])
  + redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
"""
)


async def seen(bus: Bus, worker_id: str) -> None:
    """It reports now."""
    await _SEEN.run(bus, (keys.WORKERS,), worker_id)


async def report(bus: Bus, status: WorkerStatus, *, name: str, lost_after_s: float) -> bytes | None:
    """What a worker says of itself, in one round trip; returns its share of the threads, None when
    nobody has shared them out."""
    said = [word for field in status_fields(status).items() for word in field]
    calls = (
        Call(_SAY, (keys.worker(status.id),), (max(1, round(lost_after_s)), *said)),
        Call(_SHARE, (keys.THREADS,), (name,)),
        Call(_SEEN, (keys.WORKERS,), (status.id,)),
    )
    _, share, _ = await run_all(bus, calls)
    return bytes(share) if share is not None else None


async def drop_others(bus: Bus, since_ms: int) -> None:
    """Forgets whoever has not reported between then and now."""
    await _DROP.run(bus, (keys.WORKERS,), since_ms)


async def live_worker_ids(
    bus: Bus, lost_after_s: float, *, most: int = WORKERS_MOST
) -> tuple[str, ...]:
    """Ids of the workers that reported within `lost_after_s`, at most `most` of them."""
    found = await _ALIVE.run(bus, (keys.WORKERS,), int(1000 * lost_after_s), most)
    return tuple(raw.decode() for raw in found)


async def live_workers(bus: Bus, lost_after_s: float) -> tuple[WorkerStatus, ...]:
    """What each of them last said of itself."""
    pipeline = bus.pipeline(transaction=False)
    for worker_id in await live_worker_ids(bus, lost_after_s):
        pipeline.hgetall(keys.worker(worker_id))
    found: list[Fields] = await pipeline.execute()
    return tuple(_status(fields) for fields in found if fields)


def status_fields(status: WorkerStatus) -> dict[str, str | int | float]:
    """A worker's report as the fields of its hash; lists are JSON."""
    fields: dict[str, str | int | float] = msgspec.to_builtins(status)
    return fields | {name: msgspec.json.encode(fields[name]).decode() for name in LISTS}


def _status(fields: Fields) -> WorkerStatus:
    texts: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    for name in LISTS:
        texts[name] = msgspec.json.decode(texts.get(name, "[]"))
    return msgspec.convert(texts, WorkerStatus, strict=False)
