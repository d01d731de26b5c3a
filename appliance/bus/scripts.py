"""The atomic steps of a request's life, and with them the delivery contract.

* A request that was accepted reaches exactly one terminal event. Only `END` writes one, and it
  does nothing when the state is terminal already.
* A worker writes only while it holds the request's lease: `END` and `leases.APPEND` compare it in
  the same script that appends. A worker that lost it is told so and drops the sequence.
* Each piece of text is appended once. It carries how many pieces came before it, so a
  command resent after a lost connection changes nothing.
* Store first, then tell: `END` writes the turn before the terminal event.
* Nothing writes into a record that is not there: what was erased does not come back.

States: waiting -> queued -> running -> one of done, failed, refused, cancelled.
On its way to the limiter a request may be `loading`, which means that it waits for its model.
`queued` means admitted; a worker may take it as soon as its entry stands in the work stream.
From there to the end see `leases`. All keys of one script share one hash tag.
"""

from collections.abc import Sequence

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.schema.answers import Usage
from appliance.schema.events import EVENT_NAMES, Done, Event
from appliance.schema.requests import TERMINAL_STATES, Request

_TERMINAL = "{" + ",".join(f"{state}=true" for state in TERMINAL_STATES) + "}"

# KEYS request reply turns turn session
# ARGV rid body created_ms received_json question_json turns_kept deadline_ms
# A turn that leaves at the bound takes its request's record along.
SUBMIT = Script(
    "local terminal = "
    + _TERMINAL
    + """
local function of(key, id) return string.sub(key, 1, -#ARGV[1] - 1) .. id end
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'body', ARGV[2], 'state', 'waiting', 'attempt', 0, 'emitted', 0,
  'deadline', ARGV[7])
redis.call('XADD', KEYS[2], '*', 'event', 'received', 'data', ARGV[4])
if ARGV[5] ~= '' then
  if redis.call('EXISTS', KEYS[5]) == 0 then
    redis.call('DEL', KEYS[1], KEYS[2])
    return -1
  end
  redis.call('HSET', KEYS[5], 'last_active_at_ms', ARGV[3])
  redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
  redis.call('HSET', KEYS[4], ARGV[1] .. ':question', ARGV[5])
  local excess = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[6])
  if excess > 0 then
    for _, old in ipairs(redis.call('ZRANGE', KEYS[3], 0, excess - 1)) do
      redis.call('ZREM', KEYS[3], old)
      redis.call('HDEL', KEYS[4], old .. ':question', old .. ':sent', old .. ':answer',
        old .. ':feedback')
      if terminal[redis.call('HGET', of(KEYS[1], old), 'state')] then
        redis.call('DEL', of(KEYS[1], old), of(KEYS[2], old))
      end
    end
  end
end
return 1
"""
)

# KEYS request reply; ARGV state_required event data new_state
TELL = Script("""
if redis.call('HGET', KEYS[1], 'state') ~= ARGV[1] then return 0 end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'state', ARGV[4]) end
redis.call('XADD', KEYS[2], '*', 'event', ARGV[2], 'data', ARGV[3])
return 1
""")

# KEYS request reply turns turn; ARGV rid event data sent_json: before the work is handed over
RETRIEVED = Script("""
if redis.call('HGET', KEYS[1], 'state') ~= 'queued' then return 0 end
if redis.call('HSETNX', KEYS[1], 'retrieved', 1) == 1 then
  redis.call('XADD', KEYS[2], '*', 'event', ARGV[2], 'data', ARGV[3])
end
if redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  redis.call('HSET', KEYS[4], ARGV[1] .. ':sent', ARGV[4])
end
return 1
""")

# KEYS request reply turns turn tokens
# ARGV rid lease event data state ttl answer_json usage_json epoch sent_json (event data)...
# What an answer without a worker says comes with its end: the events at the end of ARGV.
# The lease '' belongs to everybody but a worker, and ends only what no worker holds.
# `epoch` is a limiter's, which must be the newest, or ''.
# Returns 1, 0 when it has ended before, -1 when lease or epoch are another's.
END = Script(
    """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local terminal = """
    + _TERMINAL
    + """
local found = redis.call('HMGET', KEYS[1], 'state', 'lease', 'until', 'epoch')
if not found[1] or terminal[found[1]] then return 0 end
if ARGV[9] ~= '' and tonumber(found[4] or 0) > tonumber(ARGV[9]) then return -1 end
if (found[2] or '') ~= ARGV[2] or (found[2] and now > tonumber(found[3])) then return -1 end
if ARGV[7] ~= '' and redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  redis.call('HSET', KEYS[4], ARGV[1] .. ':answer', ARGV[7])
end
if ARGV[10] ~= '' and redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  redis.call('HSET', KEYS[4], ARGV[1] .. ':sent', ARGV[10])
end
for i = 11, #ARGV, 2 do
  if ARGV[i] ~= 'retrieved' or redis.call('HSETNX', KEYS[1], 'retrieved', 1) == 1 then
    redis.call('XADD', KEYS[2], '*', 'event', ARGV[i], 'data', ARGV[i + 1])
  end
end
redis.call('XADD', KEYS[2], '*', 'event', ARGV[3], 'data', ARGV[4])
redis.call('HSET', KEYS[1], 'state', ARGV[5], 'usage', ARGV[8])
redis.call('HDEL', KEYS[1], 'lease', 'until', 'waits')
redis.call('DEL', KEYS[5])
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return 1
"""
)

# KEYS request; ARGV field value. Returns 0 once it has ended or is gone.
NOTE = Script(
    "local terminal = "
    + _TERMINAL
    + """
local state = redis.call('HGET', KEYS[1], 'state')
if not state or terminal[state] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
)

# KEYS request; asks for cancellation. Returns the state before.
CANCEL = Script("""
local state = redis.call('HGET', KEYS[1], 'state')
if state then redis.call('HSET', KEYS[1], 'cancel', 1) end
return state
""")


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


async def submit(
    bus: Bus, request: Request, received: Event, *, turns_kept: int, question: bytes = b""
) -> int:
    """Stores an accepted request with its first event and its turn.

    Returns 1 when stored, 0 when it was stored before, -1 when its session does not exist.
    """
    tag = keys.tag(request.id)
    found = await SUBMIT.run(
        bus,
        (
            keys.request(request.id),
            keys.reply(request.id),
            keys.turns(tag),
            keys.turn(tag),
            keys.session(tag),
        ),
        request.id,
        _json(request),
        request.created_at_ms,
        _json(received),
        question,
        turns_kept,
        request.deadline_at_ms,
    )
    return int(found)


async def tell(
    bus: Bus, request_id: str, event: Event, *, while_state: str, new_state: str = ""
) -> bool:
    """Appends an event while the request is in `while_state`, and may move it on."""
    return bool(
        await TELL.run(
            bus,
            (keys.request(request_id), keys.reply(request_id)),
            while_state,
            EVENT_NAMES[type(event)],
            _json(event),
            new_state,
        )
    )


async def retrieved(bus: Bus, request_id: str, event: Event, sent: bytes) -> bool:
    """Tells what retrieval found and stores what the model will see; False once it has ended."""
    tag = keys.tag(request_id)
    return bool(
        await RETRIEVED.run(
            bus,
            (keys.request(request_id), keys.reply(request_id), keys.turns(tag), keys.turn(tag)),
            request_id,
            EVENT_NAMES[type(event)],
            _json(event),
            sent,
        )
    )


async def end(
    bus: Bus,
    request_id: str,
    event: Event,
    *,
    ttl_s: int,
    held: str = "",
    text: str = "",
    usage: Usage | None = None,
    epoch: int | None = None,
    sent: bytes = b"",
    before: Sequence[Event] = (),
) -> bool:
    """Writes the one terminal event, the turn first. False when it was too late or not ours.

    `before` are the events of an answer that no worker gives; they appear with its end or never.
    """
    name = EVENT_NAMES[type(event)]
    tag = keys.tag(request_id)
    answer: dict[str, object] = {"state": name, "text": text, "usage": usage}
    if isinstance(event, Done):
        answer |= {"decision": event.decision, "citations": event.citations}
    written = await END.run(
        bus,
        (
            keys.request(request_id),
            keys.reply(request_id),
            keys.turns(tag),
            keys.turn(tag),
            keys.tokens(request_id),
        ),
        request_id,
        held,
        name,
        _json(event),
        name,
        ttl_s,
        _json(answer),
        _json(usage),
        "" if epoch is None else epoch,
        sent,
        *(part for one in before for part in (EVENT_NAMES[type(one)], _json(one))),
    )
    return int(written) == 1


async def note(bus: Bus, request_id: str, field: str, value: str | bytes) -> bool:
    """Writes a field of an open request's record; False, and nothing, when it is not open."""
    return bool(await NOTE.run(bus, (keys.request(request_id),), field, value))


async def ask_cancel(bus: Bus, request_id: str) -> str:
    """Marks a request as unwanted and returns its state before, '' when there is none."""
    state = await CANCEL.run(bus, (keys.request(request_id),))
    return state.decode() if state else ""
