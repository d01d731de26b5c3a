"""Quiet hours and time zones as people write them, in the widths and dashes of any keyboard."""

import datetime
import re
import unicodedata
import zoneinfo

_TIME = r"([01]?\d|2[0-3]):([0-5]\d)"
_HOURS = re.compile(rf"{_TIME}\s*[-~\u2010-\u2015\u2212\u301c至到]+\s*{_TIME}")


def hours_in(text: str) -> re.Match[str] | None:
    """Two hours with their minutes, of "22:00-07:00"; None for what is not that."""
    return _HOURS.fullmatch(unicodedata.normalize("NFKC", text).strip())


def are_hours(text: str) -> bool:
    """Whether these can be quiet hours; nothing are none."""
    return not text.strip() or hours_in(text) is not None


def zone_of(name: str) -> datetime.tzinfo | None:
    """The machine's is None, and so is one that nobody knows."""
    try:
        return zoneinfo.ZoneInfo(name) if name else None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
