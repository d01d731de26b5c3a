"""A field for the path of a file, which completes names from the folder."""

import asyncio
from typing import ClassVar

from textual.binding import BindingType
from textual.suggester import Suggester

from ui.keys import key
from ui.paths import MAX_PATH_CHARS, completed
from ui.widgets.plain import LineField


class PathField(LineField):
    """What would complete the name stands behind the cursor; Tab or Right takes it."""

    BINDINGS: ClassVar[list[BindingType]] = [key("tab", "complete", "complete")]

    def __init__(self, *, id: str, max_length: int = MAX_PATH_CHARS) -> None:
        super().__init__(id=id, max_length=max_length, suggester=_Names())

    def action_complete(self) -> None:
        """Goes on to the next field when there is nothing to complete."""
        before = self.value
        if self.cursor_at_end:
            self.action_cursor_right()
        if self.value == before:
            self.screen.focus_next()


class _Names(Suggester):
    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)  # a folder changes

    async def get_suggestion(self, value: str) -> str | None:
        return await asyncio.to_thread(completed, value)
