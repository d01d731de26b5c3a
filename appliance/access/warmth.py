"""Conversations in a worker's cache: asking for one to be ready, and having one forgotten.

A person who opens a session will probably ask something in it. The beginning that its next prompt
will have (system prompt, profile, earlier turns as they were sent) can be computed before, so
the answer begins sooner. A deleted session must leave nothing behind: the workers hear of it, and
its snapshots are removed here too, since no worker may be running.
"""

import asyncio
import datetime
import logging
from collections.abc import Callable, Iterable

from appliance import keys
from appliance.access.earlier import EarlierTurns
from appliance.access.profile import Profiles
from appliance.access.prompt import session_prompt
from appliance.bus import warming
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.bus.workers import live_workers
from appliance.schema.conversations import Session
from appliance.schema.requests import ChatMessage, Warming
from appliance.schema.status import WorkerStatus
from appliance.settings import Settings

log = logging.getLogger(__name__)

CONTROL_ENTRIES = 1_000

# KEYS control; ARGV entries field value. A full store takes it, too: what is to be forgotten is
# deleted by then, so nobody would ask for it again.
_TELL = Script("""#!lua flags=allow-oom
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', ARGV[2], ARGV[3])
""")
STAND_IN = "?"  # for the question nobody has asked yet; the prompt is computed up to it


class Warmth:
    """`erase` removes what is on disk of a session; it is called on a thread of its own."""

    def __init__(
        self,
        bus: Bus,
        profiles: Profiles,
        earlier: EarlierTurns,
        *,
        settings: Settings,
        erase: Callable[[str], None],
    ) -> None:
        self._bus = bus
        self._profiles = profiles
        self._earlier = earlier
        self._settings = settings
        self._erase = erase

    async def warm_sessions(self) -> frozenset[str]:
        """Ids of the sessions that some worker has in its cache."""
        return warm_in(await live_workers(self._bus, self._settings.worker.lost_after_s))

    async def ask(self, session: Session) -> None:
        """Have a worker make ready for the session's next question, if none is ready."""
        pool = keys.pool(session.model)
        workers = await live_workers(self._bus, self._settings.worker.lost_after_s)
        if session.id in warm_in(workers) or all(worker.pool != pool for worker in workers):
            return  # ready, or its model is not loaded
        earlier = await self._earlier.of(session.id)
        if earlier.has_open:
            return  # its answer under way warms it
        prompt = session_prompt(
            await self._profiles.peek(session.uid, session.id),
            earlier.turns,
            "",
            (),
            today=datetime.date.min,
        )
        unasked = ChatMessage(role="user", content=STAND_IN)
        wanted = Warming(
            session_id=session.id, uid=session.uid, messages=(*prompt.messages[:-1], unasked)
        )
        await warming.ask(self._bus, wanted, pool=pool)

    async def forget(self, session: Session) -> None:
        """Nothing of the session stays in a worker or on this machine's disk."""
        await self._tell_workers("forget", session.id)
        try:
            await asyncio.to_thread(self._erase, session.id)
        except OSError as error:
            log.error("a snapshot of a deleted session cannot be removed: %s", error)

    async def forget_person(self, uid: str) -> None:
        """Nothing of what a person asked outside of sessions stays in a worker."""
        await self._tell_workers("forget_scope", keys.scope(uid))

    async def _tell_workers(self, word: str, whom: str) -> None:
        for pool in {keys.MAIN, *map(bytes.decode, await self._bus.smembers(keys.POOLS))}:
            await _TELL.run(self._bus, (keys.control(pool),), CONTROL_ENTRIES, word, whom)


def warm_in(workers: Iterable[WorkerStatus]) -> frozenset[str]:
    """Sessions that some of these workers have in their caches."""
    return frozenset(session_id for worker in workers for session_id in worker.warm)
