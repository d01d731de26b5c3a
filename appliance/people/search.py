"""Searching one person's conversations by text.

Every word of the query must stand in the same title, question or answer, whatever its case and
width. Scripts written without spaces have no words to see: of a run of theirs every character must
stand beside one of its neighbours, so 重置密码 is found in 密码怎么重置. Sessions are read from the
last active back, up to a bound of turns: there is no index, for what one person wrote is read in
milliseconds, and nothing has to be kept in step or erased.
"""

import re
import unicodedata
from collections.abc import Sequence

from appliance.people.sessions import Sessions
from appliance.people.turns import Turns
from appliance.schema.conversations import Hit, Hits, Session, Turn
from appliance.writing import UNSPACED

SESSIONS_BATCH = 50
TURNS_BATCH = 200
AROUND_CHARS = 60
_MARKS = ".,;:!?…、。·\"'“”‘’()[]{}<>《》「」『』【】"
_PIECE = re.compile(rf"[{UNSPACED}]+|[^\s{UNSPACED}]+")
_RUN = re.compile(rf"[{UNSPACED}]{{3,}}")


def folded(text: str) -> str:
    """Text as it is compared: one form for letters of any case and width."""
    return unicodedata.normalize("NFKC", text).casefold()


def words_of(query: str) -> list[str]:
    """What has to stand in a text: punctuation only where nothing else was asked for."""
    pieces: list[str] = _PIECE.findall(folded(query))
    words = [piece.strip(_MARKS) for piece in pieces if any(map(str.isalnum, piece))]
    return words or pieces


def contains(text: str, words: Sequence[str]) -> bool:
    compared = folded(text)
    return all(word in compared or _in_pairs(word, compared) for word in words)


def _in_pairs(word: str, text: str) -> bool:
    """Whether each character of an unspaced run stands there beside one of its neighbours."""
    if not _RUN.fullmatch(word):
        return False
    there = [pair in text for pair in _pairs(word)]
    return all(a or b for a, b in zip([False, *there], [*there, False], strict=True))


def _pairs(word: str) -> list[str]:
    return [word[at : at + 2] for at in range(len(word) - 1)]


def excerpt(text: str, words: Sequence[str]) -> str:
    """What stands around the first of the words, on one line."""
    line = " ".join(text.split())
    compared = folded(line)
    parts = [p for w in words for p in ([w] if w in compared else _pairs(w))]
    found = [at for part in parts if (at := compared.find(part)) >= 0]
    # Folding may change lengths a little; the excerpt is wide enough for that.
    start = max(0, min(found, default=0) - AROUND_CHARS)
    end = min(len(line), start + 3 * AROUND_CHARS)
    return f"{'…' if start else ''}{line[start:end]}{'…' if end < len(line) else ''}"


def hits_in(session: Session, turns: Sequence[Turn], words: Sequence[str]) -> list[Hit]:
    """Hits in some turns of a session, the latest first."""
    found: list[Hit] = []
    for turn in reversed(turns):
        for place, text in (("answer", turn.answer), ("question", turn.question)):
            if contains(text, words):
                found.append(
                    Hit(
                        session_id=session.id,
                        title=session.title,
                        place="answer" if place == "answer" else "question",
                        excerpt=excerpt(text, words),
                        at_ms=turn.created_at_ms,
                        turn_id=turn.id,
                    )
                )
    return found


class Search:
    """Looks through at most `turns_bound` turns."""

    def __init__(self, sessions: Sessions, turns: Turns, turns_bound: int) -> None:
        self._sessions = sessions
        self._turns = turns
        self._turns_bound = turns_bound

    async def find(self, uid: str, query: str, limit: int) -> Hits:
        """At most `limit` hits of one person, by the last activity of their sessions."""
        words = words_of(query)
        found: list[Hit] = []
        left = self._turns_bound
        if not words:
            return Hits(items=(), complete=True)
        async for session in self._sessions.every(uid, batch=SESSIONS_BATCH):
            if contains(session.title, words):
                found.append(_title_hit(session, words))
            left = await self._look(session, words, found, left)
            if len(found) >= limit or left <= 0:
                return Hits(items=tuple(found[:limit]), complete=False)
        return Hits(items=tuple(found), complete=True)

    async def _look(
        self, session: Session, words: Sequence[str], found: list[Hit], left: int
    ) -> int:
        """Adds the hits of one session; how many turns may still be looked at."""
        cursor: str | None = None
        while left > 0:
            page = await self._turns.page(session.id, cursor=cursor, limit=min(TURNS_BATCH, left))
            found += hits_in(session, page.items, words)
            left -= len(page.items)
            cursor = page.cursor
            if cursor is None:
                break
        return left


def _title_hit(session: Session, words: Sequence[str]) -> Hit:
    return Hit(
        session_id=session.id,
        title=session.title,
        place="title",
        excerpt=excerpt(session.title, words),
        at_ms=session.last_active_at_ms,
    )
