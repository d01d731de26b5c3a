"""The three ways to put text on screen or take it in, safe by construction.

`Plain` never reads markup; the fields clean what is pasted into them. Every other module uses
these in place of Textual's `Static`, `Label`, `Input` and `TextArea`, and a test holds that.
"""

from textual.content import Content
from textual.events import Paste
from textual.geometry import Offset
from textual.widgets import Input, Static, TextArea

from ui.safe_text import safe_line, safe_text


class Plain(Static):
    """Text shown exactly as given; square brackets mean nothing."""

    def __init__(
        self, text: str | Content = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(text, markup=False, id=id, classes=classes)


class LineField(Input):
    """A field of one line."""

    def set_text(self, text: str) -> None:
        self.value = safe_line(text, max_chars=10_000)

    async def _on_paste(self, event: Paste) -> None:  # type: ignore[override]  # Textual awaits it
        event.stop()
        event.prevent_default()
        line = safe_line(event.text, max_chars=10_000)
        if line:
            self.insert_text_at_cursor(line)


class TextField(TextArea):
    """A field of several lines."""

    def __init__(self, *, id: str | None = None, placeholder: str = "") -> None:
        super().__init__(id=id, placeholder=placeholder, highlight_cursor_line=False)

    def set_text(self, text: str) -> None:
        self.load_text(safe_text(text))

    async def _on_paste(self, event: Paste) -> None:
        event.stop()
        event.prevent_default()
        await super()._on_paste(Paste(safe_text(event.text)))

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Nothing while the cursor is beyond the text, as it is in the middle of an undo.

        Textual 8 measures the shorter text before it moves the cursor, and a scrollbar that goes
        then would look for a line that is not there.
        """
        if self.cursor_location != self.clamp_visitable(self.cursor_location):
            return Offset()
        return super().scroll_cursor_visible(center=center, animate=animate)
