"""All keys with what they do, made from the bindings themselves."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical, VerticalScroll

from ui.keys import in_words, key
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain


@dataclass(frozen=True)
class KeySection:
    """Keys that work in one place."""

    title: str
    bindings: tuple[Binding, ...]


class HelpScreen(Dialog[None]):
    """Shows sections of keys; the arrow keys scroll."""

    AUTO_FOCUS = "#help-scroll"
    BINDINGS: ClassVar[list[BindingType]] = [key("escape,f1,q", "close", "close")]

    def __init__(self, texts: Texts, sections: Iterable[KeySection]) -> None:
        super().__init__(texts)
        self._sections = tuple(sections)

    def compose(self) -> ComposeResult:
        with Vertical(classes="help"):
            yield Plain(self.texts.help_title, classes="dialog-title")
            with VerticalScroll(id="help-scroll"):
                for section in self._sections:
                    yield Plain(section.title, classes="help-section")
                    with Grid(classes="help-keys"):
                        for binding in section.bindings:
                            yield Plain(self._keys_of(binding), classes="help-key")
                            yield Plain(in_words(self.texts, binding).tooltip)
                yield Plain(self.texts.help_notes, classes="help-notes")
        yield KeyBar()

    def _keys_of(self, binding: Binding) -> str:
        names = (binding.with_key(name.strip()) for name in binding.key.split(","))
        return "  ".join(self.app.get_key_display(name) for name in names)

    def action_close(self) -> None:
        self.dismiss(None)
