"""The line on top of every screen: where one is, where one can go, and the way to the server."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Click, Resize
from textual.message import Message

from ui.link import LinkState
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.wording import link_banner, link_word

Place = Literal["chat", "faq", "status", "models", "people", "logs", "inbox"]

PLACES: Final[tuple[tuple[Place, str], ...]] = (
    ("chat", "F2"),
    ("faq", "F3"),
    ("status", "F4"),
    ("models", "F5"),
    ("people", "F6"),
    ("logs", "F7"),
    ("inbox", "F9"),
)
TIGHT_CELLS: Final = 96  # below, the product's name makes room
NARROW_CELLS: Final = 72  # below, the keys do too


class Tab(Plain):
    """One place to go; a click asks for it."""

    ALLOW_SELECT = False

    @dataclass
    class Wanted(Message):
        place: Place

    def __init__(self, texts: Texts, place: Place, key: str) -> None:
        super().__init__(classes="tab")
        self._place: Place = place
        self._key = key
        self._words = texts.word(f"key_{place}")
        self._count = 0
        self._is_short = False
        self.tooltip = texts.word(f"tip_{place}")
        self._draw()

    def count(self, number: int) -> None:
        """Shows how much there is to see at the place; 0 shows nothing."""
        if number != self._count:
            self._count = number
            self._draw()

    def shorten(self, *, is_short: bool) -> None:
        if is_short != self._is_short:
            self._is_short = is_short
            self._draw()

    def _draw(self) -> None:
        words = self._words if self._is_short else f"{self._key} {self._words}"
        self.update(f"{words} {self._count}" if self._count else words)

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Wanted(self._place))


class TopBar(Horizontal):
    """The product's name, the places, and the state of the link."""

    def __init__(self, texts: Texts, here: Place) -> None:
        super().__init__()
        self._texts = texts
        self._link = Plain(id="link")
        self._tabs = {place: Tab(texts, place, key) for place, key in PLACES}
        self._tabs[here].add_class("-here")

    def compose(self) -> ComposeResult:
        yield Plain("Sluice", id="product")
        yield from self._tabs.values()
        yield self._link

    def on_resize(self, event: Resize) -> None:
        self.set_class(event.size.width < TIGHT_CELLS, "-tight")
        for tab in self._tabs.values():
            tab.shorten(is_short=event.size.width < NARROW_CELLS)

    def show_unread(self, count: int) -> None:
        """The app tells how many messages are unread."""
        self._tabs["inbox"].count(count)

    def offer(self, places: Collection[Place]) -> None:
        """The app tells where the holder of the key may go."""
        for place, tab in self._tabs.items():
            tab.display = place in places

    def show(self, state: LinkState) -> None:
        self._link.update(f"● {link_word(self._texts, state)}")
        for kind in ("connecting", "away", "starting", "up", "refused"):
            self._link.set_class(kind == state.kind, f"-{kind}")


class Banner(Plain):
    """Says across the screen what is wrong with the way to the server; hidden when all is well."""

    def __init__(self, texts: Texts, address: str) -> None:
        super().__init__(classes="banner")
        self._texts = texts
        self._address = address

    def show(self, state: LinkState) -> None:
        words = link_banner(self._texts, state, self._address)
        self.update(words)
        self.display = bool(words)
        self.set_class(state.kind in ("away", "refused"), "-error")
