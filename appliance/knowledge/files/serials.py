"""Numbers of a spreadsheet as it shows them: 15 digits, percentages, dates and times.

A date is a number of days there (ECMA-376 part 1, 18.17.4), told from other numbers only by its
format. Whoever typed 2026-05-01 into a cell must not find 46143 in an answer.
"""

import datetime
import re
from collections.abc import Mapping, Sequence

DATE_FORMATS = frozenset({*range(14, 18), 22, *range(27, 37), *range(50, 59)})
TIME_FORMATS = frozenset({18, 19, 20, 21, 45, 46, 47})
PERCENT_FORMATS = frozenset({9, 10})

_QUOTED = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|_.|\*.')
_DAY_S = 86_400


def temporal_styles(formats: Sequence[int], codes: Mapping[int, str]) -> tuple[str, ...]:
    """By cell style: "date", "time", "percent", or "" for a plain number."""
    return tuple(_shown_as(number, codes.get(number, "")) for number in formats)


def _shown_as(number: int, code: str) -> str:
    letters = _QUOTED.sub("", code.partition(";")[0]).lower()
    if number in DATE_FORMATS or re.search(r"[yd年月日]", letters):
        return "date"
    if number in TIME_FORMATS or re.search(r"[hs]", letters):
        return "time"
    return "percent" if number in PERCENT_FORMATS or "%" in letters else ""


def shown_number(text: str, shown_as: str, *, is_1904: bool = False) -> str:
    """The number `text` as a spreadsheet shows it. Raises ValueError when it is none."""
    number = float(text)
    if shown_as in ("date", "time") and 0 <= number < 2_958_466:
        return _moment(number, shown_as, is_1904=is_1904)
    if shown_as == "percent":
        return f"{number * 100:.15g}%"
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.15g}"


def _moment(number: float, shown_as: str, *, is_1904: bool) -> str:
    """An ISO date, date and time, or time; the calendar of 1900 has a 29 February."""
    seconds = round(number * _DAY_S)
    days, seconds = divmod(seconds, _DAY_S)
    clock = str(datetime.timedelta(seconds=seconds)).zfill(8)
    if shown_as == "time" and days == 0:
        return clock
    first = datetime.date(1904, 1, 1) if is_1904 else datetime.date(1899, 12, 30)
    date = first + datetime.timedelta(days=days + (0 if is_1904 or days >= 60 else 1))
    return f"{date}" if shown_as == "date" and not seconds else f"{date} {clock}"
