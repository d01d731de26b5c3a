"""Whether one may conclude from silence: only after listening without a break.

A store that was away, or a machine that slept, silences everybody; what reports stopped then says
nothing about who sent them.
"""


class Contact:
    """Knows since when the store has been heard regularly; the caller owns the clock."""

    def __init__(self, *, quiet_s: float, settle_s: float) -> None:
        """A gap above `quiet_s` breaks the contact; `settle_s` after that it counts again."""
        self._quiet_s = quiet_s
        self._settle_s = settle_s
        self._last_s = float("-inf")
        self._steady_since_s = float("-inf")

    def made(self, now_s: float) -> bool:
        """The store answered now. True when silence means something."""
        if now_s - self._last_s > self._quiet_s:
            self._steady_since_s = now_s
        self._last_s = now_s
        return now_s - self._steady_since_s >= self._settle_s

    def broken(self) -> None:
        """The store did not answer."""
        self._last_s = float("-inf")
