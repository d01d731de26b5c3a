"""What every screen shares: words in the person's language, the frame around the body, and one
way to make calls that can fail.

`attempt` runs a call in a worker and turns a `SluiceError` into a `CallFailed` message, which the
app shows and acts upon; so no screen needs a handler for errors it can do nothing about. One that
shows an error beside what it is about takes its words from `explained`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import ActiveBinding
from textual.message import Message
from textual.screen import ModalScreen, Screen

from appliance.errors import SluiceError
from ui.answers import UNREACHABLE
from ui.background import Work, start
from ui.keys import in_words
from ui.link import LinkState
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.top_bar import Banner, Place, TopBar
from ui.wording import error_words

T = TypeVar("T")
_COVERING: Final = ("select_cursor", "select", "submit")


@dataclass
class CallFailed(Message):
    """A call to the server failed. `note` says what that means for what the person was doing."""

    error: SluiceError
    note: str = ""


class LinkDoubted(Message):
    """Something suggests that the server is away; whether it is, is worth a look."""


def _named(screen: Screen[T], pressed: str, found: ActiveBinding) -> ActiveBinding:
    """What Enter does in a table, a list or a field, in the screen's words for it.

    Textual's own binding there, which is hidden, comes first and covers the screen's.
    """
    if found.binding.action in _COVERING and not found.binding.show:
        for own in screen._bindings.key_to_bindings.get(pressed, ()):
            if own.show and screen.check_action(own.action, ()):
                return ActiveBinding(screen, own, enabled=True, tooltip=own.tooltip)
    return found


def _worded(
    screen: Screen[T], texts: Texts, active: dict[str, ActiveBinding]
) -> dict[str, ActiveBinding]:
    worded: dict[str, ActiveBinding] = {}
    for pressed, found in active.items():
        shown = _named(screen, pressed, found)
        binding = in_words(texts, shown.binding)
        worded[pressed] = shown._replace(binding=binding, tooltip=binding.tooltip)
    return worded


class LinkedScreen(Screen[None]):
    """A screen that talks to the server: what it has on top, banner, its body, footer."""

    def __init__(self, texts: Texts, address: str) -> None:
        super().__init__()
        self.texts = texts
        self.link_state = LinkState()
        self._banner = Banner(texts, address)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        return _worded(self, self.texts, super().active_bindings)

    def compose(self) -> ComposeResult:
        yield from self.compose_head()
        yield self._banner
        yield from self.compose_body()
        yield KeyBar()

    def compose_head(self) -> ComposeResult:
        yield from ()

    def compose_body(self) -> ComposeResult:
        yield from ()

    def show_link(self, state: LinkState) -> None:
        """The app tells how the server can be reached."""
        before, self.link_state = self.link_state, state
        self.draw_link(state)
        if state.is_reachable and (not before.is_reachable or state.kind == "up"):
            self.on_link_restored()

    def draw_link(self, state: LinkState) -> None:
        """Shows it, from the first picture of the screen on."""
        self._banner.show(state)

    def show_unread(self, count: int) -> None:
        """The app tells how many messages of the inbox are unread."""

    def offer_places(self, places: Collection[Place]) -> None:
        """The app tells where the holder of the key may go."""

    def on_link_restored(self) -> None:
        """The server can be reached (again): the subclass reads what it shows."""

    def attempt(
        self,
        work: Work,
        *,
        group: str,
        exclusive: bool = False,
        note: str = "",
    ) -> None:
        """Runs `work` in the background; `exclusive` gives up what runs in the same group."""

        async def run() -> None:
            try:
                await work()
            except SluiceError as error:
                self.post_message(CallFailed(error, note))

        start(self, run, group=group, exclusive=exclusive)


class SluiceScreen(LinkedScreen):
    """A place of the app, with the bar of all places on top."""

    PLACE: ClassVar[Place]

    def __init__(self, texts: Texts, address: str) -> None:
        super().__init__(texts, address)
        self._top_bar = TopBar(texts, self.PLACE)

    def compose_head(self) -> ComposeResult:
        yield self._top_bar

    def draw_link(self, state: LinkState) -> None:
        super().draw_link(state)
        self._top_bar.show(state)

    def show_unread(self, count: int) -> None:
        self._top_bar.show_unread(count)

    def offer_places(self, places: Collection[Place]) -> None:
        self._top_bar.offer(places)


class Dialog(ModalScreen[T]):
    """A question or a form over a screen; its bindings are worded like a screen's."""

    def __init__(self, texts: Texts) -> None:
        super().__init__()
        self.texts = texts
        self.is_dismissed = False

    def dismiss(self, result: T | None = None) -> AwaitComplete:
        """Closes this dialog, whatever is shown by then; a second time changes nothing.

        Textual would take away what is on top: of another place after one of its keys, or what
        was opened over this dialog meanwhile.
        """
        if self.is_dismissed:
            return AwaitComplete()
        self.is_dismissed = True
        if self.is_active:
            return super().dismiss(result)
        if self._result_callbacks:
            self._result_callbacks[-1](result)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        if self.is_dismissed and self.is_active:
            self.app.pop_screen()

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        return _worded(self, self.texts, super().active_bindings)


def explained(screen: LinkedScreen | Dialog[T], error: SluiceError) -> str:
    """Words of an error that the screen shows itself; that the server is away, the app hears."""
    if error.reason == UNREACHABLE:
        screen.post_message(CallFailed(error))
    return error_words(screen.texts, error)
