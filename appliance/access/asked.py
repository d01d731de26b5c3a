"""Which requests of a person no session leads to: those asked outside of one, or in a deleted one.

Their records hold the person's words for a while, so whoever shows or erases what there is of a
person looks here. An id may outlive its record.
"""

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.schema.requests import Request

KEPT_MS = 2 * 86_400_000  # a record lasts its deadline and `requests.reply_ttl_s`, mostly less

# KEYS asked; ARGV at_ms before_ms kept_ms request_id... A full store takes it, too: a session is
# deleted to make room.
_NOTE = Script("""#!lua flags=allow-oom
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
for i = 4, #ARGV do redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
""")
# KEYS asked; ARGV: all of them
_ALL = Script("return redis.call('ZRANGE', KEYS[1], 0, -1)")


async def note(bus: Bus, uid: str, *request_ids: str) -> None:
    """These are this person's."""
    at_ms = now_ms()
    names = (keys.asked(uid),)
    await _NOTE.run(bus, names, at_ms, at_ms - KEPT_MS, KEPT_MS, *request_ids)


async def of(bus: Bus, uid: str) -> list[Request]:
    """Those that are still kept, the oldest first."""
    found: list[Request] = []
    for raw in await _ALL.run(bus, (keys.asked(uid),)):
        body = await bus.hget(keys.request(raw.decode()), "body")
        if body:
            found.append(msgspec.json.decode(body, type=Request))
    return found
