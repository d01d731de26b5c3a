"""The time of day as the screens know it; tests put a fixed one in its place."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Clock:
    """`now_ms` counts from the Unix epoch; `zone` None is the system's time zone."""

    now_ms: Callable[[], int] = _system_ms
    zone: tzinfo | None = None

    def minute(self, at_ms: int) -> str:
        """A point in time with its date, to the minute."""
        return f"{datetime.fromtimestamp(at_ms / 1000, self.zone):%Y-%m-%d %H:%M}"
