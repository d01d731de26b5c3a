"""Warming: a session that somebody opened is put where an idle worker finds it.

It is a favour, not a duty: the stream is short, an entry may be lost with its worker, and a
session has at most one entry that waits. Nothing is told when it is done; a worker's report names
the sessions it has warm.
"""

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.schema.requests import Warming

STREAM_ENTRIES = 64
WAITS_S = 60  # after that a session may be asked for again


async def ask(bus: Bus, warming: Warming, *, pool: str) -> bool:
    """Ask for a session to be warm. False when it is being asked for already."""
    name = keys.warming(warming.session_id)
    if not await bus.set(name, 1, nx=True, ex=WAITS_S):
        return False
    await bus.xadd(
        keys.warm(pool),
        {"warming": msgspec.json.encode(warming)},
        maxlen=STREAM_ENTRIES,
        approximate=False,
    )
    return True


async def done(bus: Bus, session_id: str) -> None:
    """It is warm, or will not be: it may be asked for again."""
    await bus.delete(keys.warming(session_id))
