"""The main screen: sessions on the left, the conversation, and the prompt below it.

The conversations live in `Conversations`, which follows every open answer; this screen shows one
of them at a time. `_shown` is the id of its session, empty for a new session that the server
does not know yet: it is created when the first question is sent. What is typed is kept for each
session until the server has accepted it, also when the app makes this screen anew.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message

from appliance.schema.inbox import Related
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
from ui.drafts import Draft, Drafts
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.chat_deeds import Hands, TurnDeeds
from ui.screens.chat_errands import ChatErrands
from ui.screens.frame import LinkDoubted, SluiceScreen
from ui.searching import Hit
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.composer import Composer
from ui.widgets.conversation_view import ConversationView
from ui.widgets.prompt import Prompt
from ui.widgets.session_list import SessionList, SessionRow
from ui.widgets.turn_column import WINDOW_TURNS, TurnColumn
from ui.widgets.turn_view import TurnView
from ui.wording import moment, session_title

TITLE_CHARS: Final = 60  # a new session is called by its first question

PASSING_ACTIONS: Final = (
    "stop_answer",
    "back_to_prompt",
    "ask_again",
    "rename_session",
    "export",
    "branch",
    "detach",
)


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
        key("ctrl+b", "read", "read"),
        key("ctrl+f", "find", "find", priority=True),
        key("ctrl+o", "attach", "attach"),
        key("ctrl+d", "detach", "detach", show=False, priority=True),
        key("ctrl+s", "export", "export", show=False),
        key("ctrl+t", "branch", "branch", show=False, priority=True),
        key("ctrl+l", "session_list", "session_list", show=False),
        key("ctrl+up,alt+up", "step(-1)", "previous_session", show=False),
        key("ctrl+down,alt+down", "step(1)", "next_session", show=False),
    ]

    def __init__(
        self, texts: Texts, address: str, *, client: Client, clock: Clock, drafts: Drafts
    ) -> None:
        super().__init__(texts, address)
        self._clock = clock
        self._conversations = Conversations(
            client,
            spawn=lambda work: start(self, work, group="follow"),
            tell=lambda change: self.post_message(Changed(change)),
        )
        self._shown = drafts.shown
        self._drafts = drafts
        self._is_sending = False
        self._works: tuple[bool, ...] = ()
        self._list = SessionList(texts)
        self._view = ConversationView(texts)
        self._composer = Composer(texts)
        self._errands = ChatErrands(
            self, client=client, conversations=self._conversations, clock=clock, drafts=drafts
        )
        self._deeds = TurnDeeds(
            self,
            self._conversations,
            self._errands,
            Hands(ask=self._ask, put_back=self._composer.put_back, go=self._switch),
        )

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="chat"):
            yield self._list
            with Vertical(id="talk"):
                yield self._view
                yield self._composer

    def on_mount(self) -> None:
        """Goes on where a screen before this one left off."""
        self._composer.load(self._drafts.of(self._shown))
        if self._shown:
            self._conversations.show(self._shown)
            self.call_later(self._show_conversation)

    def on_link_restored(self) -> None:
        self.attempt(self._read_again, group="read", exclusive=True)

    async def _read_again(self) -> None:
        await self._conversations.load_sessions()
        if self._shown:
            await self._conversations.load(self._shown)

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
        self._show_keys()

    def _show_keys(self) -> None:
        """Tells the footer only when a key comes or goes: it is made anew each time."""
        works = tuple(bool(self.check_action(action, ())) for action in PASSING_ACTIONS)
        if works != self._works:
            self._works = works
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
                is_warm=session.warm,
            )
            for session in known.sessions
        ]
        self._list.show(rows, current=self._shown, has_more=known.has_more_sessions)

    async def _show_turn(self, turn: LiveTurn) -> None:
        """A turn that is new at the end takes the window back to the latest turns."""
        if not self._view.show_turn(turn) and turn.phase == "sent":
            self._view.column.window = WINDOW_TURNS
            await self._show_conversation()

    async def _show_conversation(self) -> None:
        conversation = self._conversations.conversation(self._shown)
        turns = list(conversation.turns.values())
        window = self._view.window(self._shown)
        await self._view.show(
            self._shown,
            turns[-window:],
            has_older=len(turns) > window or conversation.older is not None,
            is_loading=bool(self._shown) and not conversation.loaded,
        )
        self._show_keys()

    # --- sessions ---------------------------------------------------------------------------

    async def on_session_list_chosen(self, message: SessionList.Chosen) -> None:
        await self._switch(message.session_id)

    def session_titles(self) -> dict[str, str]:
        """The sessions that are loaded, by id, as they are called in the list."""
        known = self._conversations
        return {
            session.id: session_title(self.texts, session, known.first_question(session.id))
            for session in known.sessions
        }

    async def open_session(self, session_id: str) -> None:
        """The app asks for a session, which may be new here."""
        await self._switch(session_id)

    def read_turns(self, session_id: str) -> None:
        """The app tells that a session may have turns which nobody asked for here."""
        if session_id and session_id == self._shown:
            load = partial(self._conversations.load, session_id)
            self.attempt(load, group="load", exclusive=True)

    def show_related(self, related: Related) -> None:
        """The app tells of questions to ask next in a session."""
        questions = tuple(one.question for one in related.questions)
        self._conversations.suggest(related.session_id, related.request_id, questions)

    async def _switch(self, session_id: str) -> None:
        if session_id != self._shown:
            self.keep_draft()
            self._shown = session_id
            self._conversations.show(session_id)
            self._composer.load(self._drafts.of(session_id))
            await self._show_conversation()
            self._show_sessions()
            if session_id:
                load = partial(self._conversations.load, session_id)
                self.attempt(load, group="load", exclusive=True)
        if session_id and self._conversations.session(session_id) is None:
            named = partial(self._conversations.load_session, session_id)
            self.attempt(named, group="name", exclusive=True)
        self._composer.focus_prompt()

    def keep_draft(self) -> None:
        """What stands in the prompt is kept, and which session is shown."""
        self._drafts.keep(self._shown, self._composer.draft)
        self._drafts.shown = self._shown

    async def action_new_session(self) -> None:
        await self._switch("")

    async def action_step(self, step: int) -> None:
        ids = ["", *(session.id for session in self._conversations.sessions)]
        at = ids.index(self._shown) if self._shown in ids else 0
        await self._switch(ids[max(0, min(len(ids) - 1, at + step))])

    def action_session_list(self) -> None:
        self._list.focus()

    def action_back_to_prompt(self) -> None:
        self._composer.focus_prompt()

    def action_rename_session(self) -> None:
        session = self._conversations.session(self._shown)
        if session is not None:
            self._errands.rename(session)

    def on_session_list_delete_wanted(self, message: SessionList.DeleteWanted) -> None:
        session = self._conversations.session(message.session_id)
        if session is not None:
            self._errands.delete(session, partial(self._delete, session.id))

    async def _delete(self, session_id: str) -> None:
        await self._conversations.delete(session_id)
        self._drafts.forget(session_id)
        if self._shown == session_id:
            self._composer.load(Draft())
            await self._switch("")
        await self._view.forget(session_id)

    def on_session_list_more_wanted(self, message: SessionList.MoreWanted) -> None:
        self.attempt(self._conversations.load_more_sessions, group="read", exclusive=True)

    # --- asking -----------------------------------------------------------------------------

    def on_composer_sent(self, message: Composer.Sent) -> None:
        self._ask(message.draft)

    def _ask(self, draft: Draft) -> None:
        if self._is_sending:
            return
        if self._conversations.has_open_answer(self._shown):
            self.notify(self.texts.chat_wait_for_answer, severity="warning", markup=False)
            return
        self._is_sending = True
        self.attempt(partial(self._send, draft), group="send", note=self.texts.chat_send_failed)

    async def _send(self, draft: Draft) -> None:
        """What was typed leaves the prompt only when the server has accepted it."""
        session_id = self._shown
        try:
            if not session_id:
                session_id = await self._conversations.create(safe_line(draft.text, TITLE_CHARS))
                if not self._shown:
                    self._shown = session_id
                    self._conversations.show(session_id)
                    await self._show_conversation()
                    self._show_sessions()
            await self._conversations.ask(session_id, draft.whole, now_ms=self._clock.now_ms())
        finally:
            self._is_sending = False
        if self._shown == session_id and self._composer.draft == draft:
            self._composer.load(Draft())
        elif self._drafts.of(session_id) == draft:
            self._drafts.forget(session_id)

    def action_stop_answer(self) -> None:
        self.attempt(partial(self._conversations.cancel, self._shown), group="stop")

    def action_ask_again(self) -> None:
        turns = list(self._conversations.conversation(self._shown).turns.values())
        self._composer.put_back(turns[-1].question)

    def action_attach(self) -> None:
        self._errands.attach(self._composer.attach)

    def action_detach(self) -> None:
        self._composer.detach()

    def on_composer_refused(self, message: Composer.Refused) -> None:
        self.notify(message.words, severity="warning", markup=False)

    # --- doing something with a turn ----------------------------------------------------------

    def action_read(self) -> None:
        self._view.focus()

    def on_conversation_view_deed_wanted(self, message: ConversationView.DeedWanted) -> None:
        self._deeds.do(message.deed, self._shown, message.turn)

    def action_branch(self) -> None:
        pointed = self._view.pointed
        if pointed is not None:
            self._deeds.do("branch", self._shown, pointed.turn)

    def on_turn_view_question_wanted(self, message: TurnView.QuestionWanted) -> None:
        self._ask_next(message.question)

    def _ask_next(self, question: str) -> None:
        self._ask(Draft(question))

    def on_turn_view_source_wanted(self, message: TurnView.SourceWanted) -> None:
        self._errands.read_source(message.match)

    def action_find(self) -> None:
        self._errands.find(self._shown, self._reveal)

    async def _reveal(self, hit: Hit) -> None:
        """Shows the turn that was found, whatever has to be read for it."""
        await self._switch(hit.session_id)
        if not hit.turn_id:
            return
        conversation = self._conversations.conversation(hit.session_id)
        if not conversation.loaded:
            await self._conversations.load(hit.session_id)
        conversation = self._conversations.conversation(hit.session_id)
        while hit.turn_id not in conversation.turns and conversation.older is not None:
            await self._conversations.load_older(hit.session_id)
        ids = list(conversation.turns)
        if hit.turn_id in ids:
            self._view.column.window = max(WINDOW_TURNS, len(ids) - ids.index(hit.turn_id))
            await self._show_conversation()
            self._view.focus()
            self._view.point_at(hit.turn_id)

    def action_export(self) -> None:
        session = self._conversations.session(self._shown)
        if session is not None:
            self._errands.export(session)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        has_open = self._conversations.has_open_answer(self._shown)
        match action:
            case "stop_answer":
                return has_open
            case "back_to_prompt":
                return not has_open
            case "ask_again":
                return not has_open and bool(self._conversations.conversation(self._shown).turns)
            case "rename_session" | "export":
                return bool(self._shown)
            case "branch":
                return self._view.pointed is not None
            case "detach":
                return self._composer.can_detach
            case "read":
                return not self._view.has_focus
            case _:
                return True

    # --- reading ----------------------------------------------------------------------------

    def on_prompt_paged(self, message: Prompt.Paged) -> None:
        self._view.page(message.direction)

    async def on_turn_column_older_wanted(self, message: TurnColumn.OlderWanted) -> None:
        self._view.column.window += WINDOW_TURNS
        if self._view.column.window <= len(self._conversations.conversation(self._shown).turns):
            await self._show_conversation()
        else:
            load = partial(self._conversations.load_older, self._shown)
            self.attempt(load, group="older", exclusive=True)
