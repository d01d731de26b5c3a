"""The table of FAQ entries, or of what a search found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable

from ui.entries import Row
from ui.keys import key
from ui.safe_text import safe_line
from ui.texts import Texts

_CATEGORY_CELLS: Final = 14
_LANGUAGE_CELLS: Final = 8
_LAST_CELLS: Final = 10
_PADDING_CELLS: Final = 2  # on each column, both sides together
_QUESTION_MIN_CELLS: Final = 20


class FaqTable(DataTable[Text]):
    """Shows rows; the last column is the score in a search and the state otherwise."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter,e", "edit_entry", "edit_entry"),
        key("h", "show_history", "history"),
        key("delete,d", "delete_entry", "delete_entry"),
    ]

    @dataclass
    class Pointed(Message):
        """The cursor is on another entry, or on none."""

        row: Row | None

    @dataclass
    class EditWanted(Message):
        row: Row

    @dataclass
    class HistoryWanted(Message):
        row: Row

    @dataclass
    class DeleteWanted(Message):
        row: Row

    class MoreWanted(Message):
        """The cursor reached the last row."""

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="faq-table", cursor_type="row", zebra_stripes=True)
        self._texts = texts
        self._shown: dict[str, Row] = {}
        self._is_scored = False

    @property
    def pointed(self) -> Row | None:
        """The row under the cursor."""
        rows = list(self._shown.values())
        return rows[self.cursor_row] if 0 <= self.cursor_row < len(rows) else None

    def show(self, rows: Iterable[Row], *, scored: bool) -> None:
        """Shows rows in the order given; the cursor stays on its entry if that is still there."""
        kept = self.pointed
        self._shown = {row.id: row for row in rows}
        self._is_scored = scored
        self._fill(kept.id if kept is not None else "")
        self.post_message(self.Pointed(self.pointed))

    def on_resize(self, event: Resize) -> None:
        self._fill(self.pointed.id if self.pointed is not None else "")

    def _fill(self, pointed_id: str) -> None:
        texts = self._texts
        fixed = _CATEGORY_CELLS + _LANGUAGE_CELLS + _LAST_CELLS + 4 * _PADDING_CELLS
        room = max(_QUESTION_MIN_CELLS, self.scrollable_content_region.width - fixed)
        self.clear(columns=True)
        self.add_column(Text(texts.faq_question), width=room)
        self.add_column(Text(texts.faq_category), width=_CATEGORY_CELLS)
        self.add_column(Text(texts.faq_language), width=_LANGUAGE_CELLS)
        last = texts.faq_score if self._is_scored else texts.faq_state
        self.add_column(Text(last), width=_LAST_CELLS)
        for row in self._shown.values():
            self.add_row(
                _cell(row.question),
                _cell(row.category),
                _cell(row.language),
                self._last_cell(row),
                key=row.id,
            )
        ids = list(self._shown)
        if pointed_id in self._shown:
            self.move_cursor(row=ids.index(pointed_id), animate=False)

    def _last_cell(self, row: Row) -> Text:
        if self._is_scored:
            return Text(f"{row.score:.2f}" if row.score is not None else "", justify="right")
        if row.state == "draft":
            return Text(self._texts.faq_draft, style="italic")
        return Text(self._texts.faq_published)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Pointed(self.pointed))
        if self.has_focus and self.row_count and self.cursor_row == self.row_count - 1:
            self.post_message(self.MoreWanted())

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        self.action_edit_entry()

    def action_edit_entry(self) -> None:
        if self.pointed is not None:
            self.post_message(self.EditWanted(self.pointed))

    def action_show_history(self) -> None:
        if self.pointed is not None:
            self.post_message(self.HistoryWanted(self.pointed))

    def action_delete_entry(self) -> None:
        if self.pointed is not None:
            self.post_message(self.DeleteWanted(self.pointed))


def _cell(text: str) -> Text:
    return Text(safe_line(text), no_wrap=True, overflow="ellipsis")
