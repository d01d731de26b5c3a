"""Words to find in all conversations: results come while one types, Enter opens one."""

import itertools
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
from ui.background import start
from ui.finding import Finder
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import Dialog
from ui.searching import Hit, is_searchable
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain
from ui.wording import error_words

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
        self._found_for = ""
        self._is_to_open = False  # Enter was pressed before these words were looked for

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(self.texts.chat.find_title, classes="dialog-title")
            yield self._field
            yield self._note
            yield self._list
        yield KeyBar()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._is_to_open = False
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(DELAY_S, self._find_now)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._found_for == self._field.value:
            self._open()
        else:
            self._find_now()
            self._is_to_open = True

    def _open(self) -> None:
        if self._hits:
            self.dismiss(list(self._hits.values())[self._list.highlighted or 0])

    def _find_now(self) -> None:
        if self._timer is not None:
            self._timer.stop()
        wanted = self._field.value
        self._found_for = ""
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
            found = await self._finder.find(wanted)
        except SluiceError as error:
            self._note.update(error_words(self.texts, error).replace("\n", " "))
            return
        self._hits = {next(self._ids): hit for hit in found.hits}
        self._list.add_options(Option(self._line(hit), id=at) for at, hit in self._hits.items())
        count = len(self._hits)
        template = texts.find_found if found.is_complete else texts.find_stopped
        self._note.update(template.format(count=count) if count else texts.find_none)
        self._found_for = wanted
        if self._is_to_open:
            self._open()

    def _line(self, hit: Hit) -> Content:
        texts = self.texts.chat
        where = texts.find_in_answer if hit.is_answer else texts.find_in_question
        if not hit.turn_id:
            where = texts.find_in_title
        title = safe_line(hit.title) or self.texts.chat_untitled
        return Content.assemble((title, "bold"), (f"  {where}  ", "dim"), hit.snippet)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        hit = self._hits.get(event.option_id or "")
        if hit is not None:  # else another search has begun since
            self.dismiss(hit)

    def action_to_results(self) -> None:
        self._list.focus()

    def action_close(self) -> None:
        self.dismiss(None)
