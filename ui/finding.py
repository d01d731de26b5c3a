"""Searches conversations for words, newest session first; knows no widget.

The turns of a session are read once and kept while the search screen is open, so that typing on
asks the server for nothing it has told already. Bounds: `SESSIONS_MAX` sessions, `TURNS_MAX`
turns of each, `HITS_MAX` hits.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from appliance.errors import NotFound
from appliance.schema.conversations import Session
from ui.client import Client
from ui.searching import HITS_MAX, Hit, hits
from ui.turns import LiveTurn, from_store

SESSIONS_MAX: Final = 500
TURNS_MAX: Final = 500
_PAGE: Final = 100


class Finder:
    """One search screen's view of the conversations; `first` is the session it was opened in."""

    def __init__(self, client: Client, *, first: Session | None = None) -> None:
        self._client = client
        self._first = first
        self._sessions: tuple[Session, ...] = ()
        self._turns: dict[str, tuple[LiveTurn, ...]] = {}

    async def find(self, wanted: str) -> AsyncGenerator[tuple[Session, Hit], None]:
        """At most `HITS_MAX` hits, the newest first within a session."""
        count = 0
        for session in await self._all_sessions():
            turns = await self._turns_of(session)
            for hit in hits(session.id, reversed(turns), wanted):
                yield session, hit
                count += 1
                if count >= HITS_MAX:
                    return

    async def _all_sessions(self) -> Sequence[Session]:
        if not self._sessions:
            found: list[Session] = [] if self._first is None else [self._first]
            cursor: str | None = None
            while len(found) < SESSIONS_MAX:
                page = await self._client.sessions(cursor=cursor, limit=_PAGE)
                found.extend(one for one in page.items if one.id not in {s.id for s in found})
                cursor = page.cursor
                if cursor is None:
                    break
            self._sessions = tuple(found)
        return self._sessions

    async def _turns_of(self, session: Session) -> tuple[LiveTurn, ...]:
        if session.id not in self._turns:
            self._turns[session.id] = await self._read(session.id)
        return self._turns[session.id]

    async def _read(self, session_id: str) -> tuple[LiveTurn, ...]:
        turns: tuple[LiveTurn, ...] = ()
        cursor: str | None = None
        while len(turns) < TURNS_MAX:
            try:
                page = await self._client.turns(session_id, cursor=cursor, limit=_PAGE)
            except NotFound:
                return turns  # deleted meanwhile
            turns = (*(from_store(turn) for turn in page.items), *turns)
            cursor = page.cursor
            if cursor is None:
                break
        return turns
