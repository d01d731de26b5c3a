"""Where a question is written: Enter sends, Ctrl+J (or Shift+Enter) starts a new line."""

from dataclasses import dataclass
from typing import ClassVar

from textual.binding import BindingType
from textual.events import Key
from textual.message import Message
from textual.widgets import TextArea

from appliance.schema.fields import MAX_TEXT_CHARS
from ui.keys import key
from ui.texts import Texts
from ui.widgets.plain import TextField


class Prompt(TextField):
    """A field that grows with its text; what is in it stays until the screen takes it out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "send", "send"),
        key("ctrl+j,shift+enter", "new_line", "new_line"),
        key("pageup", "page(-1)", "page_up", show=False, priority=True),
        key("pagedown", "page(1)", "page_down", show=False, priority=True),
    ]

    @dataclass
    class Sent(Message):
        text: str

    @dataclass
    class Paged(Message):
        """The conversation should scroll by a page: -1 up, 1 down."""

        direction: int

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="prompt", placeholder=texts.chat_prompt)
        self._texts = texts

    async def _on_key(self, event: Key) -> None:
        """Takes its keys here, in order with what is typed: a binding could overtake a letter."""
        if event.key == "enter":
            self.action_send()
        elif event.key in ("ctrl+j", "shift+enter"):
            self.action_new_line()
        else:
            return
        event.stop()
        event.prevent_default()

    def action_send(self) -> None:
        if self.text.strip() and len(self.text) <= MAX_TEXT_CHARS:
            self.post_message(self.Sent(self.text))

    def action_new_line(self) -> None:
        self.insert("\n")

    def action_page(self, direction: int) -> None:
        self.post_message(self.Paged(direction))

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        excess = len(self.text) - MAX_TEXT_CHARS
        self.set_class(excess > 0, "-too-long")
        self.border_subtitle = (
            self._texts.chat_prompt_full.format(count=excess) if excess > 0 else ""
        )
