"""Sessions: conversations of one person, listed by last activity.

What there is of a session is always listed: it is listed before it is written and until it is
gone, so a crash in between leaves at most an id without a session, which `every` passes over.
"""

from collections.abc import AsyncIterator

from appliance import keys
from appliance.bus.client import Bus, Fields
from appliance.clock import now_ms
from appliance.errors import NotFound, Overloaded
from appliance.people.cursors import decode_offset, encode_offset
from appliance.schema.conversations import Session
from appliance.schema.fields import Page

# KEYS session; ARGV field value...: changes only what exists
_CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
"""


class Sessions:
    """Creates, lists, changes and deletes conversations."""

    def __init__(self, bus: Bus, *, sessions_kept: int) -> None:
        self._bus = bus
        self._sessions_kept = sessions_kept

    async def create(self, uid: str, title: str, model: str = "") -> Session:
        """A new, empty session. Raises Overloaded at the bound of sessions per user."""
        await self.require_room(uid)
        session_id, now = keys.new_session_id(), now_ms()
        session = Session(
            id=session_id,
            uid=uid,
            title=title,
            created_at_ms=now,
            last_active_at_ms=now,
            model=model,
        )
        await self.list(session)
        await self._bus.hset(
            keys.session(session_id),
            mapping={
                "uid": uid,
                "title": title,
                "created_at_ms": now,
                "last_active_at_ms": now,
                "model": model,
            },
        )
        return session

    async def list(self, session: Session) -> None:
        """Puts a session that is about to be written among its owner's."""
        await self._bus.zadd(keys.sessions(session.uid), {session.id: session.last_active_at_ms})

    async def require_room(self, uid: str) -> None:
        """Raises Overloaded at the bound of sessions per user."""
        if await self._bus.zcard(keys.sessions(uid)) >= self._sessions_kept:
            raise Overloaded(
                f"user {uid} has {self._sessions_kept} sessions, which is the bound",
                hint="delete some, or raise sessions.sessions_kept in the settings",
                reason="too_many_sessions",
                facts={"bound": self._sessions_kept},
            )

    async def read(self, session_id: str) -> Session:
        fields = await self._bus.hgetall(keys.session(session_id))
        if not fields:
            raise NotFound(
                f"no session {session_id}",
                hint="list yours with GET /api/sessions?uid=UID",
                reason="no_session",
            )
        return _session(session_id, fields)

    async def page(self, uid: str, *, cursor: str | None, limit: int) -> Page:
        """The person's sessions, last active first."""
        start = decode_offset(cursor)
        ids = await self._bus.zrevrange(keys.sessions(uid), start, start + limit)
        pipeline = self._bus.pipeline(transaction=False)
        for raw_id in ids[:limit]:
            pipeline.hgetall(keys.session(raw_id.decode()))
        found: list[Fields] = await pipeline.execute()
        items = tuple(
            _session(raw_id.decode(), fields)
            for raw_id, fields in zip(ids, found, strict=False)
            if fields
        )
        return Page(items=items, cursor=encode_offset(start + limit) if len(ids) > limit else None)

    async def every(self, uid: str, *, batch: int) -> AsyncIterator[Session]:
        """All of the person's sessions, last active first, read in batches."""
        cursor: str | None = None
        while True:
            page = await self.page(uid, cursor=cursor, limit=batch)
            for session in page.items:
                yield session
            cursor = page.cursor
            if cursor is None:
                return

    async def touch(self, session: Session, at_ms: int) -> None:
        """Moves the session to the top of its owner's list, unless it was deleted."""
        await self._bus.zadd(keys.sessions(session.uid), {session.id: at_ms}, xx=True)

    async def change(
        self, session_id: str, *, title: str | None = None, model: str | None = None
    ) -> Session:
        """Sets what is given. Raises NotFound."""
        given = {"title": title, "model": model}
        changes = [
            part for name, value in given.items() if value is not None for part in (name, value)
        ]
        if changes:
            await self._bus.eval(_CHANGE, 1, keys.session(session_id), *changes)
        return await self.read(session_id)

    async def delete(self, session: Session) -> None:
        """Removes the session and all its turns."""
        await self._bus.delete(
            keys.session(session.id), keys.turns(session.id), keys.turn(session.id)
        )
        await self._bus.zrem(keys.sessions(session.uid), session.id)


def _session(session_id: str, fields: Fields) -> Session:
    return Session(
        id=session_id,
        uid=fields[b"uid"].decode(),
        title=fields[b"title"].decode(),
        created_at_ms=int(fields[b"created_at_ms"]),
        last_active_at_ms=int(fields[b"last_active_at_ms"]),
        model=fields.get(b"model", b"").decode(),
    )
