"""Tables of records that are read again and again: refilled without losing cursor or place."""

from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.widgets import DataTable
from textual.widgets.data_table import RowKey

from ui.safe_text import safe_line


class RecordTable(DataTable[Text]):
    """Rows with keys; with `pointing` one of them is under the cursor."""

    def __init__(self, name: str, columns: Sequence[str], *, pointing: bool = False) -> None:
        super().__init__(id=name, cursor_type="row" if pointing else "none")
        self.set_class(not pointing, "status-table")
        self._keys: tuple[str, ...] = ()

        for title in columns:
            self.add_column(Text(title))

    @property
    def pointed(self) -> str:
        """The key of the row under the cursor, empty when there is none."""
        return self._keys[self.cursor_row] if 0 <= self.cursor_row < len(self._keys) else ""

    def show(self, rows: Sequence[tuple[str, Sequence[Text]]]) -> None:
        """Shows rows as (key, cells); the cursor stays on its row if that is still there."""
        kept, top = self.pointed, self.scroll_y
        self.clear()
        self._keys = tuple(key for key, _ in rows)
        for _, cells in rows:
            self.add_row(*cells)
        if kept in self._keys:
            self.move_cursor(row=self._keys.index(kept), animate=False, scroll=False)
        self.scroll_to(y=top, animate=False)

    def _update_dimensions(self, new_rows: Iterable[RowKey]) -> None:
        """Textual keeps what it drew of new rows before it measured them, cut off and all."""
        super()._update_dimensions(new_rows)
        self._clear_caches()
        self.refresh()

    def point_at(self, key: str) -> None:
        """Puts the cursor on a row, if it is there."""
        if key in self._keys:
            self.move_cursor(row=self._keys.index(key), animate=False)


def cell(text: str, max_chars: int) -> Text:
    return Text(safe_line(text, max_chars), no_wrap=True)


def number(value: int | str | None) -> Text:
    return Text("" if value is None else str(value), justify="right", no_wrap=True)
