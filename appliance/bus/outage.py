"""What the log says of a store that is away: one line when it goes, one when it is back.

The loops of a process all meet the same outage, again and again. One of them tells of it through
this; what the others meet is for the debug log.
"""

import logging

from appliance.bus.client import Bus


class Outage:
    """Knows whether the store is away, as far as its owner has met it."""

    def __init__(self, log: logging.Logger, then: str = "trying until it answers") -> None:
        """`then` is what the owner does meanwhile."""
        self._log = log
        self._then = then
        self._lasts = False

    def met(self, error: Exception) -> None:
        """The store did not answer."""
        level = logging.DEBUG if self._lasts else logging.WARNING
        self._log.log(level, "the store is away, %s: %s", self._then, error)
        self._lasts = True

    async def over(self, bus: Bus) -> None:
        """Asks a store that was away whether it is back. Raises what the client raises if not."""
        if self._lasts:
            await bus.ping()
        if self._lasts:  # else another loop has said so meanwhile
            self._lasts = False
            self._log.info("the store answers again")
