"""Deleted entries that are remembered, and the way back.

Bringing one back names the version that is shown: when somebody else has brought it back or
deleted it anew, the server refuses, and the list is read again.
"""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content

from appliance.errors import Conflict, NotFound
from appliance.schema.curation import DeletedEntry
from ui.clock import Clock
from ui.curating import EDITED_SINCE, Curating
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.faq_history import entry_words
from ui.texts import Texts
from ui.widgets.tables import cell
from ui.wording import moment


class DeletedScreen(Desk[bool]):
    """The result is whether an entry came back."""

    AUTO_FOCUS = "#deleted"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("r,enter", "bring_back", "bring_back"),
        key("ctrl+r", "refresh_list", "refresh"),
        key("escape,q", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, curating: Curating, clock: Clock) -> None:
        words = texts.curate
        super().__init__(
            texts,
            name="deleted",
            title=words.deleted_title,
            columns=(words.deleted_when, texts.faq_category, texts.faq_question),
        )
        self._curating = curating
        self._clock = clock
        self._entries: dict[str, DeletedEntry] = {}
        self._has_written = False

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> DeletedEntry | None:
        return self._entries.get(self.table.pointed)

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        await self._load()
        words, count = self.texts.curate, len(self._entries)
        self.say(words.deleted_count.format(count=count) if count else words.deleted_none)

    async def _load(self) -> None:
        entries = await self._curating.deleted()
        self._entries = {entry.id: entry for entry in entries}
        self.table.show([(entry.id, self._cells(entry)) for entry in entries])
        self._show_pointed()

    def _cells(self, entry: DeletedEntry) -> tuple[Text, ...]:
        at = moment(entry.deleted_at_ms, self._clock.now_ms(), self._clock.zone)
        return (Text(at), cell(entry.category, 16), cell(entry.question, 200))

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        entry = self._pointed
        self.show_text(entry_words(entry) if entry is not None else Content())
        self.offer_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._pointed is not None if action == "bring_back" else True

    def on_data_table_row_selected(self) -> None:
        self.action_bring_back()

    def action_bring_back(self) -> None:
        if self._pointed is not None:
            self.begin(partial(self._bring_back, self._pointed))

    async def _bring_back(self, entry: DeletedEntry) -> None:
        words = self.texts.curate
        try:
            back = await self._curating.restore(entry.id, entry.version, seen=entry.version)
        except (Conflict, NotFound) as error:
            if isinstance(error, Conflict) and error.reason != EDITED_SINCE:
                raise
            self._has_written = True  # by somebody else, which the table should show too
            await self._load()
            self.say(words.deleted_conflict, is_trouble=True)
            return
        self._has_written = True
        await self._load()
        question = safe_line(back.question, 60)
        self.say(words.deleted_back.format(version=back.version, question=question))

    def action_close(self) -> None:
        self.dismiss(self._has_written)
