"""The turns of one session, oldest on top, held at the end while answers grow.

While it has the focus one turn is pointed at, and keys of one letter do something with it; what
they do is up to the screen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Click, Key
from textual.message import Message

from ui.keys import key
from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.answer import Answer
from ui.widgets.plain import Plain
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
]


class ConversationView(VerticalScroll):
    """Shows turns; asks for older ones when the person goes beyond the first.

    The turns stand in a container at least as high as the view: Textual scrolls an anchored
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

    class OlderWanted(Message):
        """The person wants the turns before the first one shown."""

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="conversation")
        self._texts = texts
        self._older = _OlderLine(texts.chat_older)
        self._note = Plain(texts.chat_empty, classes="note")
        self._turns = Vertical(id="turns")
        self._views: dict[str, TurnView] = {}
        self._key = ""
        self._pointed = ""
        self._is_held = False
        self._has_older = False

    def compose(self) -> ComposeResult:
        self._older.display = False
        with self._turns:
            yield self._older
            yield self._note

    async def show(
        self, key: str, turns: Sequence[LiveTurn], *, has_older: bool, is_loading: bool
    ) -> None:
        """Shows these turns of the conversation `key`; those that stand already are updated."""
        wanted = {turn.id for turn in turns} if key == self._key else set[str]()
        self._key = key
        gone = [view for turn_id, view in self._views.items() if turn_id not in wanted]
        self._views = {known: view for known, view in self._views.items() if known in wanted}
        if gone:
            await self._turns.remove_children(gone)
        self._note.update(self._texts.chat_loading if is_loading else self._texts.chat_empty)
        self._note.display = not turns
        self._older.display = self._has_older = has_older
        distance = self.max_scroll_y - self.scroll_y
        older_came = await self._mount(turns)
        if older_came:
            self.call_after_refresh(self._keep_place, distance)
        else:
            self.anchor()

    async def _mount(self, turns: Sequence[LiveTurn]) -> bool:
        """Mounts what is new; True when turns came before those that stood already."""
        first = next((turn.id for turn in turns if turn.id in self._views), None)
        before: list[TurnView] = []
        after: list[TurnView] = []
        place = before if first is not None else after
        for turn in turns:
            if turn.id == first:
                place = after
            if turn.id in self._views:
                self._views[turn.id].show(turn)
            else:
                place.append(TurnView(self._texts, turn))
        if before and first is not None:
            await self._turns.mount_all(before, before=self._views[first])
        if after:
            await self._turns.mount_all(after)
        mounted = {view.turn.id: view for view in (*before, *after)}
        known = self._views | mounted
        self._views = {turn.id: known[turn.id] for turn in turns}
        return bool(before)

    def show_turn(self, turn: LiveTurn) -> bool:
        """One turn moved on; False when it is not among those shown."""
        view = self._views.get(turn.id)
        if view is not None:
            view.show(turn)
        return view is not None

    # --- the turn pointed at ------------------------------------------------------------------

    @property
    def pointed(self) -> TurnView | None:
        """The turn that was pointed at, or the last one."""
        last = next(reversed(self._views.values()), None)
        return self._views.get(self._pointed, last)

    def point_at(self, turn_id: str) -> None:
        """Points at a turn that is shown and brings it into view."""
        if turn_id in self._views:
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

    def action_point(self, step: int) -> None:
        ids = list(self._views)
        if not ids:
            return
        at = ids.index(self._pointed) if self._pointed in self._views else len(ids) - 1
        if at + step < 0 and self._has_older:
            self.post_message(self.OlderWanted())
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

    # --- scrolling ----------------------------------------------------------------------------

    def page(self, direction: int) -> None:
        """Scrolls by a page; upwards from the top asks for older turns."""
        if direction > 0:
            self.scroll_page_down()
        elif self.scroll_y > 0:
            self.release_anchor()
            self.scroll_page_up()
        elif self._has_older:
            self.post_message(self.OlderWanted())

    def action_page_up(self) -> None:
        self.page(-1)

    def _keep_place(self, distance: float) -> None:
        self.release_anchor()
        self.scroll_to(y=self.max_scroll_y - distance, animate=False, force=True)


class _OlderLine(Plain):
    ALLOW_SELECT = False

    def __init__(self, words: str) -> None:
        super().__init__(words, classes="older")

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(ConversationView.OlderWanted())
