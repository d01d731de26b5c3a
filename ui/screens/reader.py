"""A text to read over a screen, from wherever it came."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll

from ui.keys import key
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain


class Reader(Dialog[None]):
    """Shows a title and a safe text; the arrow keys scroll."""

    AUTO_FOCUS = "#reader-text"
    BINDINGS: ClassVar[list[BindingType]] = [key("escape,enter,q", "close", "close")]

    def __init__(self, texts: Texts, *, title: str, text: str) -> None:
        super().__init__(texts)
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(self._title, classes="dialog-title")
            with VerticalScroll(id="reader-text"):
                yield Plain(self._text)
        yield KeyBar()

    def action_close(self) -> None:
        self.dismiss(None)
