"""When an entry answers: from one moment to another, either of which may be open.

A moment is an ISO 8601 date or time. A date alone is the whole day: a period that ends on the 31st
lasts through the 31st. Without an offset a moment is meant where the appliance runs. The period is
read from the record at each question, so nothing has to happen when a period begins or ends.
"""

import datetime

from appliance.errors import Invalid
from appliance.schema.answers import Match
from appliance.schema.faq import Entry

EXAMPLE = "2026-12-31 or 2026-12-31T18:00+08:00"


def is_valid(entry: Entry, at: datetime.datetime) -> bool:
    """Whether the entry answers at that moment, which must have an offset."""
    if entry.valid_from and at < _begin("valid_from", entry.valid_from):
        return False
    return not entry.valid_until or at < _end("valid_until", entry.valid_until)


def still_says(entry: Entry | None, match: Match, at: datetime.datetime) -> bool:
    """Whether an entry answers at that moment with what was once found of it."""
    return (
        entry is not None
        and entry.state == "published"
        and is_valid(entry, at)
        and (entry.question, entry.answer) == (match.question, match.answer)
        and match.phrasing in (entry.question, *entry.phrasings)
    )


def check_period(valid_from: str, valid_until: str) -> None:
    """Raises Invalid for a day that no calendar has, or an end that is not after the beginning."""
    begin = _begin("valid_from", valid_from) if valid_from else None
    end = _end("valid_until", valid_until) if valid_until else None
    if begin and end and end <= begin:
        raise Invalid(
            f"valid_until: {valid_until} is not after valid_from {valid_from}",
            hint="exchange them, or leave one out",
            reason="period_reversed",
            facts={"begin": valid_from, "end": valid_until},
        )


def _begin(name: str, text: str, *, days: int = 0) -> datetime.datetime:
    """So many days later by the calendar, whatever the clocks do meanwhile."""
    try:
        written = datetime.datetime.fromisoformat(text) + datetime.timedelta(days=days)
        return written.astimezone()
    except (ValueError, OverflowError):
        raise _no_such_day(name, text) from None


def _end(name: str, text: str) -> datetime.datetime:
    """The first moment after it: the next midnight for a date, the moment itself for a time."""
    return _begin(name, text, days=0 if "T" in text else 1)


def _no_such_day(name: str, text: str) -> Invalid:
    return Invalid(
        f"{name}: no calendar has {text}",
        hint=f"write {EXAMPLE}",
        reason="no_such_day",
        facts={"field": name, "day": text},
    )
