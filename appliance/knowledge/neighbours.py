"""What knowledge asks of its neighbours: the embedding model and the vector index.

`appliance.bus.embeddings` and `appliance.vectors` are them; tests bring their own.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from appliance.knowledge.rows import Kind, PlannedRow
from appliance.vectors.rows import Nominee, Row


class Embedder(Protocol):
    """Turns texts into vectors of `size` floats. `stamp` names the model, "" while unknown.

    Answers in bounded time, in the `background` after all others. Raises Unavailable when no model
    answers, Invalid for refused texts.
    """

    @property
    def stamp(self) -> str: ...
    @property
    def size(self) -> int: ...
    async def embed(
        self,
        texts: Sequence[str],
        *,
        kind: Literal["query", "passage"],
        background: bool = False,
    ) -> Sequence[Sequence[float]]: ...


class Vectors(Protocol):
    """What is asked of `appliance.vectors`. Calls answer or raise Unavailable in bounded time.

    NotFound means that the collection is gone, which is how a damaged one comes back.
    """

    async def ensure_collection(self, name: str, dimension: int, /) -> None: ...
    async def collections(self) -> Sequence[str]: ...
    async def drop(self, collection: str, /) -> None: ...
    async def upsert(self, collection: str, rows: Sequence[Row], /) -> None: ...
    async def delete_rows(self, collection: str, pks: Sequence[str], /) -> None: ...
    async def search(
        self,
        collection: str,
        vector: Sequence[float],
        limit: int,
        /,
        *,
        category: str | None = None,
        language: str | None = None,
    ) -> Sequence[Nominee]: ...
    async def vectors_of(
        self, collection: str, pks: Sequence[str], /
    ) -> Mapping[str, Sequence[float]]: ...
    async def digests(self, collection: str, /) -> Mapping[str, str]: ...
    async def flush(self, collection: str, /) -> None: ...


async def row_vectors(
    embedder: Embedder, rows: Sequence[PlannedRow], *, background: bool = False
) -> list[Sequence[float]]:
    """One vector per row, in their order; each kind of text is one call. Raises like `embed`.

    In the background one call follows the other, so that a question waits for one at most.
    """

    async def of_kind(kind: Kind) -> dict[str, Sequence[float]]:
        some = [row for row in rows if row.kind == kind]
        vectors = await embedder.embed([r.text for r in some], kind=kind, background=background)
        return dict(zip((row.pk for row in some), vectors, strict=True))

    kinds = sorted({row.kind for row in rows})
    if background:
        made = [await of_kind(kind) for kind in kinds]
    else:
        made = await asyncio.gather(*map(of_kind, kinds))
    vector_of = {pk: vector for some in made for pk, vector in some.items()}
    return [vector_of[row.pk] for row in rows]
