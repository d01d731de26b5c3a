"""The main screen: sessions on the left, the conversation, and the prompt below it.

The conversations live in `Conversations`, which follows every open answer; this screen shows one
of them at a time. `_shown` is the id of its session, empty for a new session that the server
does not know yet: it is created when the first question is sent. What is typed is kept for each
session until the server has accepted it.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message

from appliance.schema import MAX_TITLE_CHARS
from ui.background import start
from ui.client import Client
from ui.clock import Clock
from ui.conversations import (
    Change,
    ConversationChanged,
    Conversations,
    LineBroken,
    SessionsChanged,
    TurnChanged,
)
from ui.keys import key
from ui.safe_text import safe_line, safe_text
from ui.screens.dialogs import AskLine, Confirm, Question
from ui.screens.frame import LinkDoubted, SluiceScreen
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.conversation_view import ConversationView
from ui.widgets.prompt import Prompt
from ui.widgets.session_list import SessionList, SessionRow
from ui.wording import moment, session_title

TITLE_CHARS: Final = 60  # a new session is called by its first question
WINDOW_TURNS: Final = 6  # what is laid out at once; each repaint costs time for every turn


@dataclass
class Changed(Message):
    """The conversations changed; sent to the screen by its own `Conversations`."""

    change: Change


class ChatScreen(SluiceScreen):
    """Ask, read, and move between sessions."""

    PLACE = "chat"
    AUTO_FOCUS = "#prompt"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 (Textual declares it without a usable type)
        (0, "-narrow"),
        (70, "-normal"),
        (110, "-wide"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+n", "new_session", "new_session"),
        key("ctrl+r", "rename_session", "rename_session"),
        key("escape", "stop_answer", "stop_answer"),
        key("ctrl+x", "stop_answer", "stop_answer", show=False, priority=True),
        key("escape", "back_to_prompt", "back_to_prompt", show=False),
        key("ctrl+g", "ask_again", "ask_again"),
        key("ctrl+l", "session_list", "session_list", show=False),
        key("ctrl+up,alt+up", "step(-1)", "previous_session", show=False),
        key("ctrl+down,alt+down", "step(1)", "next_session", show=False),
    ]

    def __init__(self, texts: Texts, address: str, *, client: Client, clock: Clock) -> None:
        super().__init__(texts, address)
        self._client = client
        self._clock = clock
        self._conversations = Conversations(
            client,
            spawn=lambda work: start(self, work, group="follow"),
            tell=lambda change: self.post_message(Changed(change)),
        )
        self._shown = ""
        self._window = WINDOW_TURNS
        self._drafts: dict[str, str] = {}
        self._is_sending = False
        self._was_open = False
        self._demo_was_offered = False
        self._list = SessionList(texts)
        self._view = ConversationView(texts)
        self._prompt = Prompt(texts)

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="chat"):
            yield self._list
            with Vertical(id="talk"):
                yield self._view
                yield self._prompt

    def on_link_restored(self) -> None:
        self.attempt(self._read_again, group="read", exclusive=True)

    async def _read_again(self) -> None:
        await self._conversations.load_sessions()
        if self._shown:
            await self._conversations.load(self._shown)
        if not self._demo_was_offered:
            page = await self._client.entries(limit=1)
            self._demo_was_offered = True
            if not page.items and not self._prompt.text:
                self._offer_demo()

    # --- what changed is shown --------------------------------------------------------------

    async def on_changed(self, message: Changed) -> None:
        message.stop()
        match message.change:
            case SessionsChanged():
                self._show_sessions()
            case TurnChanged(session_id=session_id, turn=turn) if session_id == self._shown:
                await self._show_turn(turn)
            case ConversationChanged(session_id=session_id) if session_id == self._shown:
                await self._show_conversation()
            case LineBroken():
                self.post_message(LinkDoubted())
        is_open = self._conversations.has_open_answer(self._shown)
        if is_open != self._was_open:
            self._was_open = is_open
            self.refresh_bindings()

    def _show_sessions(self) -> None:
        known = self._conversations
        now_ms = self._clock.now_ms()
        rows = [
            SessionRow(
                session.id,
                session_title(self.texts, session, known.first_question(session.id)),
                moment(session.last_active_at_ms, now_ms, self._clock.zone),
                has_open_answer=known.has_open_answer(session.id),
                has_unread_answer=known.has_unseen_answer(session.id),
            )
            for session in known.sessions
        ]
        self._list.show(rows, current=self._shown, has_more=known.has_more_sessions)

    async def _show_turn(self, turn: LiveTurn) -> None:
        """A turn that is new at the end takes the window back to the latest turns."""
        if not self._view.show_turn(turn) and turn.phase == "sent":
            self._window = WINDOW_TURNS
            await self._show_conversation()

    async def _show_conversation(self) -> None:
        conversation = self._conversations.conversation(self._shown)
        turns = list(conversation.turns.values())
        await self._view.show(
            self._shown,
            turns[-self._window :],
            has_older=len(turns) > self._window or conversation.older is not None,
            is_loading=bool(self._shown) and not conversation.loaded,
        )
        self.refresh_bindings()

    # --- sessions ---------------------------------------------------------------------------

    async def on_session_list_chosen(self, message: SessionList.Chosen) -> None:
        await self._switch(message.session_id)

    async def _switch(self, session_id: str) -> None:
        if session_id != self._shown:
            self._keep_draft()
            self._shown = session_id
            self._window = WINDOW_TURNS
            self._conversations.show(session_id)
            self._prompt.load_text(self._drafts.get(session_id, ""))
            self._prompt.move_cursor(self._prompt.document.end)
            await self._show_conversation()
            self._show_sessions()
            if session_id:
                load = partial(self._conversations.load, session_id)
                self.attempt(load, group="load", exclusive=True)
        self._prompt.focus()

    def _keep_draft(self) -> None:
        self._drafts.pop(self._shown, None)
        if self._prompt.text:
            self._drafts[self._shown] = self._prompt.text

    async def action_new_session(self) -> None:
        await self._switch("")

    async def action_step(self, step: int) -> None:
        ids = ["", *(session.id for session in self._conversations.sessions)]
        at = ids.index(self._shown) if self._shown in ids else 0
        await self._switch(ids[max(0, min(len(ids) - 1, at + step))])

    def action_session_list(self) -> None:
        self._list.focus()

    def action_back_to_prompt(self) -> None:
        self._prompt.focus()

    def action_rename_session(self) -> None:
        session = self._conversations.session(self._shown)
        if session is None:
            return

        def rename(title: str | None) -> None:
            if title is not None and title != session.title:
                work = partial(self._conversations.rename, session.id, title)
                self.attempt(work, group="edit")

        texts = self.texts
        dialog = AskLine(
            texts,
            title=texts.chat_rename_title,
            label=texts.chat_rename_label,
            text=session.title,
            max_chars=MAX_TITLE_CHARS,
        )
        self.app.push_screen(dialog, rename)

    def on_session_list_delete_wanted(self, message: SessionList.DeleteWanted) -> None:
        session = self._conversations.session(message.session_id)
        if session is None:
            return
        texts = self.texts
        title = session_title(texts, session, self._conversations.first_question(session.id))
        question = Question(
            texts.chat_delete_title,
            texts.chat_delete_body.format(title=title),
            yes=texts.chat_delete_yes,
            no=texts.cancel,
        )

        def delete(agreed: bool | None) -> None:
            if agreed:
                self.attempt(partial(self._delete, session.id), group="edit")

        self.app.push_screen(Confirm(texts, question), delete)

    async def _delete(self, session_id: str) -> None:
        await self._conversations.delete(session_id)
        self._drafts.pop(session_id, None)
        if self._shown == session_id:
            self._prompt.load_text("")
            await self._switch("")

    def on_session_list_more_wanted(self, message: SessionList.MoreWanted) -> None:
        self.attempt(self._conversations.load_more_sessions, group="read", exclusive=True)

    # --- asking -----------------------------------------------------------------------------

    def on_prompt_sent(self, message: Prompt.Sent) -> None:
        if self._is_sending:
            return
        if self._conversations.has_open_answer(self._shown):
            self.notify(self.texts.chat_wait_for_answer, severity="warning", markup=False)
            return
        self._is_sending = True
        self.attempt(
            partial(self._send, message.text), group="send", note=self.texts.chat_send_failed
        )

    async def _send(self, text: str) -> None:
        """The text leaves the prompt only when the server has accepted it."""
        session_id = self._shown
        try:
            if not session_id:
                session_id = await self._conversations.create(safe_line(text, TITLE_CHARS))
                if not self._shown:
                    self._shown = session_id
                    self._conversations.show(session_id)
                    await self._show_conversation()
                    self._show_sessions()
            await self._conversations.ask(session_id, text, now_ms=self._clock.now_ms())
        finally:
            self._is_sending = False
        if self._shown == session_id and self._prompt.text == text:
            self._prompt.load_text("")
        elif self._drafts.get(session_id) == text:
            del self._drafts[session_id]

    def action_stop_answer(self) -> None:
        self.attempt(partial(self._conversations.cancel, self._shown), group="stop")

    def action_ask_again(self) -> None:
        turns = list(self._conversations.conversation(self._shown).turns.values())
        self._prompt.insert(safe_text(turns[-1].question))
        self._prompt.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        has_open = self._conversations.has_open_answer(self._shown)
        match action:
            case "stop_answer":
                return has_open
            case "back_to_prompt":
                return not has_open
            case "ask_again":
                return not has_open and bool(self._conversations.conversation(self._shown).turns)
            case "rename_session":
                return bool(self._shown)
            case _:
                return True

    # --- reading ----------------------------------------------------------------------------

    def on_prompt_paged(self, message: Prompt.Paged) -> None:
        self._view.page(message.direction)

    async def on_conversation_view_older_wanted(
        self, message: ConversationView.OlderWanted
    ) -> None:
        self._window += WINDOW_TURNS
        if self._window <= len(self._conversations.conversation(self._shown).turns):
            await self._show_conversation()
        else:
            load = partial(self._conversations.load_older, self._shown)
            self.attempt(load, group="older", exclusive=True)

    # --- the first start --------------------------------------------------------------------

    def _offer_demo(self) -> None:
        texts = self.texts
        question = Question(
            texts.demo_title,
            texts.demo_body,
            yes=texts.demo_load,
            no=texts.demo_empty,
            is_dangerous=False,
        )

        def load(agreed: bool | None) -> None:
            if agreed:
                self.attempt(self._load_demo, group="demo")

        self.app.push_screen(Confirm(texts, question), load, mode=self.PLACE)

    async def _load_demo(self) -> None:
        self.notify(self.texts.faq_demo_loading, markup=False)
        report = await self._client.load_demo()
        words = self.texts.faq_demo_loaded.format(
            created=report.created, updated=report.updated, unchanged=report.unchanged
        )
        self.notify(words, markup=False)
