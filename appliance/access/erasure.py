"""Everything that is held about a person: to be seen, and to be erased.

What is kept of people is in keys named for them, in their sessions, in the records of their
requests, and in lists of the operator's (dead letters, misses). Erasing cancels what still runs,
waits for its end, removes all of it here and on disk, and has the store write its file anew, for
an append-only file keeps what was deleted. What the person begins meanwhile goes, too: it looks
again until there is nothing, and once more when the person's keys are gone. It may be repeated,
and goes on where it was cut off.

A missed question goes when nobody else has asked it in these words. What the operator has made of
it stays, for it is the operator's: an entry's phrasing, a regression question, and until it expires
the message in which those named in the settings were told that a question waits.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from appliance import keys
from appliance.access import asked
from appliance.access.asides import aside_uid
from appliance.access.cancelling import Cancelling
from appliance.access.flow import People
from appliance.bus import work
from appliance.bus.client import Bus, RedisFault
from appliance.bus.dead_letters import DeadLetters
from appliance.bus.texts import emitted_text
from appliance.clock import now_ms
from appliance.errors import Conflict, NotFound, Unavailable
from appliance.people.api_keys import ApiKeys
from appliance.people.inbox import Inbox
from appliance.schema.conversations import Session, Turn
from appliance.schema.people import Erased
from appliance.schema.requests import TERMINAL_STATES, ChatMessage, Request

BATCH = 200
END_TIMEOUT_S = 10.0
END_BEAT_S = 0.05
ROUNDS = int(END_TIMEOUT_S / END_BEAT_S)
LETTERS = 100_000
WRITTEN_AFTER_MS = 60_000  # whoever lists a session writes it within this time

Forget = Callable[[str], Awaitable[object]]


@dataclass(frozen=True)
class _Gone:
    """Ids of what was removed."""

    sessions: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)


class Erasure:
    """Exports and erases people. `more` forget a person elsewhere."""

    def __init__(
        self,
        bus: Bus,
        cancelling: Cancelling,
        people: People,
        inbox: Inbox,
        *,
        api_keys: ApiKeys,
        dead_letters: DeadLetters,
        more: tuple[Forget, ...] = (),
        asked_in_vain: Callable[[str], list[str]] = lambda uid: [],
    ) -> None:
        self._bus = bus
        self._cancelling = cancelling
        self._people = people
        self._inbox = inbox
        self._api_keys = api_keys
        self._dead_letters = dead_letters
        self._more = more
        self._asked_in_vain = asked_in_vain

    # -- seeing

    async def export(self, uid: str) -> AsyncIterator[bytes]:
        """One JSON object in pieces: profile, inbox, keys, requests, then session after session."""
        user = await self._people.users.find(uid)
        page = await self._inbox.page(uid, cursor=None, limit=100_000)
        held = {
            "uid": uid,
            "exported_at_ms": now_ms(),
            "user": user,
            "tags_taken_off": await self._people.users.taken_off(uid),
            "inbox": page.items,
            "inbox_waiting": await self._inbox.waiting(uid),
            "keys": [key for key in await self._api_keys.all() if key.uid == uid],
            "dead_letters": [
                letter
                for letter in await self._dead_letters.newest(0, LETTERS)
                if letter.uid == uid
            ],
            "asked_in_vain": self._asked_in_vain(uid),
            "requests": [await self._with_answer(one) for one in await asked.of(self._bus, uid)],
        }
        yield msgspec.json.encode(held)[:-1] + b',"sessions":['
        separator = b""
        async for session in self._people.sessions.every(uid, batch=BATCH):
            turns = [turn async for turn in self._people.turns.every(session.id, batch=BATCH)]
            kept = {"session": session, "turns": turns} | await self._beside(session, turns)
            yield separator + msgspec.json.encode(kept)
            separator = b","
        yield b"]}"

    async def _with_answer(self, request: Request) -> dict[str, object]:
        feedback = await self._bus.hget(keys.request(request.id), "feedback")
        return {
            "id": request.id,
            "created_at_ms": request.created_at_ms,
            "messages": request.messages or (ChatMessage(role="user", content=request.text),),
            "answer": await emitted_text(self._bus, request.id),
            "feedback": msgspec.Raw(feedback or b"null"),
        }

    async def _beside(self, session: Session, turns: Sequence[Turn]) -> dict[str, object]:
        """What its prompts begin with, and what the person thought of its answers, by turn."""
        frozen = await self._bus.hget(keys.session(session.id), "frozen")
        thought: dict[str, object] = {}
        for turn in turns:
            feedback = await self._bus.hget(keys.turn(session.id), f"{turn.id}:feedback")
            if feedback:
                thought[turn.id] = msgspec.Raw(feedback)
        return {"frozen": msgspec.Raw(frozen or b"null"), "feedback": thought}

    # -- erasing

    async def erase(self, uid: str) -> Erased:
        """Removes everything. Raises Unavailable when an answer would not end: try again."""
        names, gone = (uid, aside_uid(uid)), _Gone()
        await self._remove_asked(uid, gone)
        erased_keys = await self._api_keys.erase(uid)  # not before: a person may have to try again
        await self._remove_asked(uid, gone)  # what came with them meanwhile
        letters = await self._drop_letters(uid)
        messages = await self._count(uid)
        await self._inbox.erase(uid)
        await self._people.users.erase(uid)
        for forget in self._more:
            for name in names:
                await forget(name)
        for name in names:
            await self._bus.delete(keys.asked(name), keys.budget(name), keys.window(name))
        erased = Erased(
            uid=uid,
            sessions=len(gone.sessions),
            requests=len(gone.requests),
            messages=messages,
            dead_letters=letters,
            keys=erased_keys,
        )
        await self._unnamed(uid)
        with contextlib.suppress(RedisFault):  # it writes already, or is not ours to command
            await self._bus.bgrewriteaof()
        return erased

    async def _remove_asked(self, uid: str, gone: _Gone) -> None:
        """Sessions and requests, until nothing is listed. Raises Unavailable when it goes on."""
        for _ in range(ROUNDS):
            sessions = [session async for session in self._people.sessions.every(uid, batch=BATCH)]
            names = (uid, aside_uid(uid))
            requests = [one.id for name in names for one in await asked.of(self._bus, name)]
            if sessions or requests:
                await self._remove(sessions, requests, gone)
            elif await self._is_written(uid):
                await asyncio.sleep(END_BEAT_S)  # by another process, perhaps: no event
            else:
                return
        raise _still_cancelling()

    async def _remove(
        self, sessions: Sequence[Session], outside: Sequence[str], gone: _Gone
    ) -> None:
        requests = list(outside)
        for session in sessions:
            requests += await self._people.turns.ids(session.id)
        for request_id in requests:
            with contextlib.suppress(Conflict, NotFound):  # it has ended
                await self._cancelling.cancel(request_id, "erased")
        await self._ended(requests)
        for session in sessions:
            await self._cancelling.delete_session(session)
        for request_id in requests:
            await self._remove_request(request_id)
        gone.sessions.update(session.id for session in sessions)
        gone.requests.update(requests)

    async def _is_written(self, uid: str) -> bool:
        """Whether a session is listed that is not there yet. What a crash left is taken off."""
        before_ms = now_ms() - WRITTEN_AFTER_MS
        await self._bus.zremrangebyscore(keys.sessions(uid), "-inf", before_ms)
        return bool(await self._bus.zcard(keys.sessions(uid)))

    async def _ended(self, requests: list[str]) -> None:
        """Waits until all of them have ended, so that no worker writes after we looked."""
        try:
            async with asyncio.timeout(END_TIMEOUT_S):
                for request_id in requests:
                    while await self._runs(request_id):  # noqa: ASYNC110
                        await asyncio.sleep(END_BEAT_S)  # a worker elsewhere ends it: no event
        except TimeoutError:
            raise _still_cancelling() from None

    async def _unnamed(self, uid: str) -> None:
        """Waits until the limiter tells of the queue without this person, or goes on."""
        name = msgspec.json.encode(uid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                while name in (await self._bus.get(keys.QUEUE) or b""):  # noqa: ASYNC110
                    await asyncio.sleep(END_BEAT_S)  # it is told by another process: no event

    async def _runs(self, request_id: str) -> bool:
        state = await self._bus.hget(keys.request(request_id), "state")
        return bool(state) and state.decode() not in TERMINAL_STATES  # type: ignore[union-attr]

    async def _remove_request(self, request_id: str) -> None:
        fields = await self._bus.hgetall(keys.request(request_id))
        if handed := fields.get(b"handed"):  # a worker may not have come to it yet
            model = msgspec.json.decode(fields[b"body"], type=Request).model
            await work.acknowledge(self._bus, keys.pool(model), handed.decode())
        await self._bus.delete(
            keys.request(request_id), keys.reply(request_id), keys.tokens(request_id)
        )
        await self._bus.zrem(keys.OPEN, request_id)
        await self._bus.zrem(keys.AWAITED, request_id)

    async def _drop_letters(self, uid: str) -> int:
        mine = [one for one in await self._dead_letters.newest(0, LETTERS) if one.uid == uid]
        for letter in mine:
            with contextlib.suppress(NotFound):
                await self._dead_letters.drop(letter.id)
        return len(mine)

    async def _count(self, uid: str) -> int:
        page = await self._inbox.page(uid, cursor=None, limit=100_000)
        return len(page.items) + len(await self._inbox.waiting(uid))


def _still_cancelling() -> Unavailable:
    return Unavailable(
        "an answer is still being cancelled",
        hint="try again",
        retry_after_s=5.0,
        reason="still_cancelling",
    )
