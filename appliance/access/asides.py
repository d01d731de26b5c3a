"""Asking the model on our own account: titles of sessions, tags from conversations.

Such a request has the lowest class, walks the same steps as any other, and may fail: then there
is no answer, and nobody hears of it. It is made in the name of `aside.UID`, so it neither uses up
what the person may use nor takes the place of the person's own question, and shares no cache with
anybody else's.
"""

import asyncio
import contextlib
import time

from appliance import keys
from appliance.access.flow import Flow
from appliance.bus.client import Bus
from appliance.bus.texts import emitted_text
from appliance.clock import now_ms
from appliance.errors import SluiceError
from appliance.schema.requests import ChatMessage, Request
from appliance.schema.sampling import Sampling

DEADLINE_S = 300.0


def aside_uid(uid: str) -> str:
    """The name in which we ask about a person; no uid of a person has a dot."""
    return f"aside.{uid}"


class Asides:
    """Asks one question at a time for its caller."""

    def __init__(self, bus: Bus, flow: Flow) -> None:
        self._bus = bus
        self._flow = flow

    async def ask(
        self, uid: str, *, system: str, text: str, max_tokens: int, grammar: str = ""
    ) -> str:
        """The model's answer, "" when there is none."""
        request = Request(
            id=keys.new_request_id(),
            uid=aside_uid(uid),
            text=text,
            messages=(
                ChatMessage(role="system", content=system, public_chars=len(system)),
                ChatMessage(role="user", content=text),
            ),
            sampling=Sampling(temperature=0, max_tokens=max_tokens, grammar=grammar),
            created_at_ms=now_ms(),
            deadline_at_ms=int(1000 * (time.time() + DEADLINE_S)),
            faq=False,
            priority="background",
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._flow.accept(request)
                async with contextlib.aclosing(self._flow.follow_accepted(request)) as events:
                    async for event in events:
                        if event.event == "done":
                            return await emitted_text(self._bus, request.id)
        except (SluiceError, TimeoutError):
            return ""
        finally:
            await self._forget(request.id, request.uid)
        return ""

    async def _forget(self, request_id: str, uid: str) -> None:
        """What was asked holds a person's words: its record goes at once, unless it still runs."""
        state = await self._bus.hget(keys.request(request_id), "state")
        if state in (b"done", b"failed", b"refused", b"cancelled"):
            await self._bus.delete(keys.request(request_id), keys.reply(request_id))
            await self._bus.zrem(keys.asked(uid), request_id)
