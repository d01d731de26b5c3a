"""Answers that a person gave later: a turn of their own at the end of the session they belong to.

It is written by the scripts of every other turn, as a request that ends at once, so any device can
follow it and the next prompt goes on from it. Its id is made from the question's and the answer,
so the same answer written again is the same turn.
"""

import hashlib

import msgspec

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.errors import NotFound
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Sent
from appliance.schema.answers import Timings, Usage
from appliance.schema.events import Delta, Done, Received, Retrieved
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling

MODEL = "person"
"""What `done.model` names."""


class LateAnswers:
    """Adds such turns. It keeps nothing."""

    def __init__(self, bus: Bus, sessions: Sessions, *, turns_kept: int, reply_ttl_s: int) -> None:
        self._bus = bus
        self._sessions = sessions
        self._turns_kept = turns_kept
        self._reply_ttl_s = reply_ttl_s

    async def add(self, session_id: str, asked_id: str, question: str, answer: str) -> str:
        """The id of the turn that answers what the request `asked_id` asked; "" when its session
        is gone."""
        try:
            session = await self._sessions.read(session_id)
        except NotFound:
            return ""
        at_ms, turn_id = now_ms(), f"{session_id}-{_digest(asked_id, answer)}"
        if await self._bus.hexists(keys.turn(session_id), f"{turn_id}:answer"):
            return turn_id  # it was given before, and is not news again
        request = Request(
            id=turn_id,
            uid=session.uid,
            text=question,
            sampling=Sampling(),
            created_at_ms=at_ms,
            deadline_at_ms=at_ms,
            session_id=session_id,
            faq=False,
        )
        stored = await scripts.submit(
            self._bus,
            request,
            Received(request_id=request.id, session_id=session_id, created_at_ms=at_ms),
            turns_kept=self._turns_kept,
            question=msgspec.json.encode(Asked(text=question, created_at_ms=at_ms)),
        )
        if stored < 0:
            return ""
        done = Done(
            finish_reason="stop", model=MODEL, usage=Usage(), timings=Timings(), decision="person"
        )
        await scripts.end(
            self._bus,
            request.id,
            done,
            ttl_s=self._reply_ttl_s,
            text=answer,
            usage=done.usage,
            sent=msgspec.json.encode(Sent(text="")),
            before=(Retrieved(matches=(), decision="person"), Delta(text=answer)),
        )
        await self._sessions.touch(session, at_ms)
        return turn_id


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
