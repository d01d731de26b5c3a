"""The records of `/api/logs`."""

from typing import Literal

from appliance.schema.fields import Record

LogLevel = Literal["debug", "info", "warning", "error"]


class LogLine(Record, frozen=True, kw_only=True):
    """One line of the log with its traceback, if any; numbers count from the process's start."""

    number: int
    at_ms: int
    level: LogLevel
    logger: str
    message: str


class LogPage(Record, frozen=True, kw_only=True):
    """Lines, oldest first; `last` is the number of the newest line there is."""

    items: tuple[LogLine, ...]
    last: int
