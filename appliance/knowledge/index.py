"""The index: every published entry as vectors, derived from the truth and never trusted.

One task (`run`) writes it. It takes the entries marked in `faq:unindexed`, embeds what is missing,
writes rows and deletes rows, and takes the marks off. At its start, and again after the vector
server was away, it compares all rows with all records by digest and marks what differs, so rows
that are missing, stale or surplus are repaired on the same path as an edit.

New rows go in before old ones go out, so an entry is searchable throughout its edit. An edit goes
before what is left of an import, which gives way to whoever asks between two small pieces of work.

The collection is named after the embedding model: another model is another collection, filled from
the truth. It cannot be filled beside the old one, which only the old model could search: until its
vector is made an entry is found by its words alone, and `status` tells how many those are. The old
collection is dropped when the new one is whole, so until then going back costs nothing.

While the vector server or the model is away the task retries with growing pauses and `status` says
what is missing; edits are still accepted.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from appliance.bus.client import AWAY
from appliance.errors import Invalid, NotFound, SluiceError, Unavailable
from appliance.knowledge.entries import EDITS, Changed, Entries, Snapshot
from appliance.knowledge.lexical_index import LexicalIndex
from appliance.knowledge.neighbours import Embedder, Vectors, row_vectors
from appliance.knowledge.rows import (
    PREFIX,
    Filled,
    PlannedRow,
    collection_name,
    digest_of,
    in_use,
    keys_by_entry,
    next_generation,
    planned_rows,
)
from appliance.schema.status import FaqStatus
from appliance.vectors.rows import Nominee, Row

log = logging.getLogger(__name__)

BATCH_ENTRIES = 4
EMBED_TEXTS = 8
SETTLED_ENTRIES = 500
FLUSH_ROWS = 2_000
FLUSH_AFTER_S = 1.0
GIVE_WAY_S = 0.25
"""The longest wait for questions before each piece of work: it goes on however many there are."""
RETRY_S = 0.5
RETRY_MAX_S = 5.0
START_S = 15.0
"""So long after its start the index may be expected to open any moment."""


class _ModelAway(Unavailable):
    """The embedding model cannot be reached; the rows that are there are as good as before."""


class Index:
    """Owns the rows. `run` is its one task; everything else only reads or wakes it."""

    def __init__(
        self,
        entries: Entries,
        vectors: Vectors,
        embedder: Embedder,
        *,
        flush_after_s: float = FLUSH_AFTER_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._entries = entries
        self._vectors = vectors
        self._embedder = embedder
        self._flush_after_s = flush_after_s
        self._retry_s = retry_s
        self._stamp = ""
        self._in_use = Filled("")
        self._rebuild = False
        self._rebuilding = ""
        self.lexical = LexicalIndex(entries)
        """The words of the same rows."""
        self._opens_by_s = 0.0
        self.rows_written = 0
        """Since this process began, deleted ones too."""
        self._edits: deque[str] = deque()
        self._pending: deque[str] = deque()
        self._in_work = 0
        self._refilling = False
        self._remaking = False
        self._asking = 0
        self._nobody_asks = asyncio.Event()
        self._refused: dict[str, str] = {}
        self._unflushed = 0
        self._compare = True
        self._away = False
        self._fault, self._reason = "the FAQ index is starting", "index_starting"
        self._woken = asyncio.Event()
        self._progress = asyncio.Event()
        self._switched: list[Callable[[str], None]] = []
        entries.on_change(self._on_change)

    async def run(self) -> None:
        """Keeps the index current until cancelled."""
        failures, quiet = 0, False
        if not self._opens_by_s:
            self.expect(START_S)
        while True:
            self._woken.clear()
            try:
                await self._catch_up(flush=quiet)
                failures, self._fault = 0, ""
            except Exception as error:
                failures += 1
                self._fail(error)
            self._tell()
            quiet = await self._rest(failures)

    def wake(self, *, compare: bool = False) -> None:
        """Has `run` look now, at all rows when `compare`: say so when a server has come back."""
        self._compare = self._compare or compare
        self._woken.set()

    def on_switched(self, listen: Callable[[str], None]) -> None:
        """Who is told, with the cause, that other vectors of the same entries serve from now on."""
        self._switched.append(listen)

    def expect(self, within_s: float) -> None:
        """From now on it may be expected to open in this time, see `started`."""
        self._opens_by_s = asyncio.get_running_loop().time() + within_s

    def rebuild(self) -> None:
        """Has `run` make every vector anew while the present ones serve, then switch."""
        self._rebuild = True
        self._woken.set()

    async def nominate(
        self,
        vector: Sequence[float],
        limit: int,
        *,
        category: str | None = None,
        language: str | None = None,
    ) -> Sequence[Nominee]:
        """The nearest rows, best first. Raises Unavailable, at once while that is known already."""
        if self._away or not self._in_use.name:
            raise Unavailable(
                self._fault or "the vector index is away", reason=self._reason or "index_failed"
            )
        if self._stamp != self._embedder.stamp:
            self.wake()
            raise Unavailable(
                "the FAQ index is being rebuilt for another embedding model",
                reason="index_rebuilding",
            )
        try:
            return await self._vectors.search(
                self._in_use.name, vector, limit, category=category, language=language
            )
        except (Unavailable, NotFound):
            self._away = True
            self.wake(compare=True)
            raise

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """While somebody waits for an answer: what is not urgent waits, see `give_way`."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._nobody_asks.set()

    async def give_way(self) -> None:
        """Waits until nobody asks, a moment at most."""
        if self._asking:
            self._nobody_asks.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(GIVE_WAY_S):
                    await self._nobody_asks.wait()

    async def vectors_of(self, pks: Sequence[str]) -> Mapping[str, Sequence[float]]:
        """The vectors of these rows, as far as they are there."""
        return await self._vectors.vectors_of(self._in_use.name, pks) if pks else {}

    async def settled(self, entry_ids: Sequence[str], timeout_s: float) -> bool:
        """Waits until these entries are searchable as they are stored (or gone, if deleted).

        False when it takes longer, or the index cannot do it now; it will catch up by itself.
        """
        left = list(entry_ids)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while True:
                    progress = self._progress
                    if await self._are_indexed(left):
                        return True
                    if not self._refused.keys().isdisjoint(entry_ids):
                        return False
                    await progress.wait()
                    if self._fault:
                        return await self._are_indexed(left)
        return False

    async def _are_indexed(self, left: list[str]) -> bool:
        """Takes off the list what is indexed, up to the first part that is not."""
        while left and await self._entries.are_indexed(left[-SETTLED_ENTRIES:]):
            del left[-SETTLED_ENTRIES:]
        return not left

    async def stirred(self, timeout_s: float) -> None:
        """Waits until the index has done something, or for this long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._progress.wait()

    async def opened(self, timeout_s: float) -> bool:
        """Waits until the index can be searched; False when it takes longer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._fault or not self._in_use.name:
                    await self._progress.wait()
                return True
        return False

    async def started(self, timeout_s: float) -> None:
        """Waits, soon after a start, for the words and until vectors can be searched: who asks
        then shall hear what the FAQ knows. Later what is away is away, and nobody waits."""
        await self.lexical.loaded(timeout_s)
        left_s = self._opens_by_s - asyncio.get_running_loop().time()
        if not self._in_use.name and left_s > 0:
            await self.opened(min(timeout_s, left_s))

    async def moved(self) -> None:
        """Waits until it has caught up with something, or has met another fault."""
        await self._progress.wait()

    @property
    def stamp(self) -> str:
        """The embedding model of the vectors that serve."""
        return self._stamp

    @property
    def state(self) -> str:
        """Another one when other rows can be found than before."""
        return f"{self._in_use.name} {self.rows_written}"

    @property
    def is_whole(self) -> bool:
        """Whether the rows of all entries are there, but for those written just now."""
        return not self._fault and not self._refilling

    @property
    def degraded(self) -> str:
        """Why a search may miss something; empty when all is well."""
        behind = len(self._edits) + len(self._pending) + self._in_work
        if self._fault or not behind:
            return self._fault
        return f"{behind} FAQ entries are still being indexed"

    @property
    def degraded_reason(self) -> str:
        """The same for programs."""
        if self._fault:
            return self._reason
        return "index_behind" if self.degraded else ""

    async def status(self) -> FaqStatus:
        behind = await self._entries.count_unindexed()
        entries = await self._entries.count()
        detail = self._fault or (self._behind(behind, entries) if behind else self._rebuilding)
        why = self._reason if self._fault else "index_behind" if detail else ""
        if self._refused and not self._fault:
            entry_id, reason = next(iter(self._refused.items()))
            detail = f"{len(self._refused)} entries cannot be indexed; {entry_id}: {reason}"
            why = "entries_refused"
        return FaqStatus(
            entries=entries,
            phrasings=self.lexical.phrasings,
            indexed=not self._fault and not behind,
            detail=detail,
            reason=why,
        )

    def _behind(self, behind: int, entries: int) -> str:
        if not self._remaking:
            return f"{behind} entries to index"
        return (
            f"vectors of this embedding model are being made: {behind} of {entries} entries are "
            "found by words alone"
        )

    # -- waking and resting

    def _on_change(self, changed: Changed) -> None:
        """An edit goes before what is still to be done; an import is found by its marks."""
        for entry_id in changed:
            self._refused.pop(entry_id, None)
        if len(changed) <= EDITS and not self._fault:
            self._edits.extend(changed)
        self._woken.set()

    async def _rest(self, failures: int) -> bool:
        """Until woken, or until the next attempt or flush is due: then True."""
        delay_s = None
        if failures:
            delay_s = min(RETRY_MAX_S, self._retry_s * 2 ** min(failures - 1, 16))
        elif self._unflushed:
            delay_s = self._flush_after_s
        try:
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        except TimeoutError:
            return True
        return False

    def _fail(self, error: Exception) -> None:
        """Remembers what is wrong. The marks are still there, so nothing else is lost."""
        self._edits.clear()
        self._pending.clear()
        self._in_work = 0
        if not isinstance(error, _ModelAway):
            self._compare = self._away = True
        if isinstance(error, SluiceError):
            fault, self._reason = error.message, error.reason or "index_failed"
        elif isinstance(error, AWAY):
            fault, self._reason = "the message store is away", "store_away"
        else:
            fault, self._reason = "the FAQ index has failed; see the log", "index_failed"
            log.error("index: unexpected fault", exc_info=error)
        if fault != self._fault:  # while starting, others are starting too
            log.log(logging.WARNING if self._in_use.name else logging.INFO, "index: %s", fault)
        self._fault = fault

    def _tell(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    def _tell_switched(self, cause: str) -> None:
        for listen in self._switched:
            listen(cause)

    # -- following the truth

    async def _catch_up(self, *, flush: bool) -> None:
        """Handles every mark; flushes when edits have settled, for a flush delays searches."""
        await self.lexical.catch_up()
        if self._compare or self._stamp != self._embedder.stamp:
            await self._open()
        await self._drain()
        if self._rebuild:
            await self._build_anew()
        if flush and self._unflushed:
            await self._flush()

    async def _open(self) -> None:
        """Opens the model's collection and marks every entry whose rows are not right."""
        stamp, size = self._embedder.stamp, self._embedder.size
        if not stamp or size < 1:
            raise _ModelAway("no embedding model is ready yet", reason="no_embedding_worker")
        self._compare = True
        there = await self._vectors.collections()
        collection = in_use(there, collection_name(stamp, size))
        await self._vectors.ensure_collection(collection, size)
        self._away = False
        found = await self._vectors.digests(collection)
        forged = [pk for pk, digest in found.items() if digest_of(pk) != digest]
        if forged:
            await self._vectors.delete_rows(collection, forged)
        if collection != self._in_use.name:
            self._refused.clear()
        opened = Filled(collection, dict(keys_by_entry(found.keys() - set(forged))))
        wrong = await self._out_of_step(opened)
        await self._entries.mark(wrong)
        self._refilling, self._remaking = bool(wrong), bool(wrong) and not opened.held
        other_model = self._stamp not in ("", stamp)
        self._stamp, self._in_use = stamp, opened
        self._compare = self._away = False
        self._fault, self._unflushed = "", len(forged)
        self._tell()
        if other_model:
            self._tell_switched("another embedding model")
        if not wrong:
            await self._drop_others()

    async def _drop_others(self) -> None:
        for other in await self._vectors.collections():
            if other.startswith(PREFIX) and other != self._in_use.name:
                await self._vectors.drop(other)

    async def _out_of_step(self, filled: Filled) -> list[str]:
        """Entries whose rows are not those of their records, gone entries too."""
        unseen = set(filled.held)
        wrong = []
        async for batch in self._entries.all():
            for entry in batch:
                unseen.discard(entry.id)
                if planned_rows(entry).keys() != filled.keys(entry.id):
                    wrong.append(entry.id)
        return [*wrong, *unseen]

    async def _build_anew(self) -> None:
        """Fills a collection beside the one in use, then switches to it.

        Between two batches edits are taken into the one in use, as always; what they changed is
        found by comparing at the end. After a fault it starts again; after a crash the new one is
        dropped.
        """
        target = Filled(next_generation(self._in_use.name))
        await self._vectors.drop(target.name)
        await self._vectors.ensure_collection(target.name, self._embedder.size)
        while due := await self._out_of_step(target):
            for start in range(0, len(due), BATCH_ENTRIES):
                self._rebuilding = f"a new index is being filled, {start} of {len(due)} entries"
                batch = due[start : start + BATCH_ENTRIES]
                snapshots = await self._entries.snapshots(batch)
                await self._write_rows(
                    [s for s in snapshots if s.entry_id not in self._refused],
                    target,
                    urgent=False,
                )
                await self._drain()
            due = [entry_id for entry_id in due if entry_id not in self._refused]
            if not due:
                break
        await self._vectors.flush(target.name)
        self._in_use, self._rebuild, self._rebuilding = target, False, ""
        log.info("switched to the index %s", target.name)
        self._tell_switched("a new index")
        await self._drop_others()

    async def _drain(self) -> None:
        """Indexes until no mark is left but those of refused entries, what came meanwhile too."""
        while True:
            await self.lexical.catch_up()
            if not self._edits and not self._pending:
                marked = await self._entries.unindexed()
                self._pending.extend(i for i in marked if i not in self._refused)
            urgent = bool(self._edits)
            due, bound = (self._edits, EDITS) if urgent else (self._pending, BATCH_ENTRIES)
            if not due:
                if self._refilling:
                    self._refilling = self._remaking = False
                    await self._drop_others()
                return
            batch = {due.popleft() for _ in range(min(len(due), bound))}
            self._in_work = len(batch)
            await self._index(await self._entries.snapshots(sorted(batch)), urgent=urgent)
            self._in_work = 0
            self._tell()

    async def _index(self, snapshots: Sequence[Snapshot], *, urgent: bool) -> None:
        """Makes the rows of these entries right, new ones first, and takes their marks off.

        A refused entry is found by trying one by one, and set aside until it is edited.
        """
        try:
            written = await self._write_rows(snapshots, self._in_use, urgent=urgent)
            self._unflushed += written
            self.rows_written += written
        except Invalid as error:
            if len(snapshots) > 1:
                for snapshot in snapshots:
                    await self._index([snapshot], urgent=urgent)
                return
            self._refused[snapshots[0].entry_id] = error.message
            log.warning("index: entry %s set aside: %s", snapshots[0].entry_id, error.message)
            return
        self._in_work -= len(snapshots)  # before who waits for the marks can look
        await self._entries.unmark(snapshots)
        if self._unflushed >= FLUSH_ROWS:
            await self._flush()

    async def _write_rows(
        self, snapshots: Sequence[Snapshot], into: Filled, *, urgent: bool
    ) -> int:
        """How many rows were written or deleted. What is not `urgent` gives way to questions."""
        due = {snapshot.entry_id: planned_rows(snapshot.entry) for snapshot in snapshots}
        missing = [
            row
            for entry_id, rows in due.items()
            for pk, row in rows.items()
            if pk not in into.keys(entry_id)
        ]
        for entry_id, rows in due.items():
            self.lexical.take(entry_id, rows)
        surplus = [pk for entry_id, rows in due.items() for pk in into.keys(entry_id) - rows.keys()]
        for start in range(0, len(missing), EMBED_TEXTS):
            rows_now = missing[start : start + EMBED_TEXTS]
            if not urgent:
                await self.give_way()
            made = await self._embedded(rows_now, urgent=urgent)
            if not urgent:
                await self.give_way()
            await self._vectors.upsert(into.name, made)
        if surplus:
            await self._vectors.delete_rows(into.name, surplus)
        for entry_id, rows in due.items():
            if rows:
                into.held[entry_id] = frozenset(rows)
            else:
                into.held.pop(entry_id, None)
        return len(missing) + len(surplus)

    async def _embedded(self, planned: Sequence[PlannedRow], *, urgent: bool) -> list[Row]:
        try:
            vectors = await row_vectors(self._embedder, planned, background=not urgent)
        except Unavailable as error:
            raise _ModelAway(error.message, hint=error.hint, reason=error.reason) from error
        if self._embedder.stamp != self._stamp:
            raise _ModelAway(
                "the embedding model was changed; the FAQ index is rebuilt",
                reason="embedding_changed",
            )
        return [
            Row(
                pk=p.pk,
                entry_id=p.pk,  # the index deletes by this field, and we delete single rows
                digest=p.digest,
                category=p.category,
                language=p.language,
                vector=vector,
            )
            for p, vector in zip(planned, vectors, strict=True)
        ]

    async def _flush(self) -> None:
        await self._vectors.flush(self._in_use.name)
        self._unflushed = 0
