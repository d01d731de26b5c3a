"""The terminal UI: owns navigation, the link to the server, and how errors are told.

`run` is the way in; it waits for a server that is still starting by itself. The composition is
here and nowhere else: one client, one link, three places to go, each made when first visited.
"""

import asyncio
import os
import sys
import traceback
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import BindingType
from textual.driver import Driver
from textual.screen import Screen

from appliance.errors import EXIT_INTERNAL, EXIT_OK, EXIT_USAGE, Invalid, Unauthorized
from ui import line_breaks
from ui.answers import UNREACHABLE
from ui.background import start
from ui.client import Client
from ui.clock import Clock
from ui.keys import key, ours
from ui.link import Link, LinkState
from ui.safe_text import safe_line
from ui.screens.chat import ChatScreen
from ui.screens.faq import FaqScreen
from ui.screens.frame import CallFailed, LinkDoubted, SluiceScreen
from ui.screens.help import HelpScreen, KeySection
from ui.screens.status import StatusScreen
from ui.terminal import driver_class, has_terminal, stderr_in
from ui.texts import Texts, language_of, texts_for
from ui.widgets.conversation_view import ConversationView
from ui.widgets.faq_table import FaqTable
from ui.widgets.prompt import Prompt
from ui.widgets.session_list import SessionList
from ui.widgets.top_bar import Place, Tab
from ui.wording import error_words

ERROR_SHOWN_S = 8.0


class SluiceApp(App[int]):
    """The app around a client. It does not own the client: whoever made it closes it."""

    CSS_PATH = Path(__file__).with_name("sluice.tcss")
    DEFAULT_MODE = "chat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        key("f1", "help", "help"),
        key("f2", "go('chat')", "chat", show=False),
        key("f3", "go('faq')", "faq", show=False),
        key("f4", "go('status')", "status", show=False),
        key("f8", "toggle_theme", "theme", show=False),
        key("ctrl+q", "quit", "quit", priority=True),
    ]

    def __init__(
        self,
        client: Client,
        texts: Texts,
        *,
        clock: Clock | None = None,
        driver: type[Driver] | None = None,
    ) -> None:
        super().__init__(driver_class=driver)
        self.title = "Sluice"
        line_breaks.install()
        self._client = client
        self._texts = texts
        self._clock = clock or Clock()
        self._link = Link(client.readiness, tell=self._tell_link)
        self._places: list[SluiceScreen] = []
        self.add_mode("chat", self._make_chat)
        self.add_mode("faq", self._make_faq)
        self.add_mode("status", self._make_status)

    # --- places -----------------------------------------------------------------------------

    def _make_chat(self) -> Screen[None]:
        chat = ChatScreen(
            self._texts, self._client.base_url, client=self._client, clock=self._clock
        )
        return self._open(chat)

    def _make_faq(self) -> Screen[None]:
        return self._open(FaqScreen(self._texts, self._client.base_url, client=self._client))

    def _make_status(self) -> Screen[None]:
        return self._open(StatusScreen(self._texts, self._client.base_url, client=self._client))

    def _open(self, place: SluiceScreen) -> SluiceScreen:
        self._places.append(place)
        self.call_later(lambda: place.show_link(self._link.state))  # as it is by then
        return place

    def action_go(self, place: Place) -> None:
        self.switch_mode(place)

    def on_tab_wanted(self, message: Tab.Wanted) -> None:
        self.switch_mode(message.place)

    def action_help(self) -> None:
        texts = self._texts
        sections = (
            KeySection(texts.help_everywhere, ours(self.BINDINGS)),
            KeySection(
                texts.help_chat,
                ours([*Prompt.BINDINGS, *ChatScreen.BINDINGS, *SessionList.BINDINGS]),
            ),
            KeySection(
                texts.chat.tip_read,
                ours(ConversationView.BINDINGS),
            ),
            KeySection(texts.help_faq, ours([*FaqScreen.BINDINGS, *FaqTable.BINDINGS])),
            KeySection(texts.help_status, ours(StatusScreen.BINDINGS)),
        )
        self.push_screen(HelpScreen(texts, sections))

    def action_toggle_theme(self) -> None:
        dark = self.current_theme.dark
        self.theme = "textual-light" if dark else "textual-dark"

    def _fatal_error(self) -> None:
        """Textual would print every local variable, questions and answers among them."""
        self.panic(Text(traceback.format_exc()))

    async def action_quit(self) -> None:
        self.exit(EXIT_OK)

    def action_help_quit(self) -> None:
        """Ctrl+C copies; who expects it to quit is told the right key."""
        self.notify(f"Ctrl+Q: {self._texts.tip_quit}", markup=False)

    # --- the server -------------------------------------------------------------------------

    def on_mount(self) -> None:
        start(self, self._link.watch, group="link")

    def _tell_link(self, state: LinkState) -> None:
        for place in self._places:
            place.show_link(state)

    def on_link_doubted(self, message: LinkDoubted) -> None:
        start(self, self._link.watch, group="link")

    def on_call_failed(self, message: CallFailed) -> None:
        """Says what happened; what the banner says already is not said again."""
        error = message.error
        known = False
        if error.reason == UNREACHABLE:
            known = not self._link.state.is_reachable
            self._link.lost()
            start(self, self._link.watch, group="link")
        elif isinstance(error, Unauthorized):
            self._link.refused()
        words = message.note if known else error_words(self._texts, error)
        if message.note and not known:
            words = f"{message.note}\n{words}"
        if words:
            self.notify(words, severity="error", timeout=ERROR_SHOWN_S, markup=False)


def run(
    base_url: str, key: str, *, language: str | None = None, log_file: Path | None = None
) -> int:
    """Runs the UI until the person leaves; returns an exit status.

    Needs a terminal on standard input and output (else `EXIT_USAGE` with a message). `language`
    "en" or "zh" overrides the locale. What would be written to standard error goes to `log_file`.
    """
    return asyncio.run(run_async(base_url, key, language=language, log_file=log_file))


async def run_async(
    base_url: str, key: str, *, language: str | None = None, log_file: Path | None = None
) -> int:
    """`run` inside a running event loop; call it from the main thread."""
    texts = texts_for(language or language_of(os.environ))
    if not has_terminal():
        sys.stderr.write(f"{texts.start_no_terminal}\n")
        return EXIT_USAGE
    try:
        client = Client(base_url, key)
    except Invalid:
        shown = safe_line(repr(base_url), 100)
        sys.stderr.write(f"{texts.start_bad_address.format(address=shown)}\n")
        return EXIT_USAGE
    app = SluiceApp(client, texts, driver=driver_class())
    try:
        with stderr_in(log_file):
            await app.run_async()
    finally:
        await client.close()
    if app.return_code:
        log = texts.end_crashed_log.format(log=log_file) if log_file is not None else ""
        sys.stderr.write(f"{texts.end_crashed} {log}".rstrip() + "\n")
        return EXIT_INTERNAL
    return EXIT_OK
