"""Which of a session's earlier turns its next prompt may hold.

A turn keeps the text of the FAQ entries that it rests on, in what the model saw and mostly in its
answer. Once one of them does not say so any more (deleted, reworded, a draft, past its time), the
turn is left out as a whole: neither the old text nor an answer made of it is told as if it held.
Until then it is sent to the letter, so prompts change what they begin with only when that happens.
The entries of all turns are read at once, and not at all where no turn has any.
"""

import datetime
from dataclasses import dataclass

from appliance import keys
from appliance.access.prompt import HISTORY_TURNS, keep_recent
from appliance.bus.client import Bus
from appliance.knowledge.entries import Entries
from appliance.knowledge.validity import still_says
from appliance.people.turns import Turns
from appliance.schema.conversations import Turn
from appliance.settings.conversations import Sessions


@dataclass(frozen=True)
class Earlier:
    """The latest turns, how many there are before them, and the ids of those to be left out."""

    turns: tuple[Turn, ...] = ()
    older: int = 0
    outdated: tuple[str, ...] = ()


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
        turns = tuple(turn for turn in latest if turn.id != but)
        return Earlier(turns, max(older, 0), await self._outdated(turns))

    async def _outdated(self, turns: tuple[Turn, ...]) -> tuple[str, ...]:
        """Of those which a prompt has room for."""
        kept = keep_recent(turns, self._bounds.history_chars, turns_kept=self._bounds.turns_kept)
        ids = list(dict.fromkeys(match.id for turn in kept for match in turn.matches))
        if not ids:
            return ()
        now = datetime.datetime.now(tz=datetime.UTC)
        held = {entry.id: entry for entry in await self._entries.many(ids)}
        return tuple(
            turn.id
            for turn in kept
            if not all(still_says(held.get(match.id), match, now) for match in turn.matches)
        )
