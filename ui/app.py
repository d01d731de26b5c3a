"""The terminal UI: owns navigation, the link to the server, and how errors are told.

`run` is the way in; it waits for a server that is still starting by itself. The composition is
here and nowhere else: one client, one link, one inbox, and the places, each made when it is first
visited.
"""

import asyncio
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.driver import Driver
from textual.events import Event, InputEvent
from textual.notifications import Notify, SeverityLevel

from appliance.errors import (
    EXIT_INTERNAL,
    EXIT_OK,
    EXIT_USAGE,
    Invalid,
    SluiceError,
    Unauthorized,
)
from appliance.schema.people import Me
from ui import layout_map, line_breaks
from ui.answers import UNREACHABLE
from ui.background import Work, start
from ui.client import Client
from ui.clock import Clock
from ui.collecting import LOOK_S, Collector, by_hand
from ui.drafts import Drafts
from ui.first_start import FirstStart, Hands, SetupBegun
from ui.inbox import Inbox, InboxChange, InboxChanged, MessageCame, RelatedCame
from ui.keys import key, ours
from ui.link import CONNECTING, STARTING, Link, LinkState, shuts_out
from ui.notices import Notice
from ui.operating import Operating
from ui.roles import places_of
from ui.safe_text import safe_line
from ui.screens.chat import ChatScreen
from ui.screens.faq import FaqScreen
from ui.screens.faq_misses import MissesScreen
from ui.screens.frame import CallFailed, LinkDoubted, LinkedScreen, SluiceScreen
from ui.screens.help import HelpScreen, KeySection
from ui.screens.inbox import InboxScreen, SessionWanted
from ui.screens.keys_desk import KeysDesk
from ui.screens.leaving import Leaving, is_unsent
from ui.screens.logs import LogsScreen
from ui.screens.messages_desk import MessagesDesk
from ui.screens.models import ModelsScreen
from ui.screens.palette import Command, Palette
from ui.screens.people import PeopleScreen
from ui.screens.settings_desk import SettingsDesk
from ui.screens.setup import Bring, KeyStep, LanguageChosen, SetupStep, Turned
from ui.screens.setup_model import ModelStep
from ui.screens.status import StatusScreen
from ui.setting_up import SettingUp
from ui.terminal import at_hangup, driver_class, has_terminal, stderr_in
from ui.texts import Texts, language_of, texts_for
from ui.widgets import choices
from ui.widgets.conversation_view import ConversationView
from ui.widgets.faq_table import FaqTable
from ui.widgets.prompt import Prompt
from ui.widgets.session_list import SessionList
from ui.widgets.top_bar import PLACES, Place, Tab
from ui.wording import error_words, message_line

ERROR_SHOWN_S = 8.0


@dataclass(frozen=True)
class Theme:
    """The colours to begin with, "dark" or "light"; `keep` is told of others, and may block."""

    name: str
    keep: Callable[[str], None]


class SluiceApp(App[int]):
    """The app around a client. It does not own the client: whoever made it closes it."""

    CSS_PATH = Path(__file__).with_name("sluice.tcss")
    DEFAULT_MODE = "chat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        key("f1", "help", "help"),
        *(
            key(pressed.lower(), f"go('{place}')", place, show=False, priority=True)
            for place, pressed in PLACES
        ),
        key("ctrl+p", "palette", "palette", show=False, priority=True),
        key("f12", "setup", "setup", show=False),
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
        until: Work | None = None,
        bring: Bring | None = None,
        theme: Theme | None = None,
        collector: Collector | None = None,
    ) -> None:
        """The person is shown out when `until` returns, which goes with a server that starts.
        `bring` takes models out of a file, where the server runs on this machine. Without a
        `collector` Python collects garbage by itself."""
        super().__init__(driver_class=driver)
        self._until = until
        self._kept_theme = theme
        self.title = "Sluice"
        line_breaks.install()
        layout_map.install()
        choices.install()
        self._collector = collector
        self._client = client
        self._texts = texts
        self._clock = clock or Clock()
        begun = CONNECTING if until is None else STARTING
        self._link = Link(client.readiness, tell=self._tell_link, begun=begun)
        self._places: list[LinkedScreen] = []
        self._drafts = Drafts()
        self._me: Me | None = None
        self._was_asked = False
        self._follows_inbox = False
        self._operating = Operating(client)
        self._inbox = Inbox(self._operating, tell=self._tell_inbox)
        for place, make in self._makers().items():
            self.add_mode(place, partial(self._open, make))
        hands = Hands(
            opened=self._opened, closed=self._screen_closed, speak=self._speak, bring=bring
        )
        self._first_start = FirstStart(self, client, texts, hands)

    # --- places -----------------------------------------------------------------------------

    def _makers(self) -> dict[Place, Callable[[], SluiceScreen]]:
        texts, client, clock = self._texts, self._client, self._clock
        address, operating, inbox = client.base_url, self._operating, self._inbox
        drafts = self._drafts
        return {
            "chat": lambda: ChatScreen(texts, address, client=client, clock=clock, drafts=drafts),
            "faq": lambda: FaqScreen(texts, address, client=client, clock=clock, drafts=drafts),
            "status": lambda: StatusScreen(
                texts, address, client=client, operating=operating, drafts=drafts
            ),
            "models": lambda: ModelsScreen(
                texts, address, operating=operating, setting_up=SettingUp(client)
            ),
            "people": lambda: PeopleScreen(
                texts, address, client=client, operating=operating, clock=clock, drafts=drafts
            ),
            "logs": lambda: LogsScreen(texts, address, operating=operating, clock=clock),
            "inbox": lambda: InboxScreen(texts, address, inbox=inbox, clock=clock),
        }

    def _open(self, make: Callable[[], SluiceScreen]) -> SluiceScreen:
        place = make()
        self._opened(place)
        return place

    def _opened(self, screen: LinkedScreen) -> None:
        screen.show_unread(self._inbox.unread)
        screen.offer_places(places_of(self._me))
        screen.draw_link(self._link.state)
        self._places.append(screen)
        self.call_later(lambda: screen.show_link(self._link.state))  # as it is by then

    def _screen_closed(self, screen: LinkedScreen) -> None:
        self._places.remove(screen)

    def action_go(self, place: Place) -> None:
        if place in places_of(self._me):
            self.switch_mode(place)
            return
        words = self._texts.keys.place_closed.format(place=self._texts.word(f"key_{place}"))
        self.notify(words, severity="warning", markup=False)

    def on_tab_wanted(self, message: Tab.Wanted) -> None:
        self.action_go(message.place)

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
            KeySection(texts.curate.miss_title_open, ours(MissesScreen.BINDINGS)),
            KeySection(texts.help_status, ours(StatusScreen.BINDINGS)),
            KeySection(texts.settings.key_show_settings, ours(SettingsDesk.BINDINGS)),
            KeySection(texts.operate.key_models, ours(ModelsScreen.BINDINGS)),
            KeySection(texts.operate.key_people, ours(PeopleScreen.BINDINGS)),
            KeySection(texts.messages.key_show_messages, ours(MessagesDesk.BINDINGS)),
            KeySection(texts.keys.title, ours(KeysDesk.BINDINGS)),
            KeySection(texts.operate.key_logs, ours(LogsScreen.BINDINGS)),
            KeySection(texts.operate.key_inbox, ours(InboxScreen.BINDINGS)),
            KeySection(
                texts.setup.title,
                ours([*SetupStep.BINDINGS, *ModelStep.BINDINGS, *KeyStep.BINDINGS]),
            ),
        )
        self.push_screen(HelpScreen(texts, sections))

    def action_palette(self) -> None:
        """Offers what works where one is, then the sessions; nothing over another dialog."""
        if self.screen.is_modal:
            return
        offers = {f"key {at}": offer for at, offer in enumerate(self._offers())}
        commands = [
            Command(name, offer.description, offer.tooltip, self.get_key_display(offer))
            for name, (offer, _) in offers.items()
        ]
        chat = next((place for place in self._places if isinstance(place, ChatScreen)), None)
        sessions = chat.session_titles() if chat is not None else {}
        session = self._texts.operate.palette_session
        commands += [Command(name, title, session) for name, title in sessions.items()]

        async def carry_out(chosen: str | None) -> None:
            if chosen in offers:
                offer, node = offers[chosen]
                await self.run_action(offer.action, node)
            elif chosen is not None:
                await self.on_session_wanted(SessionWanted(chosen))

        self.push_screen(Palette(self._texts, commands), carry_out)

    def _offers(self) -> Iterator[tuple[Binding, DOMNode]]:
        """The bindings of ours that work here, each action once, in the person's language."""
        places = places_of(self._me)
        seen = {"palette", *(f"go('{place}')" for place, _ in PLACES if place not in places)}
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if active.enabled and binding.action not in seen and binding.tooltip:
                seen.add(binding.action)
                yield binding, active.node

    def action_toggle_theme(self) -> None:
        dark = self.current_theme.dark
        self.theme = "textual-light" if dark else "textual-dark"
        if self._kept_theme is not None:
            keep = partial(self._kept_theme.keep, "light" if dark else "dark")
            start(self, partial(asyncio.to_thread, keep), group="theme")

    async def on_event(self, event: Event) -> None:
        if self._collector is not None and isinstance(event, InputEvent):
            self._collector.touched()
        await super().on_event(event)

    def _fatal_error(self) -> None:
        """Textual would print every local variable, questions and answers among them."""
        self.panic(Text(traceback.format_exc()))

    async def action_quit(self) -> None:
        """Asks first where something would be gone; pressed once more, it leaves."""
        screens = (screen for stack in self._screen_stacks.values() for screen in stack)
        if isinstance(self.screen, Leaving) or not is_unsent(screens, self._drafts):
            self.exit(EXIT_OK)
            return

        def leave(agreed: bool | None) -> None:
            if agreed:
                self.exit(EXIT_OK)

        self.push_screen(Leaving(self._texts), leave)

    def action_help_quit(self) -> None:
        """Ctrl+C copies; who expects it to quit is told the right key."""
        self.notify(f"Ctrl+Q: {self._texts.tip_quit}", markup=False)

    # --- the server -------------------------------------------------------------------------

    def on_mount(self) -> None:
        if self._collector is not None:
            self.set_interval(LOOK_S, self._collector.look)
        if self._kept_theme is not None:
            self.theme = f"textual-{self._kept_theme.name}"
        start(self, self._link.watch, group="link")
        if self._until is not None:
            start(self, partial(self._leave_after, self._until), group="until")

    async def _leave_after(self, until: Work) -> None:
        await until()
        self.exit(EXIT_OK)

    def _tell_link(self, state: LinkState) -> None:
        for place in self._places:
            place.show_link(state)
        if state.is_reachable and not self._was_asked:
            self._was_asked = True
            start(self, self._begin_with_server, group="setup")
        else:
            self._begin_inbox()

    async def _begin_with_server(self) -> None:
        """What is asked once: whose key ours is, then whether the server is set up."""
        try:
            me = await self._known_me()
            self._begin_inbox()
            if me.role == "admin":  # who alone is asked
                await self._first_start.look()
        except Unauthorized:
            return  # not the operator, after all
        except SluiceError:
            self._was_asked = False  # the next time the link is up it is tried again
            self._begin_inbox()

    async def _known_me(self) -> Me:
        if self._me is None:
            self._me = await self._operating.me()
            for screen in self._places:
                screen.offer_places(places_of(self._me))
        return self._me

    # --- the first start --------------------------------------------------------------------

    async def _begin_set_up(self) -> None:
        try:
            await self._first_start.begin()
        except SluiceError as error:
            self.post_message(CallFailed(error))

    def action_setup(self) -> None:
        start(self, self._begin_set_up, group="setup", exclusive=True)

    async def on_setup_begun(self, message: SetupBegun) -> None:
        await self._first_start.open()

    async def on_turned(self, message: Turned) -> None:
        await self._first_start.turn(message.step)

    async def on_language_chosen(self, message: LanguageChosen) -> None:
        await self._first_start.choose_language(message.language)

    async def _speak(self, texts: Texts) -> None:
        """Every place is made anew, in another language, when it is visited next."""
        self._texts = texts
        for screen in self._places:
            if isinstance(screen, ChatScreen):
                screen.keep_draft()
        self._places = [screen for screen in self._places if not isinstance(screen, SluiceScreen)]
        for place, make in self._makers().items():
            await self.remove_mode(place)
            self.add_mode(place, partial(self._open, make))
        if self._drafts.by_form:
            self.notify(texts.faq.form_kept, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "setup" or self._first_start.is_open_to_us

    # --- the inbox --------------------------------------------------------------------------

    def _begin_inbox(self) -> None:
        if self._link.state.kind == "up" and not self._follows_inbox:
            self._follows_inbox = True
            start(self, self._follow_inbox, group="inbox")

    async def _follow_inbox(self) -> None:
        try:
            if "inbox" in places_of(await self._known_me()):
                await self._inbox.follow()
        except SluiceError:
            self._follows_inbox = False  # the next time the link is up it is tried again

    def _tell_inbox(self, change: InboxChange) -> None:
        match change:
            case InboxChanged():
                for place in self._places:
                    place.show_unread(self._inbox.unread)
                    if isinstance(place, InboxScreen):
                        place.show_messages()
            case MessageCame(message=message):
                words = message_line(self._texts, message)
                if message.kind == "message":
                    sender = safe_line(message.sender, 40)
                    words = self._texts.operate.inbox_new.format(sender=sender, text=words)
                self.notify(words, markup=False)
                for place in self._places:
                    if isinstance(place, ChatScreen):
                        place.read_turns(message.session_id)
            case RelatedCame(related=related):
                for place in self._places:
                    if isinstance(place, ChatScreen):
                        place.show_related(related)

    async def on_session_wanted(self, message: SessionWanted) -> None:
        await self.switch_mode("chat")
        for place in self._places:
            if isinstance(place, ChatScreen):
                await place.open_session(message.session_id)

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
        elif shuts_out(error):
            self._link.refused(error.reason)
        words = message.note if known else error_words(self._texts, error)
        if message.note and not known:
            words = f"{message.note}\n{words}"
        if words:
            self.notify(words, severity="error", timeout=ERROR_SHOWN_S, markup=False)

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        shown_s = self.NOTIFICATION_TIMEOUT if timeout is None else timeout
        self.post_message(Notify(Notice(message, title, severity, shown_s, markup=markup)))


def run(
    base_url: str,
    key: str,
    *,
    language: str | None = None,
    log_file: Path | None = None,
    until: Work | None = None,
    bring: Bring | None = None,
    theme: Theme | None = None,
) -> int:
    """Runs the UI until the person leaves or `until` returns; returns an exit status.

    Needs a terminal on standard input and output (else `EXIT_USAGE` with a message). `language`
    "en" or "zh" overrides the locale. What would be written to standard error goes to `log_file`.
    """
    return asyncio.run(
        run_async(
            base_url,
            key,
            language=language,
            log_file=log_file,
            until=until,
            bring=bring,
            theme=theme,
        )
    )


async def run_async(
    base_url: str,
    key: str,
    *,
    language: str | None = None,
    log_file: Path | None = None,
    until: Work | None = None,
    bring: Bring | None = None,
    theme: Theme | None = None,
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
    app = SluiceApp(
        client,
        texts,
        driver=driver_class(),
        until=until,
        bring=bring,
        theme=theme,
        collector=Collector(),
    )
    try:
        with stderr_in(log_file), at_hangup(partial(app.exit, EXIT_OK)), by_hand():
            await app.run_async()
    finally:
        await client.close()
    if app.return_code:
        log = texts.end_crashed_log.format(log=log_file) if log_file is not None else ""
        sys.stderr.write(f"{texts.end_crashed} {log}".rstrip() + "\n")
        return EXIT_INTERNAL
    return EXIT_OK
