"""A conversation as a file: Markdown to read, or JSON to process. Pure but for `write_new`."""

import os
import re
from collections.abc import Sequence
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Final, Literal

import msgspec

from appliance.schema.fields import Record
from ui.safe_text import safe_line, safe_text
from ui.texts import Texts
from ui.turns import LiveTurn

MAX_NAME_CHARS: Final = 60
_UNFIT: Final = re.compile(r"[^\w\-]+")

Form = Literal["md", "json"]


class ExportedTurn(Record, frozen=True, kw_only=True):
    id: str
    created_at_ms: int
    question: str
    answer: str
    state: str
    sources: tuple[str, ...]


class ExportedSession(Record, frozen=True, kw_only=True):
    id: str
    title: str
    turns: tuple[ExportedTurn, ...]


def file_name(title: str, form: Form) -> str:
    """A name that every file system takes, from a title in any script."""
    name = _UNFIT.sub("-", safe_line(title)).strip("-")[:MAX_NAME_CHARS].strip("-")
    return f"{name or 'conversation'}.{form}"


def form_of(path: Path) -> Form:
    return "json" if path.suffix.lower() == ".json" else "md"


def as_markdown(
    texts: Texts, title: str, turns: Sequence[LiveTurn], *, zone: tzinfo | None = None
) -> str:
    """Questions as headings, answers as they came but without what a terminal would obey."""
    parts = [f"# {safe_line(title)}"]
    for turn in turns:
        at = datetime.fromtimestamp(turn.created_at_ms / 1000, zone)
        parts.append(f"## {safe_line(turn.question, 120)}\n\n*{at:%Y-%m-%d %H:%M}*")
        if len(turn.question) > 120 or "\n" in turn.question:
            parts.append(_quoted(safe_text(turn.question)))
        parts.append(safe_text(turn.answer) or f"*{texts.chat.export_no_answer}*")
        if turn.matches:
            sources = [f"{n}. {safe_line(m.question)}" for n, m in enumerate(turn.matches, 1)]
            parts.append("\n".join([f"{texts.turn_sources}:", "", *sources]))
    return "\n\n".join(parts) + "\n"


def as_json(session_id: str, title: str, turns: Sequence[LiveTurn]) -> str:
    records = tuple(
        ExportedTurn(
            id=turn.id,
            created_at_ms=turn.created_at_ms,
            question=turn.question,
            answer=turn.answer,
            state=turn.phase,
            sources=tuple(match.id for match in turn.matches),
        )
        for turn in turns
    )
    session = ExportedSession(id=session_id, title=title, turns=records)
    return msgspec.json.format(msgspec.json.encode(session), indent=2).decode()


def write_new(path: Path, text: str) -> None:
    """Writes a file that only its owner reads; raises `FileExistsError` or another `OSError`.

    Half a file is not left behind.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
