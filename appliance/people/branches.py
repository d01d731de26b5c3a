"""Branching: a new session that goes on from a turn of another one.

The new session gets copies of the turns up to the chosen one under ids of its own, for an id
starts with its session's id. What the model was shown goes along (`sent`, and the session's
`frozen` beginning), so the first question of the branch starts with the same tokens; the turns it
names as left out are named by their copies. Thumbs stay where they were given: they are counted
once.

Everything but the entry in the person's list, which comes first, is written in one transaction, so
a branch that stops half way is not to be seen.
"""

from collections.abc import Mapping

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.errors import Conflict, NotFound
from appliance.people.sessions import Sessions
from appliance.people.turns import Asked, Sent
from appliance.schema.conversations import Session

_RECORDS = ("question", "sent", "answer")
_Kept = list[bytes | None]  # those records of one turn


class Branches:
    """Makes sessions out of the beginnings of others."""

    def __init__(self, bus: Bus, sessions: Sessions) -> None:
        self._bus = bus
        self._sessions = sessions

    async def branch(self, origin: Session, turn_id: str, title: str) -> Session:
        """A session with the turns of `origin` up to this one, which must have ended.

        "" as title is the origin's. Raises NotFound for an unknown turn, Conflict for one that is
        still being answered, and Overloaded at the bound of sessions per user.
        """
        turns = await self._turns_until(origin.id, turn_id)
        await self._sessions.require_room(origin.uid)
        branch = msgspec.structs.replace(
            origin,
            id=keys.new_session_id(),
            title=title or origin.title,
            created_at_ms=now_ms(),
            last_active_at_ms=now_ms(),
            warm=False,
        )
        await self._sessions.list(branch)
        await self._copy(origin.id, turns, branch)
        return branch

    async def _turns_until(self, session_id: str, turn_id: str) -> dict[str, _Kept]:
        """The ended turns up to this one by id, oldest first."""
        ids = [raw.decode() for raw in await self._bus.zrange(keys.turns(session_id), 0, -1)]
        if turn_id not in ids:
            raise NotFound(
                f"no turn {turn_id} in this session",
                hint=f"list them with GET /api/sessions/{session_id}/turns",
                reason="no_turn",
            )
        ids = ids[: ids.index(turn_id) + 1]
        pipeline = self._bus.pipeline(transaction=False)
        for one in ids:
            pipeline.hmget(keys.turn(session_id), [f"{one}:{record}" for record in _RECORDS])
        found: list[_Kept] = await pipeline.execute()
        if found[-1][-1] is None:
            raise Conflict(
                f"{turn_id} is still being answered",
                hint="branch from it when it has ended, or from the turn before",
                reason="open",
            )
        return {
            one: kept
            for one, kept in zip(ids, found, strict=True)
            if kept[0] is not None and kept[-1] is not None
        }

    async def _copy(self, origin: str, turns: dict[str, _Kept], branch: Session) -> None:
        frozen = await self._bus.hget(keys.session(origin), "frozen")
        records: dict[str, bytes] = {}
        times: dict[str, int] = {}
        copies = {one: keys.new_request_id(branch.id) for one in turns}
        last_ms = 0
        for one, kept in turns.items():
            asked = msgspec.json.decode(kept[0] or b"", type=Asked)
            # Two of one millisecond would be in the order of their ids.
            copy, last_ms = copies[one], max(asked.created_at_ms, last_ms + 1)
            times[copy] = last_ms
            question, sent, answer = kept
            bodies = (question, _renamed(sent, copies), answer)
            for record, body in zip(_RECORDS, bodies, strict=True):
                if body is not None:
                    records[f"{copy}:{record}"] = body
        pipeline = self._bus.pipeline(transaction=True)
        pipeline.hset(keys.turn(branch.id), mapping=records)
        pipeline.zadd(keys.turns(branch.id), times)
        pipeline.hset(
            keys.session(branch.id),
            mapping={
                "uid": branch.uid,
                "title": branch.title,
                "created_at_ms": branch.created_at_ms,
                "last_active_at_ms": branch.last_active_at_ms,
                "model": branch.model,
            }
            | ({"frozen": frozen} if frozen else {}),
        )
        await pipeline.execute()


def _renamed(body: bytes | None, copies: Mapping[str, str]) -> bytes | None:
    """What the model saw, with the turns left out under the ids of their copies."""
    sent = msgspec.json.decode(body, type=Sent) if body else None
    if sent is None or not sent.left_out:
        return body
    named = tuple(copies[one] for one in sent.left_out if one in copies)
    return msgspec.json.encode(msgspec.structs.replace(sent, left_out=named))
