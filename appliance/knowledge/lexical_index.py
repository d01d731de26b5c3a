"""The lexical index: the words of every row, which need neither a model nor the vector server.

It follows the records of the FAQ: at the start the words of all of them are read, later those of
what was written since. An edit is found by its words at once, however far the vectors are behind;
an import as its records are read. `Index` has it catch up, everything else only searches it.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from appliance.knowledge.entries import EDITS, Changed, Entries
from appliance.knowledge.lexicon import Hit, Lexicon
from appliance.knowledge.rows import PlannedRow, planned_rows

READ_ENTRIES = 500


class LexicalIndex:
    """Owns the lexicon, and which rows of which entry are in it."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self._lexicon = Lexicon()
        self._held: dict[str, frozenset[str]] = {}
        self._stale: set[str] = set()
        self._loaded = asyncio.Event()
        entries.on_change(self._on_change)

    @property
    def phrasings(self) -> int:
        """Of all published entries, questions included."""
        return len(self._lexicon) - len(self._held)

    def search(self, text: str, limit: int) -> list[Hit]:
        """Rows that share words with a text, best first."""
        return self._lexicon.search(text, limit)

    def words(self, text: str) -> dict[str, float]:
        """Weights of a text's terms, see `Lexicon.words`."""
        return self._lexicon.words(text)

    async def loaded(self, timeout_s: float) -> bool:
        """Waits until the words of all entries have been read; False when it takes longer."""
        if not self._loaded.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._loaded.wait()
        return self._loaded.is_set()

    async def catch_up(self) -> None:
        """Brings the words up to date: at first with all records, then with those written since."""
        if not self._loaded.is_set():
            async for batch in self._entries.all():
                for entry in batch:
                    self.take(entry.id, planned_rows(entry))
                    await asyncio.sleep(0)  # others run between two entries
            self._loaded.set()
        while self._stale:
            some = [self._stale.pop() for _ in range(min(len(self._stale), READ_ENTRIES))]
            for snapshot in await self._entries.snapshots(some):
                self.take(snapshot.entry_id, planned_rows(snapshot.entry))
                await asyncio.sleep(0)

    def take(self, entry_id: str, rows: Mapping[str, PlannedRow]) -> None:
        """Rows as they were read, unless the entry was written since: then it is read again."""
        if entry_id not in self._stale:
            self._put(entry_id, rows)

    def _on_change(self, changed: Changed) -> None:
        self._stale.update(changed)
        if len(changed) <= EDITS:
            for entry_id, entry in changed.items():
                self._put(entry_id, planned_rows(entry))

    def _put(self, entry_id: str, rows: Mapping[str, PlannedRow]) -> None:
        self._lexicon.remove(self._held.pop(entry_id, frozenset()) - rows.keys())
        for row in rows.values():
            self._lexicon.add(row.pk, row.text)
        if rows:
            self._held[entry_id] = frozenset(rows)
