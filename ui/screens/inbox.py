"""Messages to the person, from services and from Sluice itself."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message

from appliance.schema.inbox import InboxMessage
from ui.clock import Clock
from ui.inbox import Inbox
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import SluiceScreen
from ui.screens.reader import Reader
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell
from ui.wording import block, message_line, moment


@dataclass
class SessionWanted(Message):
    """The person wants to see a conversation."""

    session_id: str


class InboxScreen(SluiceScreen):
    """The newest message on top; opening one marks it as read on every device."""

    PLACE = "inbox"
    AUTO_FOCUS = "#inbox"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter,o", "open_message", "open_message"),
        key("a", "read_all", "read_all"),
        key("r", "refresh_list", "refresh"),
    ]

    def __init__(self, texts: Texts, address: str, *, inbox: Inbox, clock: Clock) -> None:
        super().__init__(texts, address)
        self._inbox = inbox
        self._clock = clock
        words = texts.operate
        self._note = Plain(words.inbox_empty, classes="place-note")
        titles = ("", words.inbox_time, words.inbox_from, words.inbox_message)
        self._table = RecordTable("inbox", titles, pointing=True)

    def compose_body(self) -> ComposeResult:
        yield self._note
        yield self._table

    def on_mount(self) -> None:
        self.show_messages()

    def show_messages(self) -> None:
        """The app tells that the inbox changed."""
        if not self.is_attached:
            return
        messages = self._inbox.messages
        self._table.show([(message.id, self._cells(message)) for message in messages])
        words = self.texts.operate
        said = words.inbox_count.format(count=len(messages), unread=self._inbox.unread)
        self._note.update(said if messages else words.inbox_empty)
        self.refresh_bindings()

    def _cells(self, message: InboxMessage) -> tuple[Text, ...]:
        style = "" if message.read else "bold"
        at = moment(message.sent_at_ms, self._clock.now_ms(), self._clock.zone)
        return (
            Text("" if message.read else "●"),
            Text(at),
            cell(message.sender, 20),
            Text(message_line(self.texts, message), style=style, no_wrap=True),
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "open_message":
                return bool(self._inbox.messages)
            case "read_all":
                return self._inbox.unread > 0
            case _:
                return True

    def on_data_table_row_selected(self) -> None:
        self.action_open_message()

    def action_open_message(self) -> None:
        message = self._inbox.message(self._table.pointed)
        if message is None:
            return
        self.attempt(partial(self._inbox.acknowledge, message.id), group="ack")

        def go(_: None) -> None:
            if message.session_id:
                self.post_message(SessionWanted(message.session_id))

        title = safe_line(message.title) or safe_line(message.sender, 60)
        text = message_line(self.texts, message)
        if message.kind == "message":
            text = block(message.text)
        self.app.push_screen(Reader(self.texts, title=title, text=text), go)

    def action_read_all(self) -> None:
        self.attempt(self._inbox.acknowledge_all, group="ack")

    def action_refresh_list(self) -> None:
        self.attempt(self._inbox.load, group="load", exclusive=True)
