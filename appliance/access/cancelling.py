"""Ending what nobody wants any more: a request, or a session with all that it still asks for.

A request that no worker has ends here and now. One that a worker has is only asked to end: the
worker hears of it within one step of its engine and writes the end itself.
"""

import contextlib
import logging
from functools import partial

import msgspec

from appliance import keys
from appliance.access import asked
from appliance.access.warmth import Warmth
from appliance.bus import scripts
from appliance.bus.client import Bus
from appliance.bus.notices import Notice, notify
from appliance.bus.outage import until_back
from appliance.bus.texts import emitted_text
from appliance.errors import Conflict, NotFound, SluiceError
from appliance.fleet.loader import Loader
from appliance.people.sessions import Sessions
from appliance.people.turns import Turns
from appliance.schema.conversations import Session
from appliance.schema.events import Cancelled
from appliance.schema.requests import TERMINAL_STATES, Request

log = logging.getLogger(__name__)

CONTROL_ENTRIES = 1_000


class Cancelling:
    """Cancels requests and removes sessions. It keeps nothing."""

    def __init__(
        self,
        bus: Bus,
        loader: Loader,
        *,
        sessions: Sessions,
        turns: Turns,
        warmth: Warmth,
        reply_ttl_s: int,
    ) -> None:
        self._bus = bus
        self._loader = loader
        self._sessions = sessions
        self._turns = turns
        self._warmth = warmth
        self._reply_ttl_s = reply_ttl_s

    async def cancel(self, request_id: str, reason: str = "asked") -> None:
        """Ends the request now, or within one engine step when a worker has it.

        Raises NotFound for an unknown request, Conflict for one that has ended.
        """
        state = await scripts.ask_cancel(self._bus, request_id)
        if not state:
            raise unknown(request_id)
        if state in TERMINAL_STATES:
            raise Conflict(
                f"request {request_id} has ended as {state}",
                hint="nothing to do",
                reason="request_ended",
            )
        ended = state in ("waiting", "loading", "queued") and await scripts.end(
            self._bus,
            request_id,
            Cancelled(reason=reason),
            ttl_s=self._reply_ttl_s,
            text=await emitted_text(self._bus, request_id),  # of a worker that is gone
        )
        if ended:
            self._loader.forget(request_id)
            await notify(self._bus, Notice(kind="ended", request_id=request_id))
        else:
            await self._ask_worker(request_id)

    async def abandon(self, request_id: str) -> None:
        """Cancels what nobody reads any more, however long the store is away."""
        try:
            await until_back(partial(self.cancel, request_id, "abandoned"))
        except SluiceError as error:
            log.info("request %s was abandoned too late: %s", request_id, error)

    async def delete_session(self, session: Session) -> None:
        """Cancels what the session still asks for, then removes it with its turns. Records of its
        requests are kept for a while, and are found by whoever erases the person."""
        states = await self._turns.states(session.id)
        for request_id, state in states.items():
            if state not in TERMINAL_STATES:
                with contextlib.suppress(Conflict, NotFound):
                    await self.cancel(request_id, "session deleted")
        if states:
            await asked.note(self._bus, session.uid, *states)
        await self._sessions.delete(session)
        await self._warmth.forget(session)

    async def _ask_worker(self, request_id: str) -> None:
        """Tells the workers of its pool; the one that has the request ends it."""
        body = await self._bus.hget(keys.request(request_id), "body")
        model = msgspec.json.decode(body, type=Request).model if body else ""
        await self._bus.xadd(
            keys.control(keys.pool(model)),
            {"cancel": request_id},
            maxlen=CONTROL_ENTRIES,
            approximate=True,
        )


def unknown(request_id: str) -> NotFound:
    """What is said of a request of which nothing is kept."""
    return NotFound(
        f"no request {request_id}",
        hint="a finished request is kept for requests.reply_ttl_s; its turn stays",
        reason="no_request",
    )
