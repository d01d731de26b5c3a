"""Logs: JSON lines in the data directory, plain lines on standard error.

Nothing a person wrote is logged: ids only. What is not printable is escaped, so that a log line
is one line whatever it quotes, and no terminal that shows it is told anything.
"""

import datetime
import json
import logging
import logging.handlers
import sys
from pathlib import Path

from appliance.log_ring import LogRing
from appliance.settings.server import Log

DIRECTORY = "logs"
FILE_NAME = "sluice.jsonl"
QUIET = ("httpx", "httpcore", "litestar", "uvicorn.access", "uvicorn.error")


class JsonLines(logging.Formatter):
    """One JSON object per record: time, level, logger, message, and the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.datetime.fromtimestamp(record.created).astimezone()
        line = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:  # a child's comes as text
            line["traceback"] = record.exc_text
        text = json.dumps(line, ensure_ascii=False)
        return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


class PlainLines(logging.Formatter):
    """For a person at a terminal: time, level, message, on one line each, and a traceback below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return _escaped(super().format(record), kept="\n\t")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # logging's name
        return _escaped(super().formatMessage(record))


def set_up(data_directory: Path, settings: Log) -> LogRing:
    """Configures logging for the whole process; returns the last lines as they come."""
    directory = data_directory / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    to_file = logging.handlers.RotatingFileHandler(
        directory / FILE_NAME,
        maxBytes=settings.file_bytes,
        backupCount=settings.files_kept,
        encoding="utf-8",
    )
    to_file.setFormatter(JsonLines())
    to_terminal = logging.StreamHandler(sys.stderr)
    to_terminal.setFormatter(PlainLines())
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(settings.level.upper())
    root.addHandler(to_file)
    root.addHandler(to_terminal)
    ring = LogRing(settings.kept_lines)
    root.addHandler(ring)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    return ring


def _escaped(text: str, *, kept: str = "") -> str:
    return "".join(
        c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text
    )
