"""One FAQ entry to read, as it stands now, or as it was when an answer was made from it."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll

from appliance.schema.faq import Entry
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.answer import Answer
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain
from ui.wording import block


class EntryReader(Dialog[Entry | None]):
    """Shows an entry; the result is the entry itself when the person wants to edit it."""

    AUTO_FOCUS = "#entry-text"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("e", "edit", "edit_entry"),
        key("escape,enter,q", "close", "close"),
    ]

    def __init__(self, texts: Texts, entry: Entry, *, is_current: bool, note: str = "") -> None:
        """`note` says what an entry is that is not current, if not one that went on since."""
        super().__init__(texts)
        self._note = note or texts.chat.source_gone
        self._entry = entry
        self._is_current = is_current

    def compose(self) -> ComposeResult:
        texts, entry = self.texts, self._entry
        with Vertical(classes="form"):
            title = f"{texts.chat.source_title}  {safe_line(entry.category, 60)}".rstrip()
            yield Plain(title, classes="dialog-title")
            with VerticalScroll(id="entry-text"):
                if not self._is_current:
                    yield Plain(self._note, classes="form-note")
                yield Plain(block(entry.question), classes="question")
                yield Answer(entry.answer)
                if entry.phrasings:
                    phrasings = "\n".join(f"  {safe_line(one)}" for one in entry.phrasings)
                    yield Plain(f"{texts.chat.source_phrasings}\n{phrasings}", classes="form-note")
        yield KeyBar()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._is_current if action == "edit" else True

    def action_edit(self) -> None:
        self.dismiss(self._entry)

    def action_close(self) -> None:
        self.dismiss(None)
