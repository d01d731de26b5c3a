"""Text files that go with a question: read within bounds, put below it, and told apart again.

A file becomes a fenced block after the question, so the server and the model see plain text and
need to know nothing of files. `split` finds such blocks in a stored question, which lets a
conversation show one line for a file of a thousand. Only regular files of text are taken; what a
terminal would obey is removed where the text is shown, not here.
"""

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from appliance.schema.fields import MAX_TEXT_CHARS

MAX_FILE_BYTES: Final = 4 * MAX_TEXT_CHARS  # no character of UTF-8 has more than four
MAX_ATTACHMENTS: Final = 8
_FENCE_MIN: Final = 3
_BLOCK: Final = re.compile(r"\n\nFile: ([^\n]{1,255})\n(`{3,})\n(.*?)\n\2(?=\n\nFile: |\Z)", re.S)

Problem = Literal["missing", "not_a_file", "unreadable", "too_large", "not_text", "empty"]


@dataclass(frozen=True)
class Attachment:
    """A file's name without its folders, and its text."""

    name: str
    text: str

    @property
    def lines(self) -> int:
        return self.text.count("\n") + 1


@dataclass(frozen=True)
class Asked:
    """A question as it was typed, and the files that came with it."""

    question: str
    attachments: tuple[Attachment, ...] = ()


class AttachmentError(Exception):
    """Why a file cannot be attached."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem: Problem = problem


def read(path: Path) -> Attachment:
    """The text of a file; raises `AttachmentError`. Blocks while the disk is read."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            raise AttachmentError("not_a_file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AttachmentError("missing") from error
    except (OSError, ValueError) as error:
        raise AttachmentError("unreadable") from error
    return decoded(path.name, content)


def decoded(name: str, content: bytes) -> Attachment:
    """UTF-8 with or without a mark, else GB 18030; raises `AttachmentError`."""
    if len(content) > MAX_FILE_BYTES:
        raise AttachmentError("too_large")
    if b"\0" in content:
        raise AttachmentError("not_text")
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        raise AttachmentError("not_text")
    text = text.replace("\r\n", "\n").strip("\n")
    if not text.strip():
        raise AttachmentError("empty")
    return Attachment(" ".join(name.split())[:255] or "file", text)


def joined(asked: Asked) -> str:
    """The question as it is sent: the text, then each file in a fence longer than any inside."""
    parts = [asked.question.rstrip()]
    for attachment in asked.attachments:
        longest = max((len(run) for run in re.findall(r"`+", attachment.text)), default=0)
        fence = "`" * max(_FENCE_MIN, longest + 1)
        parts.append(f"File: {attachment.name}\n{fence}\n{attachment.text}\n{fence}")
    return "\n\n".join(parts)


def split(text: str) -> Asked:
    """The inverse of `joined`; a text without files is all question."""
    found = list(_BLOCK.finditer(text))
    if not found or found[-1].end() != len(text):
        return Asked(text)
    first = len(found) - 1
    while first > 0 and found[first - 1].end() == found[first].start():
        first -= 1
    kept: Sequence[re.Match[str]] = found[first:]
    attachments = tuple(Attachment(match[1], match[3]) for match in kept)
    return Asked(text[: kept[0].start()], attachments)
