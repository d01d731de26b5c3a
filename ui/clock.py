"""The time of day as the screens know it; tests put a fixed one in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from appliance.clock import now_ms


@dataclass(frozen=True)
class Clock:
    """`now_ms` counts from the Unix epoch; `zone` None is the system's time zone."""

    now_ms: Callable[[], int] = now_ms
    zone: tzinfo | None = None
