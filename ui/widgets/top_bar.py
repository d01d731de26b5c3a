"""The line on top of every screen: where one is, where one can go, and the way to the server."""

from dataclasses import dataclass
from typing import Literal

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.events import Click
from textual.message import Message

from ui.link import LinkState
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.wording import link_banner, link_word

Place = Literal["chat", "faq", "status"]


class Tab(Plain):
    """One place to go; a click asks for it."""

    ALLOW_SELECT = False

    @dataclass
    class Wanted(Message):
        place: Place

    def __init__(self, place: Place, key: str, name: str, tip: str) -> None:
        super().__init__(f"{key} {name}", classes="tab")
        self._place: Place = place
        self.tooltip = tip

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(self.Wanted(self._place))


class TopBar(Horizontal):
    """The product's name, the three places, and the state of the link."""

    def __init__(self, texts: Texts, here: Place) -> None:
        super().__init__()
        self._texts = texts
        self._here = here
        self._link = Plain(id="link")

    def compose(self) -> ComposeResult:
        texts = self._texts
        yield Plain("Sluice", id="product")
        tabs: tuple[tuple[Place, Tab], ...] = (
            ("chat", Tab("chat", "F2", texts.key_chat, texts.tip_chat)),
            ("faq", Tab("faq", "F3", texts.key_faq, texts.tip_faq)),
            ("status", Tab("status", "F4", texts.key_status, texts.tip_status)),
        )
        for place, tab in tabs:
            tab.set_class(place == self._here, "-here")
            yield tab
        yield self._link

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
