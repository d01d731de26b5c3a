"""Which limiter decides: a lease with an epoch, and verdicts that only the newest epoch may write.

The placement loop leads by a lease of the same kind.

`limiter` names who decides and until when, on the store's own clock; each change of hands raises
the epoch (a fencing token: Kleppmann, "How to do distributed locking", 2016). The successor first
claims every open request, which leaves its epoch in the request's record; a verdict of an older
epoch is then refused by the script that would write it. So one that was stopped in the middle
of a verdict and wakes up later can neither admit nor refuse what is not its own any more, and
whatever it wrote before the claim is in the record that its successor reads. The epoch is compared
in the record itself, so all keys of a script share one hash tag.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Call, Script, run_all
from appliance.schema.events import EVENT_NAMES, Event

RENEWALS = 2  # of a lease, while it lasts

# KEYS limiter; ARGV id lease_ms. Returns {leads, epoch}
LEAD = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'holder', 'until', 'epoch')
local epoch = tonumber(found[3] or 0)
if found[1] ~= ARGV[1] then
  if now <= tonumber(found[2] or 0) then return {0, epoch} end
  epoch = epoch + 1
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'until', now + ARGV[2], 'epoch', epoch)
return {1, epoch}
""")

# KEYS limiter; ARGV id: the next one need not wait for the end of the lease
RESIGN = Script("""
if redis.call('HGET', KEYS[1], 'holder') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'until', 0, 'holder', '')
return 1
""")

# KEYS request; ARGV epoch. Returns {state, body, ask, usage}, empty without a record
CLAIM = Script("""
local found = redis.call('HMGET', KEYS[1], 'state', 'body', 'ask', 'usage', 'epoch')
if not found[1] then return {} end
if tonumber(found[5] or 0) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
end
return {found[1], found[2], found[3] or '', found[4] or ''}
""")

# KEYS request reply; ARGV epoch event data new_state
# Returns 1, 0 when it does not wait any more, -1 when a newer limiter has it.
VERDICT = Script("""
local found = redis.call('HMGET', KEYS[1], 'state', 'epoch')
if tonumber(found[2] or 0) > tonumber(ARGV[1]) then return -1 end
if found[1] ~= 'waiting' then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'state', ARGV[4]) end
redis.call('XADD', KEYS[2], '*', 'event', ARGV[2], 'data', ARGV[3])
return 1
""")


class Deposed(Exception):
    """A newer limiter decides."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A request's record as its limiter reads it; `state` is "" when there is none."""

    request_id: str
    state: str
    body: bytes
    ask: bytes
    usage: bytes


async def lead(bus: Bus, holder: str, lease_ms: int, *, of: str = keys.LIMITER) -> int:
    """The epoch in which `holder` decides, prolonged; 0 while another does."""
    leads, epoch = await LEAD.run(bus, (of,), holder, lease_ms)
    return int(epoch) if leads else 0


async def resign(bus: Bus, holder: str, *, of: str = keys.LIMITER) -> None:
    await RESIGN.run(bus, (of,), holder)


async def vacate(bus: Bus) -> None:
    """Whoever decided is known to be dead: nobody need wait for the end of its lease."""
    await bus.hset(keys.LIMITER, mapping={"until": 0, "holder": ""})


async def claim(bus: Bus, request_ids: list[str], epoch: int) -> list[Claimed]:
    """Makes requests those of this epoch and reads their records."""
    calls = [Call(CLAIM, (keys.request(one),), (epoch,)) for one in request_ids]
    found: list[Any] = await run_all(bus, calls)  # Any: a script answers with bytes or numbers
    return [
        Claimed(one, parts[0].decode(), *parts[1:]) if parts else Claimed(one, "", b"", b"", b"")
        for one, parts in zip(request_ids, found, strict=True)
    ]


async def verdict(
    bus: Bus, request_id: str, event: Event, *, epoch: int, new_state: str = ""
) -> bool:
    """Appends a verdict to a request that waits; False when it does not any more.

    Raises Deposed when a newer limiter has claimed it.
    """
    written = await VERDICT.run(
        bus,
        (keys.request(request_id), keys.reply(request_id)),
        epoch,
        EVENT_NAMES[type(event)],
        msgspec.json.encode(event),
        new_state,
    )
    if written < 0:
        raise Deposed
    return bool(written)
