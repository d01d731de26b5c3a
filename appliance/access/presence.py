"""Which answers nobody has read to their end: their people left and are told later.

A question in a session puts its request on one list in the store; whoever reads the answer to its
end, on any device and through any access process, takes it off. What is still there a while after
the answer ended was not seen. The list is in the store, so a crash in between forgets nobody.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

import msgspec

from appliance import keys
from appliance.access import asked
from appliance.bus.client import AWAY, Bus
from appliance.bus.replies import StreamEvent, parse_id
from appliance.clock import now_ms
from appliance.schema.requests import TERMINAL_STATES, Request

BATCH = 100


class Presence:
    """Keeps the list of awaited answers."""

    def __init__(self, bus: Bus, left_after_s: float) -> None:
        self._bus = bus
        self._left_after_ms = int(1000 * left_after_s)

    async def expect(self, request: Request) -> None:
        """Somebody will read the answer to this, or has left by its end.

        What is asked outside of sessions is only noted as this person's, while its record is kept.
        """
        if not request.session_id:
            await asked.note(self._bus, request.uid, request.id)
        elif request.priority == "person":
            due_ms = request.created_at_ms + self._left_after_ms
            await self._bus.zadd(keys.AWAITED, {request.id: due_ms})

    async def seen(self, *request_ids: str) -> None:
        """These answers were read to their end."""
        if request_ids:
            await self._bus.zrem(keys.AWAITED, *request_ids)

    async def reading(
        self, request_id: str, events: AsyncGenerator[StreamEvent, None]
    ) -> AsyncGenerator[StreamEvent, None]:
        """The same events; once the last one was taken, the answer counts as seen, unless the store
        takes no writes: then its person is told once too often."""
        async with aclosing(events):
            async for event in events:
                yield event
                if event.terminal:
                    with suppress(*AWAY):
                        await self.seen(request_id)

    async def unseen(self, at_ms: int) -> list[Request]:
        """Requests whose answers to tell of; each stays on the list until it is `seen`.

        Those still being made, or ended just now, are looked at again later.
        """
        due = await self._bus.zrangebyscore(keys.AWAITED, "-inf", at_ms, start=0, num=BATCH)
        found: list[Request] = []
        for raw in due:
            request_id = raw.decode()
            fields = await self._bus.hgetall(keys.request(request_id))
            state = fields.get(b"state", b"").decode()
            if state == "done":
                look_again_ms = await self._ended_ms(request_id) + self._left_after_ms
                if look_again_ms <= at_ms:
                    found.append(msgspec.json.decode(fields[b"body"], type=Request))
                    continue
            elif not state or state in TERMINAL_STATES:
                await self.seen(request_id)
                continue
            else:
                look_again_ms = at_ms + self._left_after_ms
            await self._bus.zadd(keys.AWAITED, {request_id: look_again_ms}, xx=True)
        return found

    async def _ended_ms(self, request_id: str) -> int:
        rows = await self._bus.xrevrange(keys.reply(request_id), count=1)
        return parse_id(rows[0][0].decode())[0] if rows else now_ms()
