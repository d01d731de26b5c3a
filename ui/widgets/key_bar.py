"""The line at the bottom: the keys that work here, as many as fit, and the way out always.

Textual's footer goes on beyond the edge of the screen, and the keys of the app, help among them,
come last. Here whole keys are left out instead, the last ones first, but never one of `KEPT`.
"""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.events import Resize
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

KEPT: Final = ("stop_answer", "close", "help", "quit")


class KeyBar(Footer):
    """Composed anew, as Textual's is, when other keys work, and when there is another room."""

    def __init__(self) -> None:
        super().__init__(show_command_palette=False, compact=True)
        self._room_cells = 0

    def compose(self) -> ComposeResult:
        self._room_cells = self.app.size.width
        keys = [key for key in super().compose() if isinstance(key, FooterKey)]
        yield from fitting(keys, self._room_cells)

    async def on_resize(self, event: Resize) -> None:
        if self._room_cells not in (0, self.app.size.width):
            await self.recompose()


def fitting(keys: Sequence[FooterKey], room_cells: int) -> list[FooterKey]:
    """Those of `KEPT` and as many of the first others as fit beside them."""
    left = room_cells - sum(_cells(key) for key in keys if key.action in KEPT)
    shown = []
    for key in keys:
        if key.action not in KEPT:
            left -= _cells(key)
        if key.action in KEPT or left >= 0:
            shown.append(key)
    return shown


def _cells(key: FooterKey) -> int:
    """Its room in the compact style: a space within, and one behind."""
    return cell_len(key.key_display) + cell_len(key.description) + 2
