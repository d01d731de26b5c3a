"""The conversation on screen, held at the end while answers grow.

While it has the focus one turn is pointed at, and keys of one letter do something with it; what
they do is up to the screen.

Making a conversation visible for the first time costs some hundred milliseconds of a slow core,
showing it once more a tenth of that, and most switches go back to where one has just been. So
each conversation has a column of its own, and those of the last `COLUMNS_KEPT` stay mounted; at
six turns of fifty widgets each that many take about 50 MB. Finished answers start as sketches
(`ui.widgets.answer`) and are drawn one by one, from the end, once they are near what is seen.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.geometry import Region
from textual.message import Message

from ui.keys import key
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.answer import Answer
from ui.widgets.turn_column import WINDOW_TURNS, TurnColumn
from ui.widgets.turn_view import TurnView

Deed = Literal[
    "copy_answer",
    "copy_question",
    "retry",
    "edit",
    "sources",
    "next",
    "thumb_up",
    "thumb_down",
    "branch",
]

COLUMNS_KEPT: Final = 6


class ConversationView(VerticalScroll):
    """Shows one conversation; asks for older turns when the person goes beyond the first.

    The turns stand in a column at least as high as the view: Textual scrolls an anchored
    widget to a negative place when its content is lower than itself.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        key("c", "do('copy_answer')", "copy_answer"),
        key("o", "do('sources')", "sources"),
        key("r", "do('retry')", "retry"),
        key("e", "do('edit')", "edit_question"),
        key("n", "do('next')", "next_question"),
        key("plus", "do('thumb_up')", "thumb_up"),
        key("minus", "do('thumb_down')", "thumb_down"),
        key("b", "do('branch')", "branch"),
        key("q", "do('copy_question')", "copy_question", show=False),
        key("k,shift+up", "point(-1)", "previous_turn"),
        key("j,shift+down", "point(1)", "next_turn"),
        key("1,2,3,4,5,6,7,8,9", "source", "source", show=False),
    ]

    @dataclass
    class DeedWanted(Message):
        """Something should be done with a turn."""

        deed: Deed
        turn: LiveTurn

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="conversation")
        self._texts = texts
        self.column = TurnColumn(texts)
        self._columns = {"": self.column}  # by conversation, least recently shown first
        self._showing = asyncio.Lock()
        self._pointed = ""
        self._is_held = False

    def compose(self) -> ComposeResult:
        yield self.column

    def window(self, key: str) -> int:
        """How many of its last turns a conversation should show."""
        column = self._columns.get(key)
        return column.window if column is not None else WINDOW_TURNS

    async def show(
        self, key: str, turns: Sequence[LiveTurn], *, has_older: bool, is_loading: bool
    ) -> None:
        """Shows these turns of the conversation `key`; those that stand already are updated."""
        async with self._showing:  # the screen, its workers and the app may all ask
            with self.app.batch_update():
                is_another = await self._turn_to(key)
                came = await self.column.show(
                    turns, self.app.size, has_older=has_older, is_loading=is_loading
                )
            if came or is_another:
                self.anchor()
        self.call_after_refresh(self._mount_before)

    async def _turn_to(self, key: str) -> bool:
        known = self._columns.pop(key, None)
        column = known or TurnColumn(self._texts)
        self._columns[key] = column
        if column is self.column:
            return False
        if known is None:
            column.display = False  # also if who asked gives up while it is mounted
            await self.mount(column)
        column.display, self.column.display = True, False
        self.column, self._pointed, self._is_held = column, "", False
        return True

    async def _mount_before(self) -> None:
        """What was on top stays where it is on the screen."""
        distance, at_end = self.max_scroll_y - self.scroll_y, self.is_vertical_scroll_end
        if await self.column.mount_before():
            self._mark()
            if self._is_held:
                self.call_after_refresh(self._bring_pointed)
            elif not at_end:
                self.call_after_refresh(self._keep_place, distance)
        self._draw_soon()
        for unseen in list(self._columns)[:-COLUMNS_KEPT]:
            await self.forget(unseen)

    async def forget(self, key: str) -> None:
        """The conversation is gone, or unseen for long; the one that is shown stays."""
        column = self._columns.get(key)
        if column is not None and column is not self.column:
            del self._columns[key]
            await column.remove()

    def show_turn(self, turn: LiveTurn) -> bool:
        """One turn moved on; False when it is not among those shown."""
        return self.column.show_turn(turn)

    @property
    def _views(self) -> dict[str, TurnView]:
        return self.column.views

    # --- the turn pointed at ------------------------------------------------------------------

    @property
    def pointed(self) -> TurnView | None:
        """The turn that was pointed at, or the last one."""
        last = next(reversed(self._views.values()), None)
        return self._views.get(self._pointed, last)

    def point_at(self, turn_id: str) -> None:
        """Points at a turn that is shown, or about to be, and brings it into view."""
        if self.column.expects(turn_id):
            self._pointed = turn_id
            self._mark()
            self.release_anchor()
            self._is_held = True
            self._bring_pointed()

    def _bring_pointed(self) -> None:
        view = self._views.get(self._pointed)
        if self._is_held and view is not None:
            self.scroll_to_widget(view, animate=False, top=True)

    def on_answer_drawn(self, message: Answer.Drawn) -> None:
        """Answers above the turn pointed at push it down while they are laid out."""
        message.stop()
        if self._is_held:
            self.call_after_refresh(self._bring_pointed)
        self._draw_soon()

    def action_point(self, step: int) -> None:
        ids = list(self._views)
        if not ids:
            return
        at = ids.index(self._pointed) if self._pointed in self._views else len(ids) - 1
        if at + step < 0 and self.column.has_older:
            self.post_message(TurnColumn.OlderWanted())
        self.point_at(ids[max(0, min(len(ids) - 1, at + step))])

    def action_do(self, deed: Deed) -> None:
        pointed = self.pointed
        if pointed is not None:
            self.post_message(self.DeedWanted(deed, pointed.turn))

    async def _on_key(self, event: Key) -> None:
        """A digit opens the source with that number; a binding could not tell which it was."""
        self._is_held = False
        if event.character is not None and event.character in "123456789":
            event.stop()
            event.prevent_default()
            self.action_source(int(event.character))

    def action_source(self, number: int = 1) -> None:
        pointed = self.pointed
        wish = pointed.wish(number) if pointed is not None else None
        if wish is not None:
            self.post_message(wish)

    def on_mouse_scroll_up(self) -> None:
        self._is_held = False

    def on_mouse_scroll_down(self) -> None:
        self._is_held = False

    def on_turn_view_pointed(self, message: TurnView.Pointed) -> None:
        message.stop()
        self._pointed = message.turn.id
        self._mark()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        if not has_focus:
            self._pointed = ""
        self._mark()

    def _mark(self) -> None:
        pointed = self.pointed if self.has_focus else None
        for view in self._views.values():
            view.set_class(view is pointed, "-pointed")

    # --- drawing ------------------------------------------------------------------------------

    def _draw_soon(self) -> None:
        if any(view.answer.is_sketch for view in self._views.values()):
            self.call_after_refresh(self._draw_next)

    def _draw_next(self) -> None:
        """Draws the last sketch that is near, unless another is being drawn."""
        views = [view for view in self._views.values() if view.is_attached]
        if not self.display or any(view.answer.is_being_drawn for view in views):
            return
        page = self.size.height
        near = Region(0, self.scroll_offset.y - page, self.size.width, 3 * page)
        for view in reversed(views):
            if view.answer.is_sketch and near.overlaps(view.virtual_region):
                view.answer.draw()
                return

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._draw_soon()

    # --- scrolling ----------------------------------------------------------------------------

    def page(self, direction: int) -> None:
        """Scrolls by a page; upwards from the top asks for older turns."""
        if direction > 0:
            self.scroll_page_down()
        elif self.scroll_y > 0:
            self.release_anchor()
            self.scroll_page_up()
        elif self.column.has_older:
            self.post_message(TurnColumn.OlderWanted())

    def action_page_up(self) -> None:
        self.page(-1)

    def _keep_place(self, distance: float) -> None:
        self.release_anchor()
        self.scroll_to(y=self.max_scroll_y - distance, animate=False, force=True)
