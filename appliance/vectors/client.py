"""`Vectors`: the vector index as the rest of the appliance sees it.

The index nominates, the record decides: a nominee is an entry id with a score, never a text.
pymilvus blocks and takes a second to import, so everything runs on one thread named `vectors`;
one thread is also the one writer that Milvus Lite allows. Long work goes there in small pieces,
so that a search waits for a batch and not for an import. A call's deadline starts when it is
made: those that queued behind an index that is away expire without being tried.

Who asks a question does not wait for a server that is known to be dead. Whoever supervises it says
so (`lost`, `found`), and everything that waits ends at once; and a search that takes long looks
whether its server refuses connections. The thread lets go of such a call a little later.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from appliance.errors import Invalid, Overloaded, Unavailable
from appliance.vectors import rows
from appliance.vectors.index import Index
from appliance.vectors.remembered import Remembered
from appliance.vectors.rows import Nominee, Row

CALL_TIMEOUT_S = 10.0
FLUSH_TIMEOUT_S = 60.0
CLOSE_TIMEOUT_S = 2.0
BATCH_ROWS = 256
DELETE_ROWS = 200
PAGE_ROWS = 8_000
SEARCH_LIMIT = 1_000
CALLS_WAITING = 512
PROBE_AFTER_S = 0.2
PROBE_TIMEOUT_S = 1.0

T = TypeVar("T")


class Vectors:
    """One index, embedded (`unix:` URI) or a Milvus server (`http://host:port` and token).

    Every method may raise Unavailable (the index is away, the deadline passed) and Overloaded
    (too many calls wait for it). Unknown collections are NotFound.
    """

    def __init__(
        self, uri: str, token: str = "", *, call_timeout_s: float = CALL_TIMEOUT_S
    ) -> None:
        self._index = Index(uri, token)
        self._call_timeout_s = call_timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vectors")
        self._waiting = 0
        self._closed = False
        self._uri = uri
        self._lost = asyncio.Event()
        self._remembered = Remembered()

    def lost(self) -> None:
        """The server is known to be down: calls are Unavailable at once until it is `found`."""
        self._index.is_lost = True
        self._lost.set()

    def found(self) -> None:
        """It is up again."""
        self._index.is_lost = False
        self._lost.clear()

    @classmethod
    async def open(cls, uri: str, deadline_s: float, *, token: str = "") -> "Vectors":
        """Connects within `deadline_s`; loads and flushes what is there."""
        vectors = cls(uri, token)
        try:
            await vectors._run(vectors._index.open, timeout_s=deadline_s)
        except BaseException:
            await vectors.close()
            raise
        return vectors

    async def prepare(self) -> None:
        """Imports the client library now, for the first call would wait a second for it."""
        await self._run(self._index.prepare)

    async def collections(self) -> list[str]:
        return await self._run(self._index.collections)

    async def ensure_collection(self, name: str, dimension: int) -> None:
        """Creates it when absent. Raises Conflict when it holds vectors of another dimension."""
        rows.check_collection(name)
        await self._run(partial(self._index.ensure_collection, name, dimension))

    async def drop(self, collection: str) -> None:
        rows.check_collection(collection)
        await self._run(partial(self._index.drop, collection))
        self._remembered.forget_all(collection)

    async def upsert(self, collection: str, batch: Sequence[Row]) -> None:
        """Writes rows by primary key. Raises Invalid for a row the index must not hold.

        Batches before the invalid one are written: the caller upserts again, nothing is doubled.
        """
        for first in range(0, len(batch), BATCH_ROWS):
            piece = batch[first : first + BATCH_ROWS]
            self._remembered.forget(collection, [row.pk for row in piece])
            await self._run(partial(self._index.upsert, collection, piece))
            self._remembered.keep(collection, {row.pk: row.vector for row in piece})

    async def delete_rows(self, collection: str, pks: Sequence[str]) -> None:
        """Removes the rows with these keys as their `entry_id`; unknown ones are no error."""
        self._remembered.forget(collection, pks)
        for first in range(0, len(pks), DELETE_ROWS):
            piece = pks[first : first + DELETE_ROWS]
            await self._run(partial(self._index.delete_rows, collection, piece))

    async def search(
        self,
        collection: str,
        vector: Sequence[float],
        limit: int,
        *,
        category: str | None = None,
        language: str | None = None,
    ) -> list[Nominee]:
        """The nearest phrasings by cosine, best first; only of the category and language given."""
        if not 1 <= limit <= SEARCH_LIMIT:
            raise Invalid(f"limit {limit} is not between 1 and {SEARCH_LIMIT}")
        condition = rows.equals_all(category=category, language=language)
        near = await self._asked(
            partial(self._index.search, collection, vector, limit=limit, condition=condition)
        )
        vectors = await self.vectors_of(collection, [one.pk for one in near])
        return [Nominee(one.pk, one.score, vectors.get(one.pk, ())) for one in near]

    async def vectors_of(self, collection: str, pks: Sequence[str]) -> dict[str, Sequence[float]]:
        """Vectors by primary key; rows that are not there are left out."""
        found = self._remembered.of(collection, pks)
        missing = [pk for pk in pks if pk not in found]
        for first in range(0, len(missing), BATCH_ROWS):
            piece = missing[first : first + BATCH_ROWS]
            read = await self._asked(partial(self._index.vectors_of, collection, piece))
            self._remembered.keep(collection, read)
            found |= read
        return found

    async def digests(self, collection: str) -> dict[str, str]:
        """Digest by primary key, of every row: what a rebuild can skip."""
        await self.flush(collection)  # paging through unflushed rows takes quadratic time
        pages = await self._run(partial(self._index.pages, collection, PAGE_ROWS))
        found: dict[str, str] = {}
        while page := await self._run(partial(self._index.next_page, pages)):
            found.update(page)
        return found

    async def flush(self, collection: str) -> None:
        """Call it after an import and when edits settle: unflushed rows are slow to search."""
        await self._run(partial(self._index.flush, collection), timeout_s=FLUSH_TIMEOUT_S)

    async def close(self) -> None:
        """Closes the connection. Safe to repeat; later calls are Unavailable.

        Does not wait for a call that hangs: its own deadline ends it.
        """
        if self._closed:
            return
        self._closed = True
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._index.close)
        self._thread.shutdown(wait=False)
        await asyncio.wait([closing], timeout=CLOSE_TIMEOUT_S)

    async def _asked(self, work: Callable[[float], T]) -> T:
        """For questions: ends as soon as the server is seen to refuse connections."""
        running = asyncio.ensure_future(self._run(work))
        try:
            while not running.done():
                await asyncio.wait([running], timeout=PROBE_AFTER_S)
                if not running.done() and await refuses(self._uri):
                    raise Unavailable("the vector index refuses connections", reason="refused")
            return running.result()
        finally:
            running.cancel()

    async def _run(self, work: Callable[[float], T], *, timeout_s: float | None = None) -> T:
        if self._closed:
            raise Unavailable("the vector index is closed", reason="closed")
        if self._waiting >= CALLS_WAITING:
            raise Overloaded(
                "too many calls wait for the vector index", retry_after_s=1.0, reason="index_busy"
            )
        if self._lost.is_set():
            raise _lost()
        deadline = time.monotonic() + (timeout_s or self._call_timeout_s)
        self._waiting += 1
        call = asyncio.get_running_loop().run_in_executor(self._thread, work, deadline)
        lost = asyncio.ensure_future(self._lost.wait())
        either: list[asyncio.Future[Any]] = [call, lost]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                raise _lost()
            return call.result()
        finally:
            lost.cancel()
            call.cancel()
            self._waiting -= 1


def _lost() -> Unavailable:
    return Unavailable("the vector index is being restarted", reason="lost")


async def refuses(uri: str) -> bool:
    """Whether nobody listens at the address; False when that cannot be told soon."""
    address = urlsplit(uri)
    if address.scheme == "unix":
        connecting = asyncio.open_unix_connection(unquote(address.path))
    else:
        default = 443 if address.scheme == "https" else 80
        connecting = asyncio.open_connection(address.hostname, address.port or default)
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await connecting
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except (OSError, TimeoutError):
        return False
    writer.close()
    return False
