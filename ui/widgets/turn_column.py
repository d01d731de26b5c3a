"""The turns of one conversation under each other, the oldest on top.

What is seen comes first: `show` mounts the last turns that fill the screen, and those before them
wait for `mount_before`. Mounting and painting a turn costs more than all else in showing a
conversation, so each is mounted once and then updated.
"""

from collections.abc import Sequence
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.events import Click
from textual.geometry import Size
from textual.message import Message

from ui.texts import Texts
from ui.turns import LiveTurn
from ui.widgets.plain import Plain
from ui.widgets.turn_view import TurnView

WINDOW_TURNS: Final = 6  # what is shown at first; each repaint costs time for every turn


class TurnColumn(Vertical):
    """`window` is how many of the last turns are wanted here."""

    class OlderWanted(Message):
        """The person wants the turns before the first one shown."""

    def __init__(self, texts: Texts) -> None:
        super().__init__(classes="turns")
        self.window = WINDOW_TURNS
        self.has_older = False
        self._texts = texts
        self._older = _OlderLine(texts.chat_older)
        self._note = Plain(texts.chat_empty, classes="note")
        self._views: dict[str, TurnView] = {}
        self._before: tuple[LiveTurn, ...] = ()

    def compose(self) -> ComposeResult:
        self._older.display = False
        yield self._older
        yield self._note

    @property
    def views(self) -> dict[str, TurnView]:
        """Those that stand, by the ids of their turns, the oldest first."""
        return self._views

    def expects(self, turn_id: str) -> bool:
        """Whether a turn stands here or is about to."""
        return turn_id in self._views or any(turn.id == turn_id for turn in self._before)

    async def show(
        self, turns: Sequence[LiveTurn], screen: Size, *, has_older: bool, is_loading: bool
    ) -> bool:
        """Shows these turns; True when there are new ones at the end."""
        await self._take_off({turn.id for turn in turns})
        self._note.update(self._texts.chat_loading if is_loading else self._texts.chat_empty)
        self._note.display = not turns
        self._older.display = self.has_older = has_older
        for turn in turns:
            self.show_turn(turn)
        first = next((at for at, turn in enumerate(turns) if turn.id in self._views), None)
        if first is None:
            first = len(turns) - screenful(turns, screen)
        self._before = tuple(turns[:first])
        new = [TurnView(self._texts, turn) for turn in turns[first:] if turn.id not in self._views]
        self._views |= {view.turn.id: view for view in new}
        if new:
            await self.mount_all(new)
        return bool(new)

    def show_turn(self, turn: LiveTurn) -> bool:
        """One turn moved on; False when it is not among those shown."""
        view = self._views.get(turn.id)
        if view is not None:
            view.show(turn)
        return view is not None

    async def mount_before(self) -> bool:
        """Mounts what was put off; False when that is nothing."""
        before, self._before = self._before, ()
        new = [TurnView(self._texts, turn) for turn in before if turn.id not in self._views]
        if new:
            first = next(iter(self._views.values()), None)
            self._views = {view.turn.id: view for view in new} | self._views
            await self.mount_all(new, before=first)
        return bool(new)

    async def _take_off(self, wanted: set[str]) -> None:
        gone = [view for turn_id, view in self._views.items() if turn_id not in wanted]
        self._views = {known: view for known, view in self._views.items() if known in wanted}
        if gone:
            await self.remove_children(gone)


class _OlderLine(Plain):
    ALLOW_SELECT = False

    def __init__(self, words: str) -> None:
        super().__init__(words, classes="older")

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(TurnColumn.OlderWanted())


def screenful(turns: Sequence[LiveTurn], screen: Size) -> int:
    """How many of the last turns fill a screen, roughly: lines are counted, not laid out."""
    rows = 0
    for count, turn in enumerate(reversed(turns), 1):
        text = f"{turn.question}\n{turn.answer}"
        rows += text.count("\n") + len(text) // max(1, screen.width) + len(turn.matches)
        if rows >= screen.height:
            return count
    return len(turns)
