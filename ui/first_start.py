"""The walk through the first start's questions: when it begins, its steps, and its end.

It begins by itself when the server says that nobody has answered them and the person is the
operator, and whenever the operator wants it again. Its screens are a mode of the app, so every
other place is one key away, and coming back finds the step one was at.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from textual.app import App
from textual.message import Message
from textual.screen import Screen

from appliance.errors import SluiceError
from appliance.schema.setup import SetupStatus, UiLanguage
from ui.background import start
from ui.client import Client, backoff_s
from ui.screens.frame import CallFailed, LinkedScreen
from ui.screens.setup import Bring, FaqStep, KeyStep, LanguageStep, Premises, SetupStep, Step
from ui.screens.setup_model import ModelStep
from ui.setting_up import SettingUp
from ui.texts import Texts, texts_for

MODE: Final = "setup"
FINISH_TRIES: Final = 12
_STEPS: Final[dict[Step, type[SetupStep]]] = {
    "language": LanguageStep,
    "model": ModelStep,
    "faq": FaqStep,
    "key": KeyStep,
}


@dataclass(frozen=True)
class Hands:
    """What the app does for the walk: `opened` and `closed` hear of screens that want to know of
    the link, and `speak` changes the language of every other screen. `bring` is of `Premises`."""

    opened: Callable[[LinkedScreen], None]
    closed: Callable[[LinkedScreen], None]
    speak: Callable[[Texts], Awaitable[None]]
    bring: Bring | None = None


class SetupBegun(Message):
    """The questions are to be shown; the app hears it."""


class FirstStart:
    """Owns the mode `MODE` of the app."""

    def __init__(self, app: App[int], client: Client, texts: Texts, hands: Hands) -> None:
        self._app = app
        self._client = client
        self._texts = texts
        self._hands = hands
        self._calls = SettingUp(client)
        self._status: SetupStatus | None = None
        self._step: SetupStep | None = None
        app.add_mode(MODE, lambda: Screen[None]())  # the ground, which is never seen

    @property
    def is_open_to_us(self) -> bool:
        """True once the server has told us how things stand: only the operator is told."""
        return self._status is not None

    async def look(self) -> None:
        """Begins if nobody has answered. Raises what the server answers."""
        self._status = await self._calls.status()
        if not self._status.done:
            self._app.post_message(SetupBegun())

    async def begin(self) -> None:
        """Begins whatever was answered before. Raises what the server answers."""
        self._status = await self._calls.status()
        self._app.post_message(SetupBegun())

    # Screens come and go in the app's own handlers only, so one change ends before the next begins.

    async def open(self) -> None:
        """From the first question, or where the person left off for another place."""
        if self._step is None:
            await self._show("language")
        else:
            await self._app.switch_mode(MODE)

    async def turn(self, step: Step | None) -> None:
        """To another question, or to the end."""
        if step is not None:
            await self._show(step)
            return
        if self._step is not None:
            await self._uncover(self._step)
            self._hands.closed(self._step)
            self._step = None
            await self._app.pop_screen()
        self._app.switch_mode("chat")
        start(self._app, self._finish, group="setup")

    async def choose_language(self, language: UiLanguage) -> None:
        if language != self._texts.language:
            self._texts = texts_for(language)
            await self._app.switch_mode(MODE)  # a place that is shown cannot be made anew
            await self._hands.speak(self._texts)
        await self._show("model")
        start(self._app, partial(self._keep_language, language), group="setup-language")

    async def _keep_language(self, language: UiLanguage) -> None:
        try:
            await self._calls.choose_language(language)
        except SluiceError as error:
            self._app.post_message(CallFailed(error))

    async def _finish(self) -> None:
        """Another model may just be taken into use: then the server is away for a moment."""
        for attempt in range(1, FINISH_TRIES + 1):
            try:
                await self._calls.finish()
                return
            except SluiceError:
                await self._client.pause(backoff_s(attempt))

    async def _show(self, step: Step) -> None:
        before, made = self._step, self._made(step)
        if before is None:
            await self._app.switch_mode(MODE)
            await self._app.push_screen(made)
        else:
            await self._uncover(before)
            await self._app.switch_screen(made)
            self._hands.closed(before)

    async def _uncover(self, step: SetupStep) -> None:
        """Goes to a step, and takes away what was opened over it: a quick key may have."""
        await self._app.switch_mode(MODE)
        while self._app.screen is not step and len(self._app.screen_stack) > 1:
            await self._app.pop_screen()

    def _made(self, step: Step) -> SetupStep:
        assert self._status is not None
        premises = Premises(self._texts, self._client, self._calls, self._status, self._hands.bring)
        self._step = _STEPS[step](premises)
        self._hands.opened(self._step)
        return self._step
