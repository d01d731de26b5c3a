"""The last lines of the log, kept in memory so that an operator elsewhere can read them.

A handler beside those of `runtime.logs`: it takes every record of the process and forgets the
oldest. What is logged holds ids only, never what a person wrote.
"""

import logging
from collections import deque
from typing import Literal

from appliance.schema.logs import LogLevel, LogLine, LogPage

MAX_MESSAGE_CHARS = 4_000

_LEVELS: dict[LogLevel, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class LogRing(logging.Handler):
    """Keeps the last `size` lines, numbered from 1."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=size)
        self._last = 0
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except (TypeError, ValueError):  # a record whose arguments do not fit its message
            message = str(record.msg)
        self._last += 1
        self._lines.append(
            LogLine(
                number=self._last,
                at_ms=int(record.created * 1000),
                level=_level(record.levelno),
                logger=record.name,
                message=message[:MAX_MESSAGE_CHARS],
            )
        )

    def read(self, *, level: LogLevel, words: str, after: int, limit: int) -> LogPage:
        """The newest `limit` lines of at least `level` with a number above `after` that contain
        `words`, letter case aside, oldest first."""
        self.acquire()
        try:
            lines, last = list(self._lines), self._last
        finally:
            self.release()
        least, wanted = _LEVELS[level], words.casefold()
        found = [
            line
            for line in lines
            if line.number > after
            and _LEVELS[line.level] >= least
            and wanted in f"{line.logger} {line.message}".casefold()
        ]
        return LogPage(items=tuple(found[-limit:]), last=last)


def _level(number: int) -> Literal["debug", "info", "warning", "error"]:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
