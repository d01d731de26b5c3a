"""Turns: the message pairs of a session.

A turn's three records are written once each, by whoever knows them: the question at acceptance
(scripts.SUBMIT), what the model saw of it after retrieval (scripts.RETRIEVED), and the answer
with the terminal event (scripts.END). A turn without an answer is as open as its request.
"""

from collections.abc import AsyncIterator
from typing import Literal, cast

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.people.cursors import decode_offset, encode_offset
from appliance.schema.answers import Citation, Decision, Match, Usage
from appliance.schema.conversations import Turn
from appliance.schema.fields import Page
from appliance.schema.requests import RequestState


class Asked(msgspec.Struct, frozen=True):
    """`ID:question`."""

    text: str
    created_at_ms: int


class Sent(msgspec.Struct, frozen=True):
    """`ID:sent`: what the model was shown for the question, the entries behind it, and the ids of
    earlier turns that were `left_out`."""

    text: str
    matches: tuple[Match, ...] = ()
    left_out: tuple[str, ...] = ()


class Answered(msgspec.Struct, frozen=True):
    """`ID:answer`."""

    state: RequestState
    text: str
    usage: Usage | None = None
    decision: Decision | Literal[""] = ""
    citations: tuple[Citation, ...] = ()


class Thumbed(msgspec.Struct, frozen=True):
    """`ID:feedback`: what the person thinks of the answer."""

    thumb: Literal["up", "down", "none"]
    comment: str = ""


class Turns:
    """Reads the turns of a session; the scripts of the bus write them."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def page(self, session_id: str, *, cursor: str | None, limit: int) -> Page:
        """Chronological; without a cursor the latest turns, with one the turns before those."""
        skip = decode_offset(cursor)
        ids = await self._bus.zrevrange(keys.turns(session_id), skip, skip + limit)
        turns = await self._read(session_id, [raw.decode() for raw in reversed(ids[:limit])])
        more = len(ids) > limit
        return Page(items=turns, cursor=encode_offset(skip + limit) if more else None)

    async def ids(self, session_id: str) -> list[str]:
        """Of all turns, oldest first."""
        return [raw.decode() for raw in await self._bus.zrange(keys.turns(session_id), 0, -1)]

    async def states(self, session_id: str) -> dict[str, str]:
        """Those of the turns' requests, by id, as far as they are kept."""
        ids = await self.ids(session_id)
        pipeline = self._bus.pipeline(transaction=False)
        for turn_id in ids:
            pipeline.hget(keys.request(turn_id), "state")
        found: list[bytes | None] = await pipeline.execute()
        return {one: state.decode() for one, state in zip(ids, found, strict=True) if state}

    async def every(self, session_id: str, *, batch: int) -> AsyncIterator[Turn]:
        """All turns: the latest batch first, each batch in its order."""
        cursor: str | None = None
        while True:
            page = await self.page(session_id, cursor=cursor, limit=batch)
            for turn in page.items:
                yield turn
            cursor = page.cursor
            if cursor is None:
                return

    async def latest(self, session_id: str, limit: int) -> tuple[Turn, ...]:
        """The last `limit` turns, oldest first."""
        ids = await self._bus.zrevrange(keys.turns(session_id), 0, limit - 1)
        return await self._read(session_id, [raw.decode() for raw in reversed(ids)])

    async def _read(self, session_id: str, ids: list[str]) -> tuple[Turn, ...]:
        pipeline = self._bus.pipeline(transaction=False)
        for turn_id in ids:
            pipeline.hmget(keys.turn(session_id), _fields(turn_id))
        found = dict(zip(ids, await pipeline.execute(), strict=True))
        unanswered = [turn_id for turn_id, parts in found.items() if parts[0] and not parts[2]]
        for turn_id in unanswered:
            # The state first: once it is terminal the answer is there.
            pipeline.hget(keys.request(turn_id), "state")
            pipeline.hmget(keys.turn(session_id), _fields(turn_id))
        again = await pipeline.execute()
        states: dict[str, bytes | None] = dict(zip(unanswered, again[::2], strict=True))
        found |= zip(unanswered, again[1::2], strict=True)
        return tuple(
            _turn(turn_id, *parts, state=states.get(turn_id))
            for turn_id, parts in found.items()
            if parts[0]
        )


def _fields(turn_id: str) -> list[str]:
    return [f"{turn_id}:{record}" for record in ("question", "sent", "answer", "feedback")]


def _turn(
    turn_id: str,
    asked: bytes,
    sent: bytes | None,
    answered: bytes | None,
    feedback: bytes | None,
    *,
    state: bytes | None,
) -> Turn:
    question = msgspec.json.decode(asked, type=Asked)
    seen = msgspec.json.decode(sent, type=Sent) if sent else Sent(text="")
    open_state = cast(RequestState, state.decode()) if state else "failed"
    answer = (
        msgspec.json.decode(answered, type=Answered)
        if answered
        else Answered(state=open_state, text="")
    )
    return Turn(
        id=turn_id,
        created_at_ms=question.created_at_ms,
        question=question.text,
        answer=answer.text,
        state=answer.state,
        matches=seen.matches,
        usage=answer.usage or Usage(),
        sent=seen.text,
        left_out=seen.left_out,
        decision=answer.decision,
        citations=answer.citations,
        thumb=msgspec.json.decode(feedback, type=Thumbed).thumb if feedback else "none",
    )
