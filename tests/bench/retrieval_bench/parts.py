"""What stands in for neighbours in the benchmark: the model's vectors from a folder, exact search.

The embedding model costs 12 ms a text and more, so each vector is computed once and kept.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import DEVNULL, Popen
from time import monotonic, sleep
from typing import Literal

import numpy as np
import platformdirs
from numpy.typing import NDArray

from appliance.supervisor.valkey import find_binary
from appliance.vectors.rows import Nominee, Row
from appliance.worker.backend import Backend, Shape
from appliance.worker.boot import BackendSettings, build_backend
from models.store import Store

SAVE_EVERY = 2_000
START_TIMEOUT_S = 10.0


class CachedEmbedder:
    """The starter embedding model behind a file of the vectors it has made before."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / "vectors.npz"
        self._backend: Backend | None = None
        self._known: dict[str, NDArray[np.float32]] = {}
        self._unsaved = 0
        if self._path.exists():
            with np.load(self._path) as kept:
                self._known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    stamp = "starter"
    size = 384

    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]:
        return [self.vector(text, kind).tolist() for text in texts]

    def vector(self, text: str, kind: Literal["query", "passage"]) -> NDArray[np.float32]:
        key = hashlib.blake2b(f"{kind}\0{text}".encode(), digest_size=16).hexdigest()
        if key not in self._known:
            backend = self._backend = self._backend or _model()
            tokens = backend.embedding_tokens(text, kind)
            self._known[key] = np.asarray(backend.embed([tokens])[0], dtype=np.float32)
            self._unsaved += 1
            if self._unsaved >= SAVE_EVERY:
                self.save()
        return self._known[key]

    def save(self) -> None:
        if self._unsaved:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            vectors = np.stack(list(self._known.values()))
            np.savez(self._path, keys=np.array(list(self._known)), vectors=vectors)
            self._unsaved = 0


class ExactVectors:
    """Rows in one matrix, searched whole. It keeps what the index writes and deletes."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._order: list[str] = []
        self._matrix: NDArray[np.float32] | None = None

    async def ensure_collection(self, name: str, dimension: int, /) -> None:
        return

    async def collections(self) -> Sequence[str]:
        return []

    async def drop(self, collection: str, /) -> None:
        self._rows.clear()

    async def upsert(self, collection: str, rows: Sequence[Row], /) -> None:
        self._rows.update({row.pk: row for row in rows})
        self._matrix = None

    async def delete_rows(self, collection: str, pks: Sequence[str], /) -> None:
        for pk in pks:
            self._rows.pop(pk, None)
        self._matrix = None

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
        if self._matrix is None:
            self._order = list(self._rows)
            self._matrix = np.array([self._rows[pk].vector for pk in self._order], np.float32)
        scores = self._matrix @ np.asarray(vector, dtype=np.float32)
        best = np.argsort(-scores)[:limit].tolist()
        return [Nominee(self._order[n], float(scores[n]), self._matrix[n].tolist()) for n in best]

    async def vectors_of(
        self, collection: str, pks: Sequence[str], /
    ) -> Mapping[str, Sequence[float]]:
        return {pk: self._rows[pk].vector for pk in pks if pk in self._rows}

    async def digests(self, collection: str, /) -> Mapping[str, str]:
        return {}

    async def flush(self, collection: str, /) -> None:
        return


@contextmanager
def valkey() -> Iterator[str]:
    """A store of its own, on a socket; its URL."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        path = Path(folder) / "valkey.sock"
        command = [str(find_binary()), "--port", "0", "--unixsocket", str(path), "--save", ""]
        with Popen(command, cwd=folder, stdout=DEVNULL) as server:
            try:
                deadline = monotonic() + START_TIMEOUT_S
                while not path.exists():
                    if monotonic() > deadline or server.poll() is not None:
                        raise SystemExit("valkey-server did not start")
                    sleep(0.01)
                yield f"unix://{path}"
            finally:
                server.kill()


def _model() -> Backend:
    store = Store(platformdirs.user_cache_path("sluice", appauthor=False) / "models")
    return build_backend(
        BackendSettings(
            engine="llama",
            chat_model=store.starter("test-chat"),
            embedding_model=store.starter("embedding"),
            shape=Shape(slots=1, context_tokens=256, cache_tokens=256),
        )
    )
