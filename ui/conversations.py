"""Owns every conversation of this run and follows its open answers; knows no widget.

Answers are followed whether or not their session is on screen, so a person can look elsewhere
and come back to everything. Changes are told through one callback. The caller provides `spawn`,
which runs a coroutine under the caller's supervision; nothing here starts a task by itself.

Bounds: `LOADED_MAX` conversations stay in memory (the longest unseen without an open answer
goes first), `TURNS_PAGE` turns are read at a time, and the client bounds the open streams.
"""

from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import msgspec

from appliance.errors import Conflict, NotFound, SluiceError
from appliance.schema.conversations import BranchPost, Session
from appliance.schema.curation import Thumb
from appliance.schema.requests import MessagePost
from ui.client import Client, Interrupted, News, Resumed
from ui.turns import LiveTurn, advance, from_store, merge

LOADED_MAX: Final = 32
TURNS_PAGE: Final = 20
SESSIONS_PAGE: Final = 100

Work = Callable[[], Coroutine[Any, Any, None]]  # Any: what a coroutine is sent, unused
Spawn = Callable[[Work], object]


@dataclass(frozen=True)
class SessionsChanged:
    """The list of sessions, or a mark in it, is different."""


@dataclass(frozen=True)
class TurnChanged:
    """One turn moved on, or is new."""

    session_id: str
    turn: LiveTurn


@dataclass(frozen=True)
class ConversationChanged:
    """The turns of a session were read from the server."""

    session_id: str


@dataclass(frozen=True)
class LineBroken:
    """An event stream broke off: the server may be away."""


Change = SessionsChanged | TurnChanged | ConversationChanged | LineBroken


@dataclass
class Conversation:
    """The turns of one session in chronological order; `older` leads to those not read yet."""

    session_id: str
    turns: dict[str, LiveTurn] = field(default_factory=dict)
    older: str | None = None
    loaded: bool = False

    @property
    def open_turn(self) -> LiveTurn | None:
        return next((turn for turn in reversed(self.turns.values()) if turn.is_open), None)


class Conversations:
    """The sessions, their turns, and the followers of open answers."""

    def __init__(self, client: Client, *, spawn: Spawn, tell: Callable[[Change], object]) -> None:
        self._client = client
        self._spawn = spawn
        self._tell = tell
        self._sessions: dict[str, Session] = {}
        self._more_sessions: str | None = None
        self._has_read_on = False  # beyond the first page of sessions
        self._conversations: dict[str, Conversation] = {}  # least recently seen first
        self._followed: set[str] = set()
        self._unseen: set[str] = set()
        self._thumbs: dict[str, Thumb] = {}  # wanted, for turns whose thumb is being sent
        self._on_screen = ""

    # --- what is known ------------------------------------------------------------------

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Newest activity first."""
        return tuple(sorted(self._sessions.values(), key=lambda one: -one.last_active_at_ms))

    @property
    def has_more_sessions(self) -> bool:
        return self._more_sessions is not None

    def session(self, session_id: str) -> Session | None:
        return self._sessions.get(session_id)

    def conversation(self, session_id: str) -> Conversation:
        """What is known of a session; empty and not loaded when it was never opened."""
        return self._conversations.get(session_id, Conversation(session_id))

    def has_open_answer(self, session_id: str) -> bool:
        return self.conversation(session_id).open_turn is not None

    def has_unseen_answer(self, session_id: str) -> bool:
        return session_id in self._unseen

    def first_question(self, session_id: str) -> str:
        turns = self.conversation(session_id).turns.values()
        return next((turn.question for turn in turns), "")

    # --- sessions -----------------------------------------------------------------------

    async def load_sessions(self) -> None:
        """The newest; older ones that are known stay, for a page does not tell of them."""
        page = await self._client.sessions(limit=SESSIONS_PAGE)
        listed = {session.id: session for session in page.items}
        if page.cursor is None:
            self._sessions, self._more_sessions = listed, None
        else:
            oldest_ms = min((one.last_active_at_ms for one in page.items), default=0)
            older = {
                one.id: one
                for one in self._sessions.values()
                if one.id not in listed and one.last_active_at_ms <= oldest_ms
            }
            self._sessions = listed | older
            if not self._has_read_on:
                self._more_sessions = page.cursor
        self._tell(SessionsChanged())

    async def load_session(self, session_id: str) -> None:
        """One that is on no page that was read; that it is gone, its turns tell."""
        with suppress(NotFound):
            session = await self._client.session(session_id)
            self._sessions[session.id] = session
            self._tell(SessionsChanged())

    async def load_more_sessions(self) -> None:
        if self._more_sessions is None:
            return
        page = await self._client.sessions(cursor=self._more_sessions, limit=SESSIONS_PAGE)
        self._sessions |= {session.id: session for session in page.items}
        self._more_sessions = page.cursor
        self._has_read_on = True
        self._tell(SessionsChanged())

    async def create(self, title: str = "") -> str:
        """A new session on the server; returns its id."""
        session = await self._client.create_session(title)
        self._sessions = {session.id: session, **self._sessions}
        self._keep(session.id).loaded = True
        self._tell(SessionsChanged())
        return session.id

    async def branch(self, session_id: str, turn_id: str, title: str) -> str:
        """A new session with the turns up to this one; returns its id."""
        post = BranchPost(turn_id=turn_id, title=title)
        session = await self._client.branch_session(session_id, post)
        self._sessions = {session.id: session, **self._sessions}
        self._tell(SessionsChanged())
        return session.id

    async def rename(self, session_id: str, title: str) -> None:
        self._sessions[session_id] = await self._client.rename_session(session_id, title)
        self._tell(SessionsChanged())

    async def delete(self, session_id: str) -> None:
        """Deletes a session; one that is gone already counts as deleted."""
        with suppress(NotFound):
            await self._client.delete_session(session_id)
        self._sessions.pop(session_id, None)
        self._conversations.pop(session_id, None)
        self._unseen.discard(session_id)
        self._tell(SessionsChanged())

    # --- turns --------------------------------------------------------------------------

    def show(self, session_id: str) -> None:
        """Marks a session as the one on screen; empty for none."""
        self._on_screen = session_id
        if session_id in self._conversations:
            self._conversations[session_id] = self._conversations.pop(session_id)
        if session_id in self._unseen:
            self._unseen.discard(session_id)
            self._tell(SessionsChanged())

    async def load(self, session_id: str) -> None:
        """Reads the latest turns and follows those that are still open."""
        page = await self._client.turns(session_id, limit=TURNS_PAGE)
        conversation = self._keep(session_id)
        turns = merge(tuple(conversation.turns.values()), page.items)
        conversation.turns = {turn.id: turn for turn in turns}
        if not conversation.loaded:
            conversation.older = page.cursor
        conversation.loaded = True
        self._tell(ConversationChanged(session_id))
        for turn in turns:
            if turn.is_open:
                self._start_following(session_id, turn.id)
        if turns and conversation.open_turn is None:
            self._spawn(partial(self._warm, session_id))

    async def _warm(self, session_id: str) -> None:
        """A question may come. It does no harm when the server cannot make ready for it."""
        with suppress(SluiceError):
            await self._client.warm(session_id)

    async def load_older(self, session_id: str) -> None:
        conversation = self._keep(session_id)
        if conversation.older is None:
            return
        page = await self._client.turns(session_id, cursor=conversation.older, limit=TURNS_PAGE)
        older = {record.id: from_store(record) for record in page.items}
        conversation.turns = older | conversation.turns
        conversation.older = page.cursor
        self._tell(ConversationChanged(session_id))

    async def ask(self, session_id: str, text: str, *, now_ms: int) -> None:
        """Sends a question and follows its answer; returns once the server has accepted it."""
        accepted = await self._client.send(session_id, MessagePost(text=text))
        turn = LiveTurn(id=accepted.request_id, question=text, created_at_ms=now_ms)
        self._keep(session_id).turns[turn.id] = turn
        self._touch(session_id, now_ms)
        self._tell(TurnChanged(session_id, turn))
        self._tell(SessionsChanged())
        self._start_following(session_id, turn.id)

    async def cancel(self, session_id: str) -> None:
        """Asks the server to stop the open answer; its stream then ends with `cancelled`."""
        turn = self.conversation(session_id).open_turn
        if turn is None or turn.cancelling:
            return
        self._put(session_id, replace(turn, cancelling=True))
        try:
            await self._client.cancel(turn.id)
        except (Conflict, NotFound):
            return  # it ended while we asked: its own events say how
        except SluiceError:
            self._update(session_id, turn.id, lambda now: replace(now, cancelling=False))
            raise

    def suggest(self, session_id: str, request_id: str, questions: tuple[str, ...]) -> None:
        """Questions that the person may want to ask after an answer."""
        self._update(session_id, request_id, lambda now: replace(now, suggestions=questions))

    async def rate(self, session_id: str, request_id: str, thumb: Thumb) -> None:
        """Gives an answer a thumb; the same one once more takes it back.

        It shows at once. Calls for one answer follow each other, so that the last wish is what
        the server keeps; when one fails, what it kept before is shown again.
        """
        turn = self.conversation(session_id).turns.get(request_id)
        if turn is None:
            return
        is_being_sent = request_id in self._thumbs
        kept = turn.thumb
        wanted: Thumb = "none" if self._thumbs.get(request_id, kept) == thumb else thumb
        self._thumbs[request_id] = wanted
        self._put(session_id, replace(turn, thumb=wanted))
        if is_being_sent:
            return
        try:
            while (wanted := self._thumbs[request_id]) != kept:
                await self._client.rate(request_id, wanted)
                kept = wanted
        finally:
            del self._thumbs[request_id]
            self._update(session_id, request_id, lambda now: replace(now, thumb=kept))

    # --- following ----------------------------------------------------------------------

    def _start_following(self, session_id: str, request_id: str) -> None:
        if request_id not in self._followed:
            self._followed.add(request_id)
            self._spawn(partial(self._follow, session_id, request_id))

    async def _follow(self, session_id: str, request_id: str) -> None:
        try:
            async with aclosing(self._client.follow(request_id)) as stream:
                async for news in stream:
                    self._take(session_id, request_id, news)
        except NotFound:
            await self._read_back(session_id, request_id)
        except SluiceError as error:
            self._lose(session_id, request_id, error)
        finally:
            self._followed.discard(request_id)
        if session_id in self._conversations and session_id != self._on_screen:
            self._unseen.add(session_id)
        await self._refresh_sessions()

    def _take(self, session_id: str, request_id: str, news: News) -> None:
        if isinstance(news, Interrupted | Resumed):
            broken = isinstance(news, Interrupted)
            self._update(session_id, request_id, lambda now: replace(now, interrupted=broken))
            if broken:
                self._tell(LineBroken())
        else:
            self._update(session_id, request_id, lambda now: advance(now, news))

    async def _read_back(self, session_id: str, request_id: str) -> None:
        """The request expired or was removed: the stored turn has its end."""
        try:
            page = await self._client.turns(session_id, limit=TURNS_PAGE)
        except SluiceError as error:
            self._lose(session_id, request_id, error)
            return
        stored = next((turn for turn in page.items if turn.id == request_id), None)
        if stored is None or from_store(stored).is_open:
            self._lose(session_id, request_id, NotFound(""))
        else:
            self._update(session_id, request_id, lambda _: from_store(stored))

    def _lose(self, session_id: str, request_id: str, error: SluiceError) -> None:
        self._update(
            session_id,
            request_id,
            lambda now: replace(
                now,
                phase="lost",
                reason=error.reason,
                message=error.message,
                hint=error.hint,
                interrupted=False,
            ),
        )

    async def _refresh_sessions(self) -> None:
        """The server may have given the session a title; when it is away, that can wait."""
        try:
            await self.load_sessions()
        except SluiceError:
            self._tell(SessionsChanged())

    # --- bookkeeping --------------------------------------------------------------------

    def _keep(self, session_id: str) -> Conversation:
        conversation = self._conversations.pop(session_id, None) or Conversation(session_id)
        self._conversations[session_id] = conversation
        idle = [
            key
            for key, value in self._conversations.items()
            if key not in (session_id, self._on_screen) and value.open_turn is None
        ]
        for key in idle[: max(0, len(self._conversations) - LOADED_MAX)]:
            del self._conversations[key]
        return conversation

    def _update(
        self, session_id: str, request_id: str, change: Callable[[LiveTurn], LiveTurn]
    ) -> None:
        turn = self.conversation(session_id).turns.get(request_id)
        if turn is not None:
            self._put(session_id, change(turn))

    def _put(self, session_id: str, turn: LiveTurn) -> None:
        self._conversations[session_id].turns[turn.id] = turn
        self._tell(TurnChanged(session_id, turn))

    def _touch(self, session_id: str, now_ms: int) -> None:
        session = self._sessions.pop(session_id, None)
        if session is not None:
            active = max(session.last_active_at_ms, now_ms)
            renewed = msgspec.structs.replace(session, last_active_at_ms=active)
            self._sessions = {session.id: renewed, **self._sessions}
