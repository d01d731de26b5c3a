"""The table of FAQ entries, or of what a search found."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import BindingType
from textual.events import Resize
from textual.message import Message
from textual.widgets import DataTable

from ui.entries import ORDERS, Order, Row
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
        key("o", "sort_entries", "sort_entries", show=False),
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

    @dataclass
    class SortWanted(Message):
        """By this column, or by the next one where it is None."""

        order: Order | None

    class MoreWanted(Message):
        """The cursor reached the last row."""

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="faq-table", cursor_type="row", zebra_stripes=True)
        self._texts = texts
        self._rows: list[Row] = []
        self._is_scored = False
        self._order: Order = "written"

    @property
    def pointed(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor_row] if 0 <= self.cursor_row < len(self._rows) else None

    def show(self, rows: Iterable[Row], *, scored: bool, order: Order = "written") -> None:
        """Shows rows in the order given; the cursor stays on its entry if that is still there.

        Rows behind those that stand there already are only added: however many there are, a
        further page costs what a page costs.
        """
        before, self._rows = self._rows, list(rows)
        is_same = (self._is_scored, self._order) == (scored, order)
        if before and is_same and self._rows[: len(before)] == before:
            self._add(self._rows[len(before) :])
            return
        kept = before[self.cursor_row] if 0 <= self.cursor_row < len(before) else None
        self._is_scored, self._order = scored, order
        self._fill(kept.id if kept is not None else "")
        self.post_message(self.Pointed(self.pointed))

    def on_resize(self, event: Resize) -> None:
        self._fill(self.pointed.id if self.pointed is not None else "")

    def _fill(self, pointed_id: str) -> None:
        texts = self._texts
        fixed = _CATEGORY_CELLS + _LANGUAGE_CELLS + _LAST_CELLS + 4 * _PADDING_CELLS
        room = max(_QUESTION_MIN_CELLS, self.scrollable_content_region.width - fixed)
        self.clear(columns=True)
        last = texts.faq_score if self._is_scored else texts.faq_state
        columns: tuple[tuple[Order, str, int], ...] = (
            ("question", texts.faq_question, room),
            ("category", texts.faq_category, _CATEGORY_CELLS),
            ("language", texts.faq_language, _LANGUAGE_CELLS),
            ("state", last, _LAST_CELLS),
        )
        for order, label, width in columns:
            mark = " ▲" if order == self._order else ""
            self.add_column(Text(label + mark), width=width, key=order)
        self._add(self._rows)
        at = next((at for at, row in enumerate(self._rows) if row.id == pointed_id), None)
        if at is not None:
            self.move_cursor(row=at, animate=False)

    def _add(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.add_row(
                _cell(row.question),
                _cell(row.category),
                _cell(row.language),
                self._last_cell(row),
                key=row.id,
            )

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

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        event.stop()
        order = next((one for one in ORDERS if one == event.column_key.value), None)
        self.post_message(self.SortWanted(order))

    def action_sort_entries(self) -> None:
        self.post_message(self.SortWanted(None))

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
