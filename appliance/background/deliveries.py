"""Tells people unasked: messages whose time has come, and answers whose readers had left.

Both are lists in the store, looked at on a beat. Whatever was cut off is found again and written
once, because every message has a key; any number of these loops may run on one store.
"""

import asyncio
import logging
import time

from appliance import keys
from appliance.access.presence import Presence
from appliance.bus.client import AWAY, Bus
from appliance.clock import now_ms
from appliance.errors import SluiceError
from appliance.people.inbox import OURSELVES, Inbox
from appliance.schema.fields import MAX_TITLE_CHARS
from appliance.schema.inbox import InboxMessage
from appliance.schema.requests import Request

log = logging.getLogger(__name__)

BEAT_S = 3.0
TEXT_CHARS = 500


class Deliveries:
    """`run` is its one task."""

    def __init__(self, bus: Bus, inbox: Inbox, presence: Presence) -> None:
        self._bus = bus
        self._inbox = inbox
        self._presence = presence

    async def run(self) -> None:
        """Delivers until cancelled; a store that is away is tried again."""
        while True:
            started_s = time.monotonic()
            try:
                await self.deliver(now_ms())
            except AWAY as error:
                log.debug("deliveries: store away (%s)", error)
            await asyncio.sleep(max(0.0, BEAT_S - (time.monotonic() - started_s)))

    async def deliver(self, at_ms: int) -> None:
        """Everything that is due at this moment, in bounded portions."""
        if not await self._anything_due(at_ms):
            return
        await self._inbox.deliver_due(at_ms)
        for request in await self._presence.unseen(at_ms):
            try:
                await self._inbox.tell(request.uid, _ready(request), key=f"ready {request.id}")
            except (
                SluiceError
            ) as error:  # its inbox is full; the turn is in the session all the same
                log.info("nobody is told of the answer to %s: %s", request.id, error)
            await self._presence.seen(request.id)

    async def _anything_due(self, at_ms: int) -> bool:
        """One round trip, for this is asked all night."""
        pipeline = self._bus.pipeline(transaction=False)
        pipeline.zcount(keys.SCHEDULED, "-inf", at_ms)
        pipeline.zcount(keys.AWAITED, "-inf", at_ms)
        return any(await pipeline.execute())


def _ready(request: Request) -> InboxMessage:
    return InboxMessage(
        id=keys.new_message_id(),
        kind="answer_ready",
        title=request.text[:MAX_TITLE_CHARS],
        text=request.text[:TEXT_CHARS],
        sender=OURSELVES,
        session_id=request.session_id,
        request_id=request.id,
        sent_at_ms=0,
        expires_at_ms=0,
    )
