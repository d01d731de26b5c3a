"""A store that is away or full: what the log says of it, and what callers are told.

The loops of a process all meet the same outage, again and again. One of them tells of it through
`Outage`, in one line when the store goes and one when it is back; what the others meet is for the
debug log. A full store answers reads, so it is back only when it takes a write.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from appliance import keys
from appliance.bus.client import AWAY, FULL, Bus
from appliance.errors import SluiceError, StoreFull, Unavailable

RETRY_S = 0.5
T = TypeVar("T")


def told(fault: Exception) -> SluiceError:
    """What a caller is told whose request met this fault of the store."""
    if isinstance(fault, FULL):
        return StoreFull(
            "the store takes nothing new: its memory or its disk is full",
            hint="make room on the disk, or raise store.memory_mb and start again; what is "
            "stored can be read meanwhile",
            reason="store_full",
        )
    return Unavailable(
        "the store is not answering",
        hint="it is restarted by itself; try again in a few seconds",
        retry_after_s=2.0,
        reason="store_away",
    )


async def until_back(
    act: Callable[[], Awaitable[T]], *, met: Callable[[Exception], None] = lambda error: None
) -> T:
    """Does it again until the store is neither away nor full; `met` hears of each time it was."""
    while True:
        try:
            return await act()
        except AWAY as error:
            met(error)
            await asyncio.sleep(RETRY_S)


async def takes_writes(bus: Bus) -> None:
    """Raises what the client raises if not. The write changes nothing: the key is there."""
    await bus.set(keys.LAYOUT_KEY, keys.LAYOUT, nx=True)


class Outage:
    """Knows whether the store is away, as far as its owner has met it."""

    def __init__(self, log: logging.Logger, then: str = "trying until it answers") -> None:
        """`then` is what the owner does meanwhile."""
        self._log = log
        self._then = then
        self._lasts = False
        self._full = False

    def met(self, error: Exception) -> None:
        """The store did not answer, or refused to write."""
        full = isinstance(error, FULL)
        level = logging.DEBUG if self._lasts and self._full == full else logging.WARNING
        state = "full" if full else "away"
        self._log.log(level, "the store is %s, %s: %s", state, self._then, error)
        self._lasts, self._full = True, full

    async def over(self, bus: Bus) -> None:
        """Asks a store that was away whether it is back. Raises what the client raises if not."""
        if self._lasts:
            await (takes_writes(bus) if self._full else bus.ping())
        if self._lasts:  # else another loop has said so meanwhile
            self._lasts = False
            self._log.info("the store answers again")
