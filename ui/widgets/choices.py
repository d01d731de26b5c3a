"""Lists that can be made as narrow as one likes.

Textual 8 lays no lines out where there is no room for any, and then fails to turn pages. That holds
for the lists that its own `Select` opens too, so `install` mends the class they all come from.
"""

from typing import Final, Literal

from textual.widgets import OptionList

_MOVE_PAGE: Final = OptionList._move_page


def _move_page(choices: OptionList, direction: Literal[-1, 1]) -> None:
    if (choices.highlighted or 0) in choices._index_to_line:
        _MOVE_PAGE(choices, direction)


def install() -> None:
    """Mends every list of this process."""
    OptionList._move_page = _move_page  # type: ignore[method-assign, assignment]
