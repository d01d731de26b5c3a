"""Words that stand in a corner of the screen for a moment."""

from textual.notifications import Notification

SHORTEST_S = 0.05


class Notice(Notification):
    """Can be put on the screen at the very moment it expires.

    Textual shows it with a timer for the time it has left. Where that is less than nothing, because
    the machine was busy for a moment, the timer turns for ever and the screen stands still.
    """

    @property
    def time_left(self) -> float:
        return max(SHORTEST_S, super().time_left)

    @property
    def has_expired(self) -> bool:
        return super().time_left <= 0
