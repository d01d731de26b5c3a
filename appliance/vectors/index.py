"""The blocking side of the vector index: one connection, owned by one thread.

Every call has a deadline. While the index is away (it is being restarted, the connection was
closed under us) the call reconnects with growing pauses until the deadline, then it is
`Unavailable`. Retrying is safe because every write here is idempotent: rows are upserted by
primary key and deleted by name.

After a write that failed, the collection is flushed before the next write is acknowledged: Milvus
Lite's log may end in a torn record, and what is written behind one is lost at the next crash.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from appliance.errors import Conflict, NotFound, SluiceError, Unavailable
from appliance.vectors import rows
from appliance.vectors.lean import without_pandas
from appliance.vectors.rows import Nominee, Row

VECTOR = "vector"
CONNECT_TIMEOUT_S = 3.0
PAUSE_FIRST_S = 0.02
PAUSE_CAP_S = 0.5
SCALARS = {
    "entry_id": rows.PK_BYTES,
    "digest": rows.DIGEST_BYTES,
    "category": rows.CATEGORY_BYTES,
    "language": rows.LANGUAGE_BYTES,
}

_CONNECT_FAILED = 2
_COLLECTION_NOT_FOUND = 100
_COLLECTION_NOT_LOADED = 101
_NEVER_MS = 2**31 - 1

log = logging.getLogger("sluice.vectors")
T = TypeVar("T")


class Index:
    """All methods block and run on the one thread that owns the index.

    `deadline` is a `time.monotonic()` value.
    """

    def __init__(self, uri: str, token: str) -> None:
        self._uri = uri
        self._token = token
        self._embedded = uri.startswith("unix:")
        self._client: Any = None  # Any: pymilvus ships no types
        self._dimensions: dict[str, int] = {}
        self._unsettled: set[str] = set()
        self.is_lost = False
        """Set from outside while the server is known to be down: no call is tried again then."""

    def open(self, deadline: float) -> None:
        """Connects, then loads and flushes every collection."""
        self._call(lambda client: None, deadline)

    def prepare(self, _deadline: float) -> None:
        """Whatever is wrong with the library is told at the first call."""
        with contextlib.suppress(ImportError):
            import_pymilvus()

    def close(self) -> None:
        self._disconnect()

    def collections(self, deadline: float) -> list[str]:
        names = self._call(
            lambda client: client.list_collections(timeout=_left_s(deadline)), deadline
        )
        return sorted(str(name) for name in names)

    def ensure_collection(self, name: str, dimension: int, deadline: float) -> None:
        """Creates the collection; raises Conflict when it holds another dimension."""

        def work(client: Any) -> None:
            if not client.has_collection(name, timeout=_left_s(deadline)):
                self._create(client, name, dimension, deadline)

        self._call(work, deadline)
        held = self.dimension(name, deadline)
        if held != dimension:
            raise Conflict(
                f"collection {name} holds vectors of {held} numbers, not {dimension}",
                hint="drop it and build it again",
            )

    def drop(self, name: str, deadline: float) -> None:
        """Removes the collection; one that is absent is removed already."""

        def work(client: Any) -> None:
            if client.has_collection(name, timeout=_left_s(deadline)):
                client.drop_collection(name, timeout=_left_s(deadline))

        self._dimensions.pop(name, None)
        self._unsettled.discard(name)
        self._call(work, deadline)

    def dimension(self, name: str, deadline: float) -> int:
        """Raises NotFound for an unknown collection."""
        if name not in self._dimensions:
            description = self._call(
                lambda client: client.describe_collection(name, timeout=_left_s(deadline)), deadline
            )
            fields = {field["name"]: field["params"] for field in description["fields"]}
            self._dimensions[name] = int(fields[VECTOR]["dim"])
        return self._dimensions[name]

    def upsert(self, name: str, batch: Sequence[Row], deadline: float) -> None:
        dimension = self.dimension(name, deadline)
        for row in batch:
            rows.check_row(row, dimension)
        last_of_pk = {row.pk: _fields(row) for row in batch}
        self._write(
            name,
            lambda client: client.upsert(
                name, list(last_of_pk.values()), timeout=_left_s(deadline)
            ),
            deadline,
        )

    def delete_rows(self, name: str, pks: Sequence[str], deadline: float) -> None:
        condition = rows.is_one_of("entry_id", pks)
        self._write(
            name,
            lambda client: client.delete(name, filter=condition, timeout=_left_s(deadline)),
            deadline,
        )

    def search(
        self,
        name: str,
        vector: Sequence[float],
        deadline: float,
        *,
        limit: int,
        condition: str,
    ) -> list[Nominee]:
        """Best first. A row that is answered twice (see the module `server`) counts once."""
        rows.check_vector(vector, self.dimension(name, deadline))
        answer = self._call(
            lambda client: client.search(
                name,
                data=[np.asarray(vector, dtype=np.float32)],
                anns_field=VECTOR,
                limit=limit,
                filter=condition,
                output_fields=["pk"],  # none would be all
                search_params={"metric_type": "COSINE"},
                timeout=_left_s(deadline),
            ),
            deadline,
        )
        best: dict[str, Nominee] = {}
        for hit in answer[0]:
            found = Nominee(str(hit["pk"]), float(hit["distance"]))
            if found.pk not in best or best[found.pk].score < found.score:
                best[found.pk] = found
        return sorted(best.values(), key=lambda nominee: -nominee.score)

    def vectors_of(
        self, name: str, pks: Sequence[str], deadline: float
    ) -> dict[str, Sequence[float]]:
        """By primary key; unknown ones are left out."""
        for pk in pks:
            rows.check_text("pk", pk, rows.PK_BYTES)
        answer = self._call(
            lambda client: client.get(
                name, ids=list(pks), output_fields=["pk", VECTOR], timeout=_left_s(deadline)
            ),
            deadline,
        )
        return {str(row["pk"]): row[VECTOR] for row in answer}

    def flush(self, name: str, deadline: float) -> None:
        """Makes recent rows fast to search. A Milvus server does this by itself."""
        if self._embedded:
            self._call(lambda client: client.flush(name, timeout=_left_s(deadline)), deadline)
            self._unsettled.discard(name)

    def pages(self, name: str, page_rows: int, deadline: float) -> Any:
        """An iterator over primary keys and digests, for `next_page`."""
        return self._call(
            lambda client: client.query_iterator(
                name,
                batch_size=page_rows,
                output_fields=["pk", "digest"],
                timeout=_left_s(deadline),
            ),
            deadline,
        )

    def next_page(self, pages: Any, _deadline: float) -> list[tuple[str, str]]:
        """The next pairs of primary key and digest, empty at the end. Not retried."""
        try:
            page = pages.next()
        except Exception as error:
            raise self._converted(error) from None
        if not page:
            pages.close()
        return [(str(row["pk"]), str(row["digest"])) for row in page]

    # --- calls ------------------------------------------------------------------------------

    def _write(self, name: str, work: Callable[[Any], T], deadline: float) -> T:
        def settled_work(client: Any) -> T:
            if name in self._unsettled:
                client.flush(name, timeout=_left_s(deadline))
                self._unsettled.discard(name)
            try:
                return work(client)
            except Exception:
                if self._embedded:
                    self._unsettled.add(name)
                raise

        return self._call(settled_work, deadline)

    def _call(self, work: Callable[[Any], T], deadline: float) -> T:
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                if time.monotonic() >= deadline:
                    raise Unavailable("the vector index did not answer in time", reason="timeout")
                if self.is_lost:
                    raise Unavailable("the vector index is being restarted", reason="lost")
                if self._client is None:
                    self._connect(deadline)
                return work(self._client)
            except SluiceError:
                raise
            except Exception as error:
                if not self._worth_retrying(error):
                    raise self._converted(error) from None
                level = logging.DEBUG if self._client is None else logging.WARNING
                log.log(level, "the vector index is away: %s", _first_line(error))
                self._disconnect()
            time.sleep(min(pause_s, max(deadline - time.monotonic(), 0.0)))
            pause_s = min(pause_s * 2, PAUSE_CAP_S)

    def _worth_retrying(self, error: Exception) -> bool:
        import grpc  # type: ignore[import-untyped] # grpcio ships no types

        if isinstance(error, grpc.RpcError):
            return True
        code = getattr(error, "code", None)
        return isinstance(code, grpc.StatusCode) or code in (
            _CONNECT_FAILED,
            _COLLECTION_NOT_LOADED,  # it was restarted without us noticing: prepare it again
        )

    def _converted(self, error: Exception) -> SluiceError:
        if getattr(error, "code", None) == _COLLECTION_NOT_FOUND:
            self._dimensions.clear()
            return NotFound(_first_line(error), hint="build the index", reason="collection")
        self._disconnect()  # whatever state the connection is in, the next call has a new one
        return Unavailable(
            f"the vector index failed: {_first_line(error)}",
            hint="see its log; when it stays, restart it or rebuild the index",
            reason="index_failed",
        )

    # --- connection -------------------------------------------------------------------------

    def _connect(self, deadline: float) -> None:
        client = import_pymilvus().MilvusClient(
            uri=self._uri,
            token=self._token,
            timeout=min(CONNECT_TIMEOUT_S, _left_s(deadline)),
            dedicated=True,
            **self._channel_options(),
        )
        self._client = client
        for name in client.list_collections(timeout=_left_s(deadline)):
            client.load_collection(name, timeout=_left_s(deadline))
            if self._embedded:
                client.flush(name, timeout=_left_s(deadline))
        self._unsettled.clear()
        self._dimensions.clear()

    def _channel_options(self) -> dict[str, Any]:
        """A unix socket needs no keepalive; its pings end in GOAWAY `too_many_pings`."""
        return {"grpc_options": {"grpc.keepalive_time_ms": _NEVER_MS}} if self._embedded else {}

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            except Exception as error:  # closing what is broken may break
                log.debug("closing the connection: %s", error)

    def _create(self, client: Any, name: str, dimension: int, deadline: float) -> None:
        kinds = import_pymilvus().DataType
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("pk", kinds.VARCHAR, is_primary=True, max_length=rows.PK_BYTES)
        for field, limit_bytes in SCALARS.items():
            schema.add_field(field, kinds.VARCHAR, max_length=limit_bytes)
        schema.add_field(VECTOR, kinds.FLOAT_VECTOR, dim=dimension)
        index = client.prepare_index_params()
        index.add_index(VECTOR, index_type="FLAT", metric_type="COSINE")
        client.create_collection(
            name,
            schema=schema,
            index_params=index,
            consistency_level="Strong",  # an edit is live at the next question
            timeout=_left_s(deadline),
        )


def import_pymilvus() -> Any:
    """Imports pymilvus quietly: no `.env`, nothing on the terminal. Half a second at first."""
    os.environ["PYTHON_DOTENV_DISABLED"] = "1"
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with without_pandas():
        import pymilvus

    for name in ("pymilvus", "pymilvus.milvus_client", "pymilvus.bulk_writer"):
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    return pymilvus


def _fields(row: Row) -> dict[str, Any]:
    return {
        "pk": row.pk,
        "entry_id": row.entry_id,
        "digest": row.digest,
        "category": row.category,
        "language": row.language,
        VECTOR: [float(x) for x in row.vector],
    }


def _left_s(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", "") or error).splitlines()[0][:300] if str(error) else ""
