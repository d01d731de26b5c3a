"""Owns what is known of the way to the server: away, starting, or up.

`watch` asks until the server is ready and then ends: while all is well nothing is asked, and
the first call that fails on its way calls for a new watch. The pause between two questions
grows, so a server that starts is seen at once and one that is away costs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Literal

from appliance.errors import Forbidden, SluiceError, Unauthorized
from ui.answers import UNSAFE, Readiness

WATCH_FIRST_S: Final = 0.25
WATCH_MAX_S: Final = 3.0
FOREIGN_HOST: Final = "foreign_host"  # of the server's gate, to every call
_FINE: Final = ("ok", "ready", "")


@dataclass(frozen=True)
class LinkState:
    """`kind`: connecting (never reached yet), away, starting (reached, not ready), up, refused.

    `detail` names the parts that are not ready, or why we are refused, as the server tells; of a
    server that is away, why no connection to it is safe.
    """

    kind: Literal["connecting", "away", "starting", "up", "refused"] = "connecting"
    detail: str = ""

    @property
    def is_reachable(self) -> bool:
        return self.kind in ("starting", "up")


CONNECTING: Final = LinkState()
STARTING: Final = LinkState("starting")


def shuts_out(error: SluiceError) -> bool:
    """Whether every other call would be refused too: more than what a role may not do."""
    if isinstance(error, Forbidden):
        return error.reason == FOREIGN_HOST
    return isinstance(error, Unauthorized)


class Link:
    """The state of the connection; every change is told. `begun`: what is known before."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Readiness]],
        *,
        tell: Callable[[LinkState], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        begun: LinkState = CONNECTING,
    ) -> None:
        self._ask = ask
        self._tell = tell
        self._pause = pause
        self._was_reached = False
        self._is_watching = False
        self._begun = self.state = begun

    def lost(self) -> None:
        """A call found the server away; the caller starts a new `watch`."""
        self._set(self._away())

    def refused(self, reason: str) -> None:
        """A call found that the server does not let us in (`shuts_out`)."""
        self._set(LinkState("refused", reason))

    async def watch(self) -> None:
        """Returns when the server is ready or refuses our key; at once when one is watching."""
        if self._is_watching:
            return
        self._is_watching = True
        try:
            await self._watch()
        finally:
            self._is_watching = False

    async def _watch(self) -> None:
        pause_s = WATCH_FIRST_S
        while True:
            before = self.state
            state = await self._look()
            self._set(state)
            if state.kind in ("up", "refused"):
                return
            pause_s = WATCH_FIRST_S if state != before else min(WATCH_MAX_S, pause_s * 1.6)
            await self._pause(pause_s)

    async def _look(self) -> LinkState:
        try:
            readiness = await self._ask()
        except Unauthorized as error:
            return LinkState("refused", error.reason)
        except SluiceError as error:
            return self._away(error.facts.get(UNSAFE, ""))
        self._was_reached = True
        if readiness.ready:
            return LinkState("up")
        waiting = {name: text for name, text in readiness.checks.items() if text not in _FINE}
        return LinkState("starting", ", ".join(f"{name}: {text}" for name, text in waiting.items()))

    def _away(self, detail: str = "") -> LinkState:
        if self._was_reached:
            return LinkState("away", detail)
        return replace(self._begun, detail=detail)

    def _set(self, state: LinkState) -> None:
        if state != self.state:
            self.state = state
            self._tell(state)
