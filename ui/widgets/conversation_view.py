"""The turns of one session, oldest on top, held at the end while answers grow."""

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.events import Click
from textual.message import Message

from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.plain import Plain
from ui.widgets.turn_view import TurnView


class ConversationView(VerticalScroll):
    """Shows turns; asks for older ones when the person goes beyond the first.

    The turns stand in a container at least as high as the view: Textual scrolls an anchored
    widget to a negative place when its content is lower than itself.
    """

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
