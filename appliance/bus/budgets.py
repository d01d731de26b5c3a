"""Users' budgets as they are kept in Valkey: reserve, settle and refund, each one atomic script.

`budget:UID` holds what each open request has reserved (`h:RID`), and what ended ones have used, in
parts of a second for the limits per minute (`r:SECOND` requests, `t:SECOND` tokens) and in parts
of 24 minutes for the day (`d:PART`). A request is settled by taking its reservation away, so doing
it twice changes nothing. The limiter decides in memory and writes here; its successor claims the
account as it reads it, and from then on a limiter of an older epoch is told that it is deposed.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.leadership import Deposed
from appliance.bus.script import Script

DAY_PART_S = 1_440
DAY_S = 86_400
MINUTE_S = 60
KEPT_S = DAY_S + 2 * DAY_PART_S

_CURRENT = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if tonumber(epoch or 0) > tonumber(ARGV[1]) then return -1 end
"""

# KEYS budget; ARGV epoch rid tokens kept_s
RESERVE = Script(
    _CURRENT
    + """
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'h:' .. ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
"""
)

# KEYS budget; ARGV epoch rid tokens kept_s minute_s day_s part_s fields_kept
SETTLE = Script(
    _CURRENT
    + """
if redis.call('HDEL', KEYS[1], 'h:' .. ARGV[2]) == 0 then return 0 end
local now = tonumber(redis.call('TIME')[1])
local part = math.floor(now / ARGV[7])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
redis.call('HINCRBY', KEYS[1], 'r:' .. now, 1)
redis.call('HINCRBY', KEYS[1], 't:' .. now, ARGV[3])
redis.call('HINCRBY', KEYS[1], 'd:' .. part, ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[8]) then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local kind, number = string.match(field, '^([rtd]):(%d+)$')
    local old = kind == 'd' and part - ARGV[6] / ARGV[7] - 1 or now - ARGV[5] - 1
    if kind and tonumber(number) < old then redis.call('HDEL', KEYS[1], field) end
  end
end
return 1
"""
)

# KEYS budget; ARGV epoch rid
REFUND = Script(_CURRENT + "return redis.call('HDEL', KEYS[1], 'h:' .. ARGV[2])")

# KEYS budget; ARGV epoch rid. Returns 1 when there is a reservation.
HOLDS = Script(_CURRENT + "return redis.call('HEXISTS', KEYS[1], 'h:' .. ARGV[2])")

# KEYS budget; ARGV epoch kept_s. Returns the whole account, names and values in turn
CLAIM = Script(
    _CURRENT
    + """
redis.call('HSET', KEYS[1], 'epoch', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('HGETALL', KEYS[1])
"""
)

FIELDS_KEPT = 400


@dataclass(frozen=True, slots=True)
class Spent:
    """What was used within one part of the time, which ended `ago_s` seconds ago or is not over."""

    amount: int
    ago_s: float


@dataclass(frozen=True, slots=True)
class Account:
    """What is reserved and was used by one user. `holds` are tokens by request."""

    holds: dict[str, int]
    requests: tuple[Spent, ...]
    tokens: tuple[Spent, ...]
    day: tuple[Spent, ...]


async def reserve(bus: Bus, uid: str, request_id: str, tokens: int, *, epoch: int) -> None:
    """This and all that follow raise Deposed when a newer limiter keeps the account."""
    _current(await RESERVE.run(bus, (keys.budget(uid),), epoch, request_id, tokens, KEPT_S))


async def holds(bus: Bus, uid: str, request_id: str, *, epoch: int) -> bool:
    """Whether a request has a reservation; one that was settled or refunded has none any more."""
    return _current(await HOLDS.run(bus, (keys.budget(uid),), epoch, request_id)) == 1


async def settle(bus: Bus, uid: str, request_id: str, tokens: int, *, epoch: int) -> bool:
    """False when nothing is reserved for this request: it was settled before."""
    arguments = (epoch, request_id, tokens, KEPT_S, MINUTE_S, DAY_S, DAY_PART_S, FIELDS_KEPT)
    return _current(await SETTLE.run(bus, (keys.budget(uid),), *arguments)) == 1


async def refund(bus: Bus, uid: str, request_id: str, *, epoch: int) -> None:
    _current(await REFUND.run(bus, (keys.budget(uid),), epoch, request_id))


async def claim(bus: Bus, uid: str, *, epoch: int) -> Account:
    """The user's account, from now on kept by this epoch's limiter alone."""
    found = await CLAIM.run(bus, (keys.budget(uid),), epoch, KEPT_S)
    if not isinstance(found, list):
        raise Deposed
    return _account(dict(zip(found[::2], found[1::2], strict=True)))


async def account(bus: Bus, uid: str) -> Account:
    """The user's account now, oldest parts first; an unknown user's is empty."""
    return _account(await bus.hgetall(keys.budget(uid)))


def _current(answer: int) -> int:
    if answer < 0:
        raise Deposed
    return answer


def _account(raw: Mapping[bytes, bytes]) -> Account:
    fields = {name.decode(): value for name, value in raw.items()}
    now_s = time.time()

    def spent(kind: str, part_s: int, period_s: int) -> tuple[Spent, ...]:
        parts = [
            Spent(int(value), now_s - (int(name[2:]) + 1) * part_s)
            for name, value in fields.items()
            if name.startswith(kind)
        ]
        within = (one for one in parts if one.ago_s < period_s)
        return tuple(sorted(within, key=lambda one: -one.ago_s))

    return Account(
        holds={name[2:]: int(value) for name, value in fields.items() if name.startswith("h:")},
        requests=spent("r:", 1, MINUTE_S),
        tokens=spent("t:", 1, MINUTE_S),
        day=spent("d:", DAY_PART_S, DAY_S),
    )
