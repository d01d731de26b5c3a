"""Words to find in all conversations: results come while one types, Enter opens one."""

import itertools
from contextlib import aclosing
from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from appliance.errors import SluiceError
from appliance.schema.conversations import Session
from ui.background import start
from ui.finding import Finder
from ui.keys import key
from ui.screens.frame import Dialog
from ui.searching import HITS_MAX, Hit, is_searchable
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain
from ui.wording import error_words, session_title

DELAY_S: Final = 0.2
_MOST_CHARS: Final = 200


class FindScreen(Dialog[Hit | None]):
    """The result is the hit that was chosen."""

    AUTO_FOCUS = "#find-words"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "close", "close"),
        key("down", "to_results", "choose", show=False),
    ]

    def __init__(self, texts: Texts, finder: Finder) -> None:
        super().__init__(texts)
        self._finder = finder
        self._field = LineField(
            id="find-words", placeholder=texts.chat.find_placeholder, max_length=_MOST_CHARS
        )
        self._note = Plain(texts.chat.find_hint, classes="form-note")
        self._list = OptionList(markup=False, id="find-hits")
        self._hits: dict[str, Hit] = {}  # by the id of their lines, which is never used again
        self._ids = map(str, itertools.count())
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(self.texts.chat.find_title, classes="dialog-title")
            yield self._field
            yield self._note
            yield self._list
        yield KeyBar()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DELAY_S, self._find_now)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._hits:
            self.dismiss(list(self._hits.values())[self._list.highlighted or 0])

    def _find_now(self) -> None:
        wanted = self._field.value
        self._hits.clear()
        self._list.clear_options()
        if not is_searchable(wanted):
            self.workers.cancel_group(self, "find")
            self._note.update(self.texts.chat.find_hint)
            return
        start(self, partial(self._find, wanted), group="find", exclusive=True)

    async def _find(self, wanted: str) -> None:
        texts = self.texts.chat
        try:
            async with aclosing(self._finder.find(wanted)) as found:
                async for session, hit in found:
                    line = next(self._ids)
                    self._hits[line] = hit
                    self._list.add_option(Option(self._line(session, hit), id=line))
                    self._note.update(texts.find_reading.format(count=len(self._hits)))
        except SluiceError as error:
            self._note.update(error_words(self.texts, error).replace("\n", " "))
            return
        count = len(self._hits)
        template = texts.find_stopped if count >= HITS_MAX else texts.find_found
        self._note.update(template.format(count=count) if count else texts.find_none)

    def _line(self, session: Session, hit: Hit) -> Content:
        where = (
            self.texts.chat.find_in_answer if hit.is_answer else self.texts.chat.find_in_question
        )
        return Content.assemble(
            (session_title(self.texts, session, ""), "bold"), (f"  {where}  ", "dim"), hit.snippet
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        hit = self._hits.get(event.option_id or "")
        if hit is not None:  # else another search has begun since
            self.dismiss(hit)

    def action_to_results(self) -> None:
        self._list.focus()

    def action_close(self) -> None:
        self.dismiss(None)
