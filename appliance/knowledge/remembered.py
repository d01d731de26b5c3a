"""Records that were read before, good while the FAQ's revision in the store stands.

A question asks for the records of some sixty entries. Every write of whatever process makes the
revision grow, in the step that writes: while it is what it was before a record was read, that is
the record still, and asking for one number takes a fraction of the time.
"""

from collections.abc import Sequence

from appliance.knowledge.entries import Entries
from appliance.schema.faq import Entry

ENTRIES_REMEMBERED = 2_048


class RememberedEntries:
    """Reads the FAQ as `Entries.many` does, those from before out of memory."""

    def __init__(self, entries: Entries, bound: int = ENTRIES_REMEMBERED) -> None:
        self._entries = entries
        self._bound = bound
        self._revision = -1
        self._held: dict[str, Entry] = {}

    async def many(self, entry_ids: Sequence[str]) -> list[Entry]:
        """Those which exist, as they are now, in the order given."""
        revision = await self._entries.revision()
        if revision != self._revision:
            self._revision, self._held = revision, {}
        found = {entry_id: self._held[entry_id] for entry_id in entry_ids if entry_id in self._held}
        missing = [entry_id for entry_id in entry_ids if entry_id not in found]
        if missing:
            read = {entry.id: entry for entry in await self._entries.many(missing)}
            found |= read
            self._keep(revision, read)
        return [found[entry_id] for entry_id in entry_ids if entry_id in found]

    def _keep(self, revision: int, read: dict[str, Entry]) -> None:
        """What was read after this revision, unless another question has seen a later one since:
        it may have been read before that write."""
        if revision != self._revision:
            return
        self._held |= read
        for entry_id in list(self._held)[: max(len(self._held) - self._bound, 0)]:
            del self._held[entry_id]
