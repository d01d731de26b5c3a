"""A file with a FAQ in it, read within bounds before it is sent. Blocks while the disk is read."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

MAX_FAQ_BYTES: Final = 16_000_000  # the server's own bound unless it was changed
KINDS: Final = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
}

Problem = Literal["kind", "missing", "odd", "large"]


class FaqFileError(Exception):
    """Why a file cannot be sent."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem: Problem = problem


@dataclass(frozen=True)
class FaqFile:
    """The content of a file and the content type it is sent as."""

    content: bytes
    kind: str


def read_faq_file(path: Path) -> FaqFile:
    """Raises `FaqFileError`."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise FaqFileError("kind")
    try:
        path = path.expanduser()
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise FaqFileError("odd")
        if facts.st_size > MAX_FAQ_BYTES:
            raise FaqFileError("large")
        with path.open("rb") as file:
            content = file.read(MAX_FAQ_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FaqFileError("missing") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise FaqFileError("odd") from error
    if len(content) > MAX_FAQ_BYTES:
        raise FaqFileError("large")
    return FaqFile(content, kind)
