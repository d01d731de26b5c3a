"""Ways to go from a place, on one line: each with its key, and each can be clicked."""

from collections.abc import Sequence
from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.events import Click
from textual.message import Message

from ui.keys import in_words
from ui.texts import Texts
from ui.widgets.plain import Plain


class Link(Plain):
    """One way to go; a click asks for it."""

    ALLOW_SELECT = False

    @dataclass
    class Wanted(Message):
        action: str

    def __init__(self, texts: Texts, binding: Binding) -> None:
        worded = in_words(texts, binding)
        super().__init__(f"{binding.key.split(',')[0]} {worded.description}", classes="link")
        self._action = binding.action
        self.tooltip = worded.tooltip

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Wanted(self._action))


class Links(Horizontal):
    """The bindings in the order given."""

    def __init__(self, texts: Texts, bindings: Sequence[Binding]) -> None:
        super().__init__(classes="links")
        self._texts = texts
        self._bindings_shown = tuple(bindings)

    def compose(self) -> ComposeResult:
        for binding in self._bindings_shown:
            yield Link(self._texts, binding)
