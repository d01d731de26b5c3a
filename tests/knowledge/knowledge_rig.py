"""Stand-ins for the neighbours of knowledge, and the parts put together as the runtime does.

The stand-ins share no code with what they stand in for. Each can be made to be away.
"""

import asyncio
import contextlib
import math
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from appliance.bus.client import Bus
from appliance.errors import Invalid, NotFound, Unavailable
from appliance.knowledge.entries import Entries
from appliance.knowledge.index import Index
from appliance.knowledge.neighbours import Embedder, Vectors
from appliance.knowledge.retrieval import Retrieval
from appliance.schema.faq import EntryPut
from appliance.settings.faq import Faq
from appliance.vectors.rows import Nominee, Row

WAIT_S = 20.0
"""A bound for what happens at once; reached only by a defect."""


def hashed(text: str, size: int) -> list[float]:
    """Character pairs, counted in hashed columns: texts which share many are close."""
    columns = [0.0] * size
    folded = f" {text.casefold()} "
    for start in range(len(folded) - 1):
        columns[zlib.crc32(folded[start : start + 2].encode()) % size] += 1.0
    length = math.sqrt(sum(x * x for x in columns))
    return [x / length for x in columns]


class HashingEmbedder:
    """Deterministic. `asked` counts texts, `background` notes each call; texts in `refused` raise
    Invalid."""

    def __init__(self, stamp: str = "hash-a", size: int = 256) -> None:
        self.stamp = stamp
        self.size = size
        self.asked = 0
        self.background: list[bool] = []
        self.away = False
        self.refused = ""

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]:
        if self.away:
            raise Unavailable("the model is away")
        if self.refused and any(self.refused in text for text in texts):
            raise Invalid("the text cannot be embedded")
        self.asked += len(texts)
        self.background.append(background)
        return [hashed(text, self.size) for text in texts]


class MemoryVectors:
    """Rows in a dict, searched one by one. Each flush sets `flushed`, each upsert `wrote`."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {}
        self.away = False
        self.searches = 0
        self.flushed = asyncio.Event()
        self.wrote = asyncio.Event()
        self.upserted: list[str] = []
        self.gate = asyncio.Event()
        """Writers wait for it, and set `waited`."""
        self.gate.set()
        self.waited = asyncio.Event()

    async def ensure_collection(self, name: str, dimension: int, /) -> None:
        self._check()
        self.rows.setdefault(name, {})

    async def collections(self) -> Sequence[str]:
        self._check()
        return sorted(self.rows)

    async def drop(self, collection: str, /) -> None:
        self._check()
        self.rows.pop(collection, None)

    async def upsert(self, collection: str, rows: Sequence[Row], /) -> None:
        if not self.gate.is_set():
            self.waited.set()
        await self.gate.wait()
        held = self._held(collection)
        held.update({row.pk: row for row in rows})
        self.upserted += [row.pk for row in rows]
        self.wrote.set()

    async def delete_rows(self, collection: str, pks: Sequence[str], /) -> None:
        held = self._held(collection)
        for pk in [pk for pk, row in held.items() if row.entry_id in pks]:
            del held[pk]

    async def search(
        self,
        collection: str,
        vector: Sequence[float],
        limit: int,
        /,
        *,
        category: str | None = None,
        language: str | None = None,
    ) -> Sequence[Nominee]:
        self.searches += 1
        nominees = [
            Nominee(
                row.pk,
                sum(a * b for a, b in zip(vector, row.vector, strict=True)),
                row.vector,
            )
            for row in self._held(collection).values()
            if category in (None, row.category) and language in (None, row.language)
        ]
        return sorted(nominees, key=lambda nominee: -nominee.score)[:limit]

    async def vectors_of(
        self, collection: str, pks: Sequence[str], /
    ) -> Mapping[str, Sequence[float]]:
        held = self._held(collection)
        return {pk: held[pk].vector for pk in pks if pk in held}

    async def digests(self, collection: str, /) -> Mapping[str, str]:
        return {pk: row.digest for pk, row in self._held(collection).items()}

    async def flush(self, collection: str, /) -> None:
        self._held(collection)
        self.flushed.set()

    def only(self) -> dict[str, Row]:
        """The rows of the one collection there is."""
        (rows,) = self.rows.values()
        return rows

    def _held(self, collection: str) -> dict[str, Row]:
        self._check()
        if collection not in self.rows:
            raise NotFound(f"no collection {collection}")
        return self.rows[collection]

    def _check(self) -> None:
        if self.away:
            raise Unavailable("the vector index is away")


@dataclass
class Rig:
    """Knowledge, put together. `run` is the index's task."""

    entries: Entries
    index: Index
    retrieval: Retrieval

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The index runs, and has caught up."""
        async with self.started():
            assert await self.index.opened(WAIT_S)
            await self.settled()
            yield

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.index.run())
        try:
            yield
        finally:
            while not task.done():  # redis-py on Python 3.11 may lose a cancellation
                task.cancel()
                await asyncio.wait([task], timeout=0.1)

    async def settled(self) -> None:
        assert await self.index.settled(await self.entries.unindexed(), WAIT_S)

    async def search(self, question: str, *, floor: float = 0.5) -> list[str]:
        """Ids of the entries found, when nothing was wrong."""
        found = await self.retrieval.search(question, limit=5, floor=floor)
        assert found.degraded == ""
        return [match.id for match in found.matches]


def rig(
    bus: Bus,
    vectors: Vectors,
    embedder: Embedder,
    *,
    bound: int = 1000,
    faq: Faq | None = None,
) -> Rig:
    entries = Entries(bus, bound)
    index = Index(entries, vectors, embedder, flush_after_s=0.01, retry_s=0.01)
    return Rig(entries, index, Retrieval(entries, index, embedder, faq or Faq()))


def entry_put(question: str = "Where is the key?", answer: str = "In room 7.") -> EntryPut:
    return EntryPut(question=question, answer=answer)
