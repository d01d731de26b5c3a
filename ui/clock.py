"""The time of day as the screens know it; tests put a fixed one in its place."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo


def _system_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Clock:
    """`now_ms` counts from the Unix epoch; `zone` None is the system's time zone."""

    now_ms: Callable[[], int] = _system_ms
    zone: tzinfo | None = None
