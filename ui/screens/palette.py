"""Everything one can do from here, found by typing a part of its name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from ui.keys import key
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain

SHOWN_MAX: Final = 200


@dataclass(frozen=True)
class Command:
    """Something one can do: its name and what it does are safe; `id` is for who asked."""

    id: str
    name: str
    tip: str = ""
    keys: str = ""


def fitting(commands: Sequence[Command], typed: str) -> list[Command]:
    """Those that have all typed words; where the name begins with them comes first."""
    words = typed.casefold().split()

    def has_all(command: Command) -> bool:
        text = f"{command.name} {command.tip}".casefold()
        return all(word in text for word in words)

    def rank(command: Command) -> int:
        name = command.name.casefold()
        return 0 if words and name.startswith(words[0]) else 1

    return sorted(filter(has_all, commands), key=rank)[:SHOWN_MAX]


class Palette(Dialog[str | None]):
    """The result is the id of the command that was chosen."""

    AUTO_FOCUS = "#palette-words"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "close", "close"),
        key("down", "step(1)", "choose", show=False, priority=True),
        key("up", "step(-1)", "choose", show=False, priority=True),
    ]

    def __init__(self, texts: Texts, commands: Sequence[Command]) -> None:
        super().__init__(texts)
        self._commands = commands
        self._field = LineField(
            id="palette-words", placeholder=texts.operate.palette_hint, max_length=100
        )
        self._list = OptionList(markup=False, id="palette-commands")
        self._shown: list[Command] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(self.texts.operate.palette_title, classes="dialog-title")
            yield self._field
            yield self._list
        yield KeyBar()

    def on_mount(self) -> None:
        self._list.can_focus = False
        self._fill("")

    def _fill(self, typed: str) -> None:
        self._shown = fitting(self._commands, typed)
        self._list.set_options([Option(_line(one), id=one.id) for one in self._shown])
        self._list.highlighted = 0 if self._shown else None

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._fill(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        at = self._list.highlighted
        if at is not None and at < len(self._shown):
            self.dismiss(self._shown[at].id)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.dismiss(event.option_id)  # the list may be another one by now

    def action_step(self, step: int) -> None:
        if self._shown:
            at = (self._list.highlighted or 0) + step
            self._list.highlighted = max(0, min(len(self._shown) - 1, at))

    def action_close(self) -> None:
        self.dismiss(None)


def _line(command: Command) -> Content:
    return Content.assemble(
        (command.name, "bold"), (f"  {command.keys}", "$text-accent"), (f"  {command.tip}", "dim")
    )
