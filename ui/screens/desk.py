"""A list over a screen: a note on how things stand, a table, and the text of the line pointed at.

The subclass reads its lines, says what a line looks like, and what can be done with it. One thing
is done at a time, and what went wrong is said in the note, where it stays until the next one.
"""

from collections.abc import Sequence
from functools import partial
from typing import TypeVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from appliance.errors import SluiceError
from ui.background import Work, start
from ui.keys import ours
from ui.screens.frame import Dialog, explained
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable

T = TypeVar("T")


class Desk(Dialog[T]):
    """`table` and `text` are filled by the subclass."""

    def __init__(self, texts: Texts, *, name: str, title: str, columns: Sequence[str]) -> None:
        super().__init__(texts)
        self.title_line = Plain(title, classes="dialog-title")
        self.note = Plain(texts.faq_loading, classes="desk-note")
        self.table = RecordTable(name, columns, pointing=True)
        self.table.add_class("desk-table")
        self.text = Plain()
        self.scroll = VerticalScroll(self.text, classes="desk-text")
        self._is_busy = False
        self._offered: tuple[bool, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield self.title_line
            yield self.note
            yield self.table
            yield self.scroll
        yield KeyBar()

    def say(self, words: str, *, is_trouble: bool = False) -> None:
        self.note.update(words)
        self.note.set_class(is_trouble, "-trouble")

    def show_text(self, words: Content) -> None:
        self.text.update(words)
        self.scroll.scroll_home(animate=False)

    def offer_keys(self) -> None:
        """Makes the footer anew when other keys work now; each time, that can be seen."""
        offered = tuple(
            bool(self.check_action(binding.action, ())) for binding in ours(self.BINDINGS)
        )
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def begin(self, work: Work) -> None:
        """Runs `work` unless something is under way; its failure is said in the note."""
        if self._is_busy:
            self.notify(self.texts.curate.busy, markup=False)
            return
        self._is_busy = True
        start(self, partial(self._carry_out, work), group="desk")

    async def _carry_out(self, work: Work) -> None:
        try:
            await work()
        except SluiceError as error:
            self.say(explained(self, error), is_trouble=True)
        finally:
            self._is_busy = False
