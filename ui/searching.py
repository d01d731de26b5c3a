"""What a search of conversations found, as it is shown: pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.schema.conversations import Hit as Told
from ui.safe_text import safe_line

MIN_CHARS: Final = 2
SNIPPET_CHARS: Final = 70
_BEFORE_CHARS: Final = 20


@dataclass(frozen=True)
class Hit:
    """A turn that has the words, and a line of it around them; without `turn_id` a session whose
    title has them. `title` is the session's."""

    session_id: str
    turn_id: str
    title: str
    snippet: str
    is_answer: bool


def is_searchable(wanted: str) -> bool:
    """One letter finds everything; one Chinese character is a word."""
    wanted = wanted.strip()
    return len(wanted) >= MIN_CHARS or (bool(wanted) and ord(wanted[0]) > 0x2E7F)


def hits_of(told: Sequence[Told], wanted: str, *, first: str) -> list[Hit]:
    """One hit for each turn, its question before its answer, and one for a session of which only
    the title has the words. Those of the session `first` come first."""
    sessions_of_turns = {one.session_id for one in told if one.turn_id}
    found: dict[tuple[str, str], Hit] = {}
    for one in told:
        if not one.turn_id and one.session_id in sessions_of_turns:
            continue
        place = one.session_id, one.turn_id
        if place in found and one.place == "answer":
            continue
        found[place] = Hit(
            session_id=one.session_id,
            turn_id=one.turn_id,
            title=one.title,
            snippet=snippet(one.excerpt, wanted) if one.turn_id else "",
            is_answer=one.place == "answer",
        )
    return sorted(found.values(), key=lambda hit: hit.session_id != first)


def snippet(text: str, wanted: str) -> str:
    """One line around the first of the words."""
    folded = text.casefold()
    places = [at for word in wanted.casefold().split() if (at := folded.find(word)) >= 0]
    start = max(0, min(places, default=0) - _BEFORE_CHARS)
    cut = safe_line(text[start : start + SNIPPET_CHARS * 2], SNIPPET_CHARS)
    return f"…{cut}" if start else cut
