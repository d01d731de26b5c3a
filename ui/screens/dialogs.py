"""Small questions over a screen: yes or no, one line of text, and one of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Input, OptionList

from ui.keys import key
from ui.paths import MAX_PATH_CHARS
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.path_field import PathField
from ui.widgets.plain import LineField, Plain


@dataclass(frozen=True)
class Question:
    """What `Confirm` asks. A dangerous one starts on "no"."""

    title: str
    body: str
    yes: str
    no: str
    is_dangerous: bool = True


class Confirm(Dialog[bool]):
    """Asks a question; the result is whether the person agreed. Escape means no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "close", "close"),
        key("left", "app.focus_previous", "choose", show=False),
        key("right", "app.focus_next", "choose", show=False),
    ]

    def __init__(self, texts: Texts, question: Question) -> None:
        super().__init__(texts)
        self._question = question
        variant: Literal["error", "primary"] = "error" if question.is_dangerous else "primary"
        self._yes = Button(Content(question.yes), id="yes", variant=variant)
        self._no = Button(Content(question.no), id="no")

    def compose(self) -> ComposeResult:
        question = self._question
        with Vertical(classes="dialog"):
            yield Plain(question.title, classes="dialog-title")
            yield Plain(question.body, classes="dialog-body")
            with Horizontal(classes="dialog-buttons"):
                yield self._yes
                yield self._no
        yield KeyBar()

    def on_mount(self) -> None:
        (self._no if self._question.is_dangerous else self._yes).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_close(self) -> None:
        self.dismiss(False)


class AskLine(Dialog[str | None]):
    """Asks for one line of text; None when the person gave up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "accept", "accept"),
        key("escape", "close", "close"),
    ]
    FIELD: ClassVar[type[LineField]] = LineField

    def __init__(self, texts: Texts, *, title: str, label: str, text: str, max_chars: int) -> None:
        super().__init__(texts)
        self._title = title
        self._field = self.FIELD(id="line", max_length=max_chars)
        self._field.border_title = label
        self._field.set_text(text)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(self._title, classes="dialog-title")
            yield self._field
        yield KeyBar()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_accept()

    def action_accept(self) -> None:
        self.dismiss(self._field.value.strip())

    def action_close(self) -> None:
        self.dismiss(None)


class AskPath(AskLine):
    """Asks for the path of a file; names are completed."""

    FIELD = PathField

    def __init__(self, texts: Texts, *, title: str, label: str, text: str) -> None:
        super().__init__(texts, title=title, label=label, text=text, max_chars=MAX_PATH_CHARS)


class PickOne(Dialog[int | None]):
    """Asks for one of several lines; the result is its place from 0, None for none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "pick", "choose"),
        key("escape", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, title: str, lines: Sequence[str]) -> None:
        super().__init__(texts)
        self._title = title
        self._lines = OptionList(*(Content(line) for line in lines), markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(self._title, classes="dialog-title")
            yield self._lines
        yield KeyBar()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_index)

    def action_pick(self) -> None:
        self._lines.action_select()

    def action_close(self) -> None:
        self.dismiss(None)
