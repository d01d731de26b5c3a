"""Lines to choose from, in a list that can be made as narrow as one likes."""

from typing import Literal

from textual.widgets import OptionList


class Choices(OptionList):
    """Textual 8 lays no lines out where there is no room for any, and then cannot turn pages."""

    def _move_page(self, direction: Literal[-1, 1]) -> None:
        if (self.highlighted or 0) in self._index_to_line:
            super()._move_page(direction)
