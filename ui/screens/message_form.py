"""The form for a message to a person, for now or for a time to come."""

from functools import partial
from typing import ClassVar, Final, Literal

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Select

from appliance.schema.inbox import MAX_MESSAGE_CHARS, InboxAccepted, InboxPost
from ui.clock import Clock
from ui.drafts import Drafts, FormDraft
from ui.entries import EntryDraft
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.form import Form
from ui.texts import Texts
from ui.times import point_of
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain, TextField

Manner = Literal["calm", "at_once"]
MAX_WHEN_CHARS: Final = 40


class MessageForm(Form[InboxAccepted]):
    """The result says whether it was delivered or waits."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+s", "send_message", "send_message"),
        key("escape", "close", "close"),
    ]

    def __init__(
        self, texts: Texts, uid: str, *, operating: Operating, clock: Clock, drafts: Drafts
    ) -> None:
        words = texts.messages
        super().__init__(texts, leaving=words.leaving, drafts=drafts, about=f"message:{uid}")
        self._uid = uid
        self._operating = operating
        self._clock = clock
        self._text = TextField(id="message-text")
        self._text.border_title = words.text
        self._when = LineField(
            id="message-when", max_length=MAX_WHEN_CHARS, placeholder=words.when_now
        )
        self._when.border_title = words.when
        manners: tuple[tuple[str, Manner], ...] = (
            (words.calm, "calm"),
            (words.at_once, "at_once"),
        )
        self._manner: Select[Manner] = Select(
            [(Text(said), manner) for said, manner in manners],
            allow_blank=False,
            value="calm",
            id="message-manner",
        )

    def compose(self) -> ComposeResult:
        title = self.texts.messages.new_title.format(uid=safe_line(self._uid, 63))
        with Vertical(classes="form"):
            yield Plain(title, classes="dialog-title")
            yield self._text
            yield self._when
            yield self._manner
            yield self.trouble
        yield KeyBar()

    def on_mount(self) -> None:
        if self.begun is not None:
            self._text.set_text(self.begun.written.answer)
        self._text.focus()

    @property
    def is_changed(self) -> bool:
        return bool(self._text.text.strip())

    @property
    def draft(self) -> FormDraft:
        return FormDraft(EntryDraft(answer=self._text.text))

    def action_send_message(self) -> None:
        words, text, when = self.texts.messages, self._text.text.strip(), self._when.value.strip()
        at_ms = point_of(when, self._clock.now_ms(), self._clock.zone) if when else None
        if not text:
            self.complain(words.text_missing)
        elif len(text) > MAX_MESSAGE_CHARS:
            limit = MAX_MESSAGE_CHARS
            self.complain(self.texts.faq_too_long.format(field=words.text, limit=limit))
        elif when and at_ms is None:
            self.complain(words.when_wrong)
        else:
            post = InboxPost(text=text, deliver_at_ms=at_ms, urgent=self._manner.value == "at_once")
            self.send(partial(self._operating.send_message, self._uid, post))
