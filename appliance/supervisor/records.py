"""The log of a child of ours: each record is one line of JSON on its standard error.

So level, words and traceback arrive together, and the supervisor logs them as what they are. What
is no such line was printed by a library, or by the interpreter as it died: it is a warning.

A line always fits `process.LINE_LIMIT_BYTES`: words are cut at their end, tracebacks at their
beginning, and no character takes more than six bytes.
"""

import logging
import sys
from types import TracebackType

import msgspec

MESSAGE_CHARS = 1_000
TRACEBACK_CHARS = 4_000
OURS = ("appliance", "sluice", "root")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a child's log. `level` is a number of `logging`."""

    level: int
    message: str
    traceback: str = ""

    @property
    def words(self) -> str:
        return f"{self.message}\n{self.traceback}" if self.traceback else self.message


class RecordLines(logging.Formatter):
    """Makes the lines, in the child."""

    def format(self, record: logging.LogRecord) -> str:
        traceback = self.formatException(record.exc_info) if record.exc_info else ""
        message = record.getMessage()
        if record.name.partition(".")[0] not in OURS:
            message = f"{record.name}: {message}"
        line = Record(
            record.levelno,
            # Cut once more: what cannot be encoded becomes several characters.
            _encodable(message[:MESSAGE_CHARS])[:MESSAGE_CHARS],
            _encodable(traceback[-TRACEBACK_CHARS:])[-TRACEBACK_CHARS:],
        )
        return msgspec.json.encode(line).decode()


def log_to_supervisor(level: str) -> None:
    """Sets up the whole log of this process; what nobody catches is logged too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RecordLines())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    sys.excepthook = _log_uncaught


def read_record(line: bytes) -> Record:
    """The record in a line, or the line itself as one."""
    try:
        return msgspec.json.decode(line, type=Record)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Record(logging.WARNING, line.decode("utf-8", "backslashreplace"))


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    logging.critical("this process ends by a defect of ours", exc_info=(kind, error, trace))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
