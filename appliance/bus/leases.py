"""Who may write a request: leases that expire, their renewal, and what the death of a holder means.

A lease names the worker and the attempt, and lasts until a moment on the store's own clock; no
client's clock counts. `TAKE` gives it, `APPEND` and `RENEW` prolong it, and nothing is written
without it or after its end: it is compared in the script that writes. `RELEASE` takes it away,
after its end or when the caller knows that the holder's process is gone.

Who killed the worker? Everything it was computing is a suspect after its death. A suspect is
tried: it starts when all others in a worker have proven themselves, and until it has too,
nothing else starts (see `worker.serve`). If the worker dies again before it has added
`TRIAL_PIECES` to its answer, it died twice at the same place and is guilty. Bystanders pass
their trial in about a second and go on. One that kills later than that has no witness: after
`attempts` deaths it runs all alone, and the next death is its own.

`leases:POOL` lists what is held by the end of the lease. It only nominates: the record decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Call, Script
from appliance.schema.events import Delta

TRIAL_PIECES = 8
TOKEN_BYTES = 4

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS leases; ARGV most. Returns request ids
OVER = Script(
    _NOW + "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])"
)

# KEYS request; ARGV worker lease_ms entry model. Returns {outcome, attempt, emitted, model}
TAKE = Script(
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1],
  'state', 'lease', 'until', 'entry', 'attempt', 'emitted', 'cancel', 'model')
local state = found[1]
if not state then return {'gone', 0, 0, ''} end
local attempt, emitted, model = tonumber(found[5]), tonumber(found[6]), found[8]
if state == 'running' then
  local ours = found[4] == ARGV[3] and string.sub(found[2], 1, #ARGV[1] + 1) == ARGV[1] .. ':'
  if not ours then return {'running', attempt, emitted, ''} end
  if now > tonumber(found[3]) then return {'lost', attempt, emitted, ''} end
elseif state == 'queued' then
  attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
  if emitted == 0 then model = ARGV[4] end
  redis.call('HSET', KEYS[1], 'state', 'running', 'lease', ARGV[1] .. ':' .. attempt,
    'until', now + ARGV[2], 'entry', ARGV[3], 'model', model)
else
  return {state, attempt, emitted, ''}
end
return {found[7] and 'cancel' or 'taken', attempt, emitted, model}
"""
)

# KEYS request reply tokens; ARGV lease lease_ms before tokens_before tokens data...
# Returns 1, 0 when the lease is not held, -1 when pieces before these are missing.
APPEND = Script(
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'lease', 'until', 'emitted')
if found[1] ~= ARGV[1] or now > tonumber(found[2]) then return 0 end
local emitted, position = tonumber(found[3]), tonumber(ARGV[3])
if position > emitted then return -1 end
for i = 6, #ARGV do
  if position >= emitted then
    redis.call('XADD', KEYS[2], '*', 'event', 'delta', 'data', ARGV[i])
    emitted = position + 1
  end
  position = position + 1
end
if #ARGV[5] > 0 then redis.call('SETRANGE', KEYS[3], ARGV[4] * 4, ARGV[5]) end
redis.call('HSET', KEYS[1], 'emitted', emitted, 'until', now + ARGV[2])
return 1
"""
)

# KEYS request; ARGV lease lease_ms waits. Returns {until_ms, cancelled}, {0, 0} without the lease
RENEW = Script(
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'lease', 'until', 'cancel')
if found[1] ~= ARGV[1] or now > tonumber(found[2]) then return {0, 0} end
redis.call('HSET', KEYS[1], 'until', now + ARGV[2])
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'waits', 1)
else redis.call('HDEL', KEYS[1], 'waits') end
return {now + ARGV[2], found[3] and 1 or 0}
"""
)

# KEYS request; ARGV lease gone died attempts trial_pieces
# Returns {outcome, attempt, deaths, guilty, cancelled, until_ms, entry}
RELEASE = Script(
    _NOW
    + """
local found = redis.call('HMGET', KEYS[1], 'state', 'lease', 'until', 'attempt', 'deaths',
  'guilty', 'cancel', 'entry', 'emitted', 'died_at', 'waits')
local state, deaths = found[1], tonumber(found[5] or 0)
local outcome, guilty = state or 'gone', found[6]
if state == 'running' then
  if found[2] ~= ARGV[1] then
    outcome = 'foreign'
  elseif ARGV[2] == '1' or now > tonumber(found[3]) then
    outcome = 'queued'
    redis.call('HDEL', KEYS[1], 'lease', 'until', 'waits')
    redis.call('HSET', KEYS[1], 'state', 'queued')
    if ARGV[3] == '1' and not found[11] then
      deaths = deaths + 1
      local emitted, tried = tonumber(found[9]), found[10]
      local same_place = tried and emitted < tried + ARGV[5]
      if deaths >= tonumber(ARGV[4]) and (same_place or deaths > tonumber(ARGV[4])) then
        guilty = '1'
        redis.call('HSET', KEYS[1], 'guilty', 1)
      end
      redis.call('HSET', KEYS[1], 'deaths', deaths, 'died_at', emitted)
    end
  end
end
return {outcome, tonumber(found[4] or 0), deaths, guilty and 1 or 0, found[7] and 1 or 0,
  tonumber(found[3] or 0), found[8] or ''}
"""
)


@dataclass(frozen=True, slots=True)
class Taken:
    """Outcome of TAKE: `taken`, `cancel`, `gone`, `lost` or the state that forbade it.

    `lost` is our own lease from a call whose reply was lost, and it is over. `emitted` counts
    the pieces of text that earlier attempts have written, with the tokens of `model`.
    """

    outcome: str
    attempt: int
    emitted: int
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of a request whose holder is gone.

    `outcome`: `queued` (it may run again: released now, or before), `running` (the lease is not
    over), `foreign` (another holds it), `gone`, or the terminal state it had reached.
    """

    outcome: Literal[
        "queued", "running", "foreign", "gone", "done", "failed", "refused", "cancelled"
    ]
    attempt: int
    deaths: int
    guilty: bool
    cancelled: bool
    until_ms: int
    entry: str


@dataclass(frozen=True, slots=True)
class Holder:
    """What the releaser knows of the holder: that its process is `gone`, that it `died` at work."""

    gone: bool
    died: bool


def lease(worker_id: str, attempt: int) -> str:
    return f"{worker_id}:{attempt}"


async def take(
    bus: Bus, request_id: str, worker_id: str, *, entry: str, lease_ms: int, model: str
) -> Taken:
    """Gives a queued request to a worker under a new lease; the same call again changes nothing."""
    outcome, attempt, emitted, whose = await TAKE.run(
        bus, (keys.request(request_id),), worker_id, lease_ms, entry, model
    )
    return Taken(outcome.decode(), int(attempt), int(emitted), whose.decode())


def append(
    request_id: str,
    held: str,
    *,
    lease_ms: int,
    before: int,
    deltas: Sequence[Delta],
    tokens_before: int = 0,
    tokens: Sequence[int] = (),
) -> Call:
    """An APPEND: pieces of the answer, and the tokens that made them.

    `before` and `tokens_before` count what this request has had so far over all attempts, so
    a call that is sent again changes nothing.
    """
    return Call(
        APPEND,
        (keys.request(request_id), keys.reply(request_id), keys.tokens(request_id)),
        (
            held,
            lease_ms,
            before,
            tokens_before,
            packed(tokens),
            *(msgspec.json.encode(delta) for delta in deltas),
        ),
    )


def renew(request_id: str, held: str, *, lease_ms: int, waits: bool) -> Call:
    """A RENEW; `waits` says that no step of the engine has had this request yet."""
    return Call(RENEW, (keys.request(request_id),), (held, lease_ms, "1" if waits else ""))


async def over(bus: Bus, pool: str, *, most: int) -> list[str]:
    """Requests that are listed past their time, the longest past first."""
    return [raw.decode() for raw in await OVER.run(bus, (keys.leases(pool),), most)]


async def release(
    bus: Bus, request_id: str, held: str, *, holder: Holder, attempts: int
) -> Released:
    """Takes a running request back, if its lease is over or its holder gone; it is queued again."""
    found = await RELEASE.run(
        bus,
        (keys.request(request_id),),
        *(held, "1" if holder.gone else "", "1" if holder.died else "", attempts, TRIAL_PIECES),
    )
    return Released(
        outcome=found[0].decode(),
        attempt=int(found[1]),
        deaths=int(found[2]),
        guilty=bool(found[3]),
        cancelled=bool(found[4]),
        until_ms=int(found[5]),
        entry=found[6].decode(),
    )


def packed(tokens: Sequence[int]) -> bytes:
    """Tokens as the record `tokens:…` keeps them: unsigned, 4 bytes each, little-endian."""
    return b"".join(token.to_bytes(TOKEN_BYTES, "little") for token in tokens)


def unpacked(stored: bytes) -> tuple[int, ...]:
    return tuple(
        int.from_bytes(stored[at : at + TOKEN_BYTES], "little")
        for at in range(0, len(stored), TOKEN_BYTES)
    )
