"""The time a person writes into a field, in the time zone of the screen; pure."""

from datetime import datetime, timedelta, tzinfo
from typing import Final

from appliance.schema.inbox import FAR_MS

FORMATS: Final = ("%Y-%m-%d %H:%M", "%H:%M")


def point_of(text: str, now_ms: int, zone: tzinfo | None = None) -> int | None:
    """Milliseconds of `2026-05-01 08:30`, or of `08:30`, which is the next one to come.

    None for anything else, and for what is past or beyond the year 2100.
    """
    now = datetime.fromtimestamp(now_ms / 1000, zone)
    words = " ".join(text.replace("：", ":").split())
    for form in FORMATS:
        try:
            read = datetime.strptime(words, form)
        except ValueError:
            continue
        if form == "%H:%M":
            today = now.replace(hour=read.hour, minute=read.minute, second=0, microsecond=0)
            at = today if today > now else today + timedelta(days=1)
        else:
            at = read.replace(tzinfo=zone)
        at_ms = int(1000 * at.timestamp()) if at.year < 2100 else FAR_MS + 1
        return at_ms if now_ms < at_ms <= FAR_MS else None
    return None
