"""Reading back what a reply stream has said."""

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.schema.events import Delta

BATCH = 1_000


async def emitted_text(bus: Bus, request_id: str) -> str:
    """All text of a request so far, over all attempts."""
    parts: list[str] = []
    cursor = "-"
    while True:
        rows = await bus.xrange(keys.reply(request_id), cursor, "+", BATCH)
        parts += [
            msgspec.json.decode(fields[b"data"], type=Delta).text
            for _, fields in rows
            if fields[b"event"] == b"delta"
        ]
        if len(rows) < BATCH:
            return "".join(parts)
        cursor = f"({rows[-1][0].decode()}"
