"""A conversation as a file: JSON for programs, Markdown for people. Pure text, nothing is read.

What people wrote stands in Markdown as they wrote it, but can end neither its turn nor the file:
headings of the transcript are level one and two, and a line of the text that begins with # is
escaped. Answers keep their own Markdown below level two, and their code as it is: a fence that an
answer leaves open is closed.
"""

import datetime
import re
from collections.abc import Sequence

import msgspec

from appliance.fences import fence_after
from appliance.schema.conversations import Session, Turn

_HEADING = re.compile(r"(\s{0,3})(#{1,6}(?:\s|$))")


def as_json(session: Session, turns: Sequence[Turn]) -> bytes:
    return msgspec.json.format(msgspec.json.encode({"session": session, "turns": turns}))


def as_markdown(session: Session, turns: Sequence[Turn]) -> bytes:
    """Title, then question and answer in turn, with the entries that answers rest on."""
    title = " ".join(session.title.split()) or _first_words(turns) or session.id
    parts = [f"# {title}", f"{session.uid} · {_moment(session.created_at_ms)}"]
    for turn in turns:
        parts.append(f"## {_moment(turn.created_at_ms)}")
        parts.append("\n".join(f"> {line}" for line in turn.question.splitlines()))
        parts.append(_without_headings(turn.answer) or f"*({turn.state})*")
        if turn.matches:
            sources = [f"[{n}] {match.question}" for n, match in enumerate(turn.matches, start=1)]
            parts.append("\n".join(f"- {source}" for source in sources))
    return ("\n\n".join(parts) + "\n").encode()


def first_words(text: str, chars: int = 60) -> str:
    """The beginning of a text as a title: one line, whole words where there are blanks."""
    line = " ".join(text.split())
    if len(line) <= chars:
        return line
    cut = line[: chars + 1].rpartition(" ")[0]
    return f"{cut if len(cut) > chars // 2 else line[:chars]}…"


def _without_headings(text: str) -> str:
    lines, fence = [], ""
    for line in text.split("\n"):
        heading = None if fence else _HEADING.match(line)
        lines.append(f"{heading[1]}\\{line[heading.end(1) :]}" if heading else line)
        fence = fence_after(line, fence)
    return "\n".join([*lines, fence] if fence else lines)


def _first_words(turns: Sequence[Turn]) -> str:
    return first_words(turns[0].question) if turns else ""


def _moment(at_ms: int) -> str:
    at = datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC)
    return at.strftime("%Y-%m-%d %H:%M UTC")
