"""Which of a session's earlier turns its next prompt holds.

When history outgrows its bound the older half goes in one large cut, at a point which depends
only on the turns themselves: the next prompts start with the same tokens until the next cut.

A turn keeps the text of the FAQ entries that it rests on, in what the model saw and mostly in its
answer. Once one of them does not say so any more (deleted, reworded, a draft, past its time), the
turn is left out as a whole: neither the old text nor an answer made of it is told as if it held.
Until then it is sent to the letter, so prompts change what they begin with only when that happens.
The entries of all turns are read at once, and not at all where no turn has any.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from appliance import keys
from appliance.bus.client import Bus
from appliance.knowledge.entries import Entries
from appliance.knowledge.validity import still_says
from appliance.people.turns import Turns
from appliance.schema.conversations import Turn
from appliance.schema.requests import TERMINAL_STATES
from appliance.settings.conversations import Sessions

HISTORY_TURNS = 200  # looked at for one prompt, the question's own included


@dataclass(frozen=True)
class Earlier:
    """The turns to send and how many are not sent, with the ids of those `left_out` for what their
    entries say by now; `has_open` while a turn has no end yet."""

    turns: tuple[Turn, ...] = ()
    cut_turns: int = 0
    left_out: tuple[str, ...] = ()
    has_open: bool = False


class EarlierTurns:
    """Reads them. It keeps nothing."""

    def __init__(self, bus: Bus, turns: Turns, entries: Entries, bounds: Sessions) -> None:
        self._bus = bus
        self._turns = turns
        self._entries = entries
        self._bounds = bounds

    async def of(self, session_id: str, *, but: str = "") -> Earlier:
        """Those of a session `but` the one that is being asked; none outside of sessions."""
        if not session_id:
            return Earlier()
        latest = await self._turns.latest(session_id, HISTORY_TURNS)
        older = 0
        if len(latest) == HISTORY_TURNS:
            older = await self._bus.zcard(keys.turns(session_id)) - HISTORY_TURNS
        turns = [turn for turn in latest if turn.id != but]
        recent = keep_recent(turns, self._bounds.history_chars, turns_kept=self._bounds.turns_kept)
        left_out = await self._outdated(recent)
        kept = tuple(turn for turn in recent if turn.id not in left_out)
        return Earlier(
            turns=kept,
            cut_turns=max(older, 0) + count_answered(turns) - len(kept),
            left_out=left_out,
            has_open=any(turn.state not in TERMINAL_STATES for turn in turns),
        )

    async def _outdated(self, turns: Sequence[Turn]) -> tuple[str, ...]:
        ids = list(dict.fromkeys(match.id for turn in turns for match in turn.matches))
        if not ids:
            return ()
        now = datetime.datetime.now(tz=datetime.UTC)
        held = {entry.id: entry for entry in await self._entries.many(ids)}
        return tuple(
            turn.id
            for turn in turns
            if not all(still_says(held.get(match.id), match, now) for match in turn.matches)
        )


def count_answered(turns: Sequence[Turn]) -> int:
    """How many of the turns have an answer, which is what a prompt can hold."""
    return sum(bool(turn.answer) for turn in turns)


def keep_recent(
    turns: Sequence[Turn], history_chars: int, *, turns_kept: int = HISTORY_TURNS
) -> Sequence[Turn]:
    """The answered turns that still fit, cut by halves from the oldest; the newest stays though it
    is more than half. Of a session no more than `turns_kept` are kept, the question's own too."""
    reach = min(turns_kept, HISTORY_TURNS) - 1
    answered = [turn for turn in _in_reach(turns, reach) if turn.answer]
    start, size = 0, 0
    for position, turn in enumerate(answered):
        size += _size(turn)
        if size > history_chars:
            while start < position and size > history_chars // 2:
                size -= _size(answered[start])
                start += 1
            if size > history_chars:
                start, size = position + 1, 0
    return answered[start:]


def _in_reach(turns: Sequence[Turn], reach: int) -> Sequence[Turn]:
    """The latest turns, from one on that stays the first for a while.

    Were it always the oldest of so many, each new turn would change what prompts begin with. It is
    the one with the least hash in the older half, which is the same until it leaves that half or
    one with less comes into it (winnowing, Schleimer et al. 2003): about every quarter of `reach`.
    """
    latest = turns[max(len(turns) - reach, 0) :]
    if len(latest) < max(reach, 2):
        return latest
    hashes = [blake2b(turn.id.encode()).digest() for turn in latest[: len(latest) // 2]]
    return latest[hashes.index(min(hashes)) :]


def _size(turn: Turn) -> int:
    return len(turn.sent or turn.question) + len(turn.answer)
