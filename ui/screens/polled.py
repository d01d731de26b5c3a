"""A place that is read again and again while one looks at it, and never otherwise."""

from typing import Final

from textual.timer import Timer

from appliance.errors import SluiceError
from ui.background import start
from ui.screens.frame import LinkedScreen, SluiceScreen, explained

REFRESH_S: Final = 1.0


class Polled(LinkedScreen):
    """The subclass says how to read (`read`) and how to say that it failed (`say_stale`)."""

    _timer: Timer | None = None
    _is_reading = False

    async def read(self) -> None:
        """Asks the server and shows its answers."""
        raise NotImplementedError

    def say_stale(self, words: str) -> None:
        """What is shown is not as it is now, and why."""
        raise NotImplementedError

    def on_mount(self) -> None:
        self._timer = self.set_interval(REFRESH_S, self._tick)

    def on_screen_resume(self) -> None:
        if self._timer is not None:
            self._timer.resume()
        self.action_refresh_status()

    def on_screen_suspend(self) -> None:
        if self._timer is not None:
            self._timer.pause()

    def on_link_restored(self) -> None:
        self.action_refresh_status()

    def action_refresh_status(self) -> None:
        if self.link_state.is_reachable:
            start(self, self._read_or_say_why, group="status", exclusive=True)

    def _tick(self) -> None:
        """A server that takes longer than the interval is not asked again before it answered."""
        if not self._is_reading:
            self.action_refresh_status()

    async def _read_or_say_why(self) -> None:
        self._is_reading = True
        try:
            await self.read()
        except SluiceError as error:
            reason = explained(self, error).replace("\n", " ")
            self.say_stale(self.texts.status_stale.format(reason=reason))
        finally:
            self._is_reading = False


class PolledScreen(Polled, SluiceScreen):
    """Such a place of the app."""
