"""What lies beside the FAQ's table: each desk is opened over it, and tells when entries changed."""

from collections.abc import Callable
from typing import Final

from textual.binding import Binding

from ui.client import Client
from ui.clock import Clock
from ui.curating import Curating
from ui.keys import key
from ui.screens.faq_checks import ChecksScreen
from ui.screens.faq_misses import MissesScreen
from ui.screens.faq_test import FaqTestScreen
from ui.screens.frame import SluiceScreen

DESKS: Final[tuple[Binding, ...]] = (
    key("t", "test_question", "test_question", show=False),
    key("m", "show_misses", "misses", show=False),
    key("g", "show_checks", "checks", show=False),
)


class FaqDesks:
    """`changed` is called when entries were written at a desk."""

    def __init__(
        self,
        screen: SluiceScreen,
        *,
        client: Client,
        curating: Curating,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._texts = screen.texts
        self._client = client
        self._curating = curating
        self._clock = clock
        self._changed = changed

    def test_question(self, question: str) -> None:
        screen = FaqTestScreen(self._texts, curating=self._curating, question=question)
        self._screen.app.push_screen(screen)

    def show_misses(self) -> None:
        screen = MissesScreen(
            self._texts, client=self._client, curating=self._curating, clock=self._clock
        )
        self._screen.app.push_screen(screen, self._after)

    def show_checks(self) -> None:
        screen = ChecksScreen(
            self._texts, client=self._client, curating=self._curating, clock=self._clock
        )
        self._screen.app.push_screen(screen)

    def _after(self, has_changed: bool | None) -> None:
        if has_changed:
            self._changed()
