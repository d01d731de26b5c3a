"""Finding words in conversations: pure, over turns that were read already."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ui.safe_text import safe_line
from ui.turns import LiveTurn

MIN_CHARS: Final = 2
HITS_MAX: Final = 200
SNIPPET_CHARS: Final = 70
_BEFORE_CHARS: Final = 20


@dataclass(frozen=True)
class Hit:
    """A turn that has the words, and a line of it around them, safe to show."""

    session_id: str
    turn_id: str
    created_at_ms: int
    snippet: str
    is_answer: bool


def is_searchable(wanted: str) -> bool:
    """One letter finds everything; one Chinese character is a word."""
    wanted = wanted.strip()
    return len(wanted) >= MIN_CHARS or (bool(wanted) and ord(wanted[0]) > 0x2E7F)


def hits(session_id: str, turns: Iterable[LiveTurn], wanted: str) -> Iterator[Hit]:
    """One hit for each turn whose question or answer contains `wanted`, letter case aside."""
    needle = wanted.strip().casefold()
    for turn in turns:
        for text, is_answer in ((turn.question, False), (turn.answer, True)):
            at = text.casefold().find(needle)
            if at >= 0:
                line = snippet(text, at)
                yield Hit(session_id, turn.id, turn.created_at_ms, line, is_answer)
                break


def snippet(text: str, at: int) -> str:
    """One line around position `at`."""
    start = max(0, at - _BEFORE_CHARS)
    cut = safe_line(text[start : start + SNIPPET_CHARS * 2], SNIPPET_CHARS)
    return f"…{cut}" if start else cut
