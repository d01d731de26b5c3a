"""Milvus Lite's dense search without its walk over every row, in the server process.

Milvus Lite 3.2 asks of every row, in Python and for every query, whether a newer row or a delete
shadows it, copies all vectors twice to compare them, reads those that are not flushed yet number by
number, and builds a hit's vector likewise. What is flushed does not change, so here that answer and
the vectors' lengths are kept until the flushed files do, and vectors are compared where they are;
what is written meanwhile is added as it comes, so that an import costs a question nothing.
Everything that this does not know (several queries, filters, partitions, other metrics) goes to the
original.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 4
"""Collections, or states of one."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
K = TypeVar("K")
T = TypeVar("T")
Search = Callable[..., list[list[dict[str, Any]]]]


@dataclass(frozen=True, eq=False)
class _Flushed:
    """Which rows of the flushed files count, and where each key's row is. Holds the files, so
    that no other can come to their addresses."""

    segments: Sequence[Any]
    deleted: Mapping[Any, int]
    masks: Sequence[Mask]
    place_of: Mapping[Any, tuple[int, int]]
    lengths: dict[tuple[int, str], Floats] = field(default_factory=dict)

    def lengths_of(self, number: int, name: str, vectors: Floats) -> Floats:
        """Of each vector of a file's field."""
        found = self.lengths.get((number, name))
        if found is None:
            found = self.lengths[number, name] = _lengths(vectors)
        return found


@dataclass(eq=False)
class _Written:
    """The vectors of one buffer of rows that are not flushed yet, as they were written: it only
    grows, until a flush begins another. Holds the buffer, as `_Flushed` does its files."""

    memtable: Any
    vectors: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    lengths: Floats = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    starts: list[int] = field(default_factory=list)
    """Of each batch, the number of its first row."""
    lock: Lock = field(default_factory=Lock)

    def with_all(self, batches: Sequence[Any], name: str) -> tuple[Floats, Floats]:
        """Vectors and lengths, of at least these batches; several threads may ask."""
        with self.lock:
            count, new = len(self.vectors), []
            for batch in batches[len(self.starts) :]:
                self.starts.append(count)
                count += batch.num_rows
                new.append(batch.column(name).flatten().to_numpy().reshape(batch.num_rows, -1))
            if new:
                grown = [self.vectors] if len(self.vectors) else []
                self.vectors = np.concatenate([*grown, *new])
                self.lengths = np.concatenate([self.lengths, *map(_lengths, new)])
            return self.vectors, self.lengths


def install() -> None:
    """Has every collection of this process searched so."""
    from milvus_lite.engine import collection

    collection.execute_search_with_index = quick(collection.execute_search_with_index)


def quick(original: Search) -> Search:
    """The quick search, with the original for what it does not know."""
    remembered: dict[tuple[int, ...], _Flushed] = {}
    buffers: dict[tuple[int, str], _Written] = {}

    def flushed(segments: Sequence[Any], deleted: Mapping[Any, int]) -> _Flushed:
        key = tuple(map(id, segments))
        found = remembered.get(key)
        if found is None or found.deleted != deleted:
            found = _looked_at(segments, deleted)
            _keep(remembered, key, found)
        return found

    def written(memtable: Any, name: str) -> _Written:
        found = buffers.get((id(memtable), name))
        if found is None:
            found = _Written(memtable)
            _keep(buffers, (id(memtable), name), found)
        return found

    def search(**asked: Any) -> list[list[dict[str, Any]]]:
        plain = not asked.get("partition_names") and asked.get("compiled_filter") is None
        plain = plain and asked["metric_type"] == "COSINE" and bool(asked.get("project_record_fn"))
        if len(asked["query_vectors"]) != 1 or not plain:
            return original(**asked)
        segments = [segment for segment in asked["segments"] if segment.num_rows > 0]
        files = flushed(segments, asked["delta_index"].snapshot)
        return [_search(asked, files, written(asked["memtable"], asked["vector_field"]))]

    return search


def _keep(remembered: dict[K, T], key: K, found: T) -> None:
    remembered.pop(key, None)
    while len(remembered) >= REMEMBERED:
        remembered.pop(next(iter(remembered)))
    remembered[key] = found


def _looked_at(segments: Sequence[Any], deleted: Mapping[Any, int]) -> _Flushed:
    newest: dict[Any, int] = {}
    place_of: dict[Any, tuple[int, int]] = {}
    for number, segment in enumerate(segments):
        for row, (pk, seq) in enumerate(zip(segment.pks, segment.seqs.tolist(), strict=True)):
            if newest.get(pk, -1) < seq:
                newest[pk], place_of[pk] = seq, (number, row)
    masks = [np.zeros(segment.num_rows, dtype=bool) for segment in segments]
    for pk, (number, row) in place_of.items():
        masks[number][row] = deleted.get(pk, -1) <= newest[pk]
    return _Flushed(tuple(segments), dict(deleted), masks, place_of)


def _search(asked: Mapping[str, Any], flushed: _Flushed, written: _Written) -> list[dict[str, Any]]:
    name, memtable = asked["vector_field"], asked["memtable"]
    with memtable._lock:
        batches, places = tuple(memtable._insert_batches), dict(memtable._pk_index)
        gone = dict(memtable._delete_index)
    vectors, lengths = written.with_all(batches, name)
    masks = _without(flushed, places, gone)
    hits: list[tuple[float, int, int]] = []
    for number, (segment, mask) in enumerate(zip(flushed.segments, masks, strict=True)):
        held, not_null = segment.vector_data(name)
        counts = mask if not_null is None else mask & not_null
        nearest = _by_cosine(asked, held, flushed.lengths_of(number, name, held), counts)
        hits += [(distance, number, row) for distance, row in nearest]
    pk_of = _living(places, written.starts, asked["delta_index"].snapshot, gone)
    counts = np.zeros(len(vectors), dtype=bool)
    counts[list(pk_of)] = True
    nearest = _by_cosine(asked, vectors, lengths, counts)
    hits += [(distance, len(masks), row) for distance, row in nearest]
    found = []
    for distance, number, row in sorted(hits)[: asked["top_k"]]:
        in_file = number < len(masks)
        pk = flushed.segments[number].pks[row] if in_file else pk_of[row]
        if asked.get("output_fields") == [asked["pk_field"]]:
            entity = {}
        elif in_file:
            record = _record(flushed.segments[number], row, asked)
            entity = asked["project_record_fn"](record)
        else:
            entity = asked["project_record_fn"](memtable.materialize_row(*places[pk][:2]))
        found.append({"id": pk, "distance": distance, "entity": entity})
    return found


def _living(
    places: Mapping[Any, tuple[int, int, int]],
    starts: Sequence[int],
    deleted: Mapping[Any, int],
    gone: Mapping[Any, tuple[int, Any]],
) -> dict[int, Any]:
    """The keys of what was written, by the number of the row that counts for each."""
    dead = {pk for pk in places.keys() & deleted.keys() if deleted[pk] > places[pk][2]}
    dead |= {pk for pk in places.keys() & gone.keys() if gone[pk][0] > places[pk][2]}
    return {starts[b] + row: pk for pk, (b, row, _) in places.items() if pk not in dead}


def _without(
    flushed: _Flushed,
    places: Mapping[Any, tuple[int, int, int]],
    gone: Mapping[Any, tuple[int, Any]],
) -> Sequence[Mask]:
    """The masks less what is shadowed by rows and deletes that are not flushed yet."""
    shadowed = [(pk, places[pk][2]) for pk in places.keys() & flushed.place_of.keys()]
    shadowed += [(pk, gone[pk][0]) for pk in gone.keys() & flushed.place_of.keys()]
    if not shadowed:
        return flushed.masks
    masks = [mask.copy() for mask in flushed.masks]
    for pk, seq in shadowed:
        number, row = flushed.place_of[pk]
        if seq > int(flushed.segments[number].seqs[row]):
            masks[number][row] = False
    return masks


def _by_cosine(
    asked: Mapping[str, Any], vectors: Floats, lengths: Floats, counts: Mask
) -> list[tuple[float, int]]:
    most = min(asked["top_k"], int(counts.sum()))
    if not most:
        return []
    query = np.asarray(asked["query_vectors"][0], dtype=np.float32)
    query = query / (np.linalg.norm(query) or 1)
    distances = np.maximum(1 - vectors @ query / lengths, 0)
    distances[~counts] = np.inf
    rows = np.argpartition(distances, most - 1)[:most]
    return list(zip(distances[rows].tolist(), rows.tolist(), strict=True))


def _lengths(vectors: Floats) -> Floats:
    """Of each vector, 1 for those of zeros."""
    found = np.linalg.norm(vectors, axis=1)
    found[found == 0] = 1
    return np.asarray(found, dtype=np.float32)


def _record(segment: Any, row: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of the row as `Segment.row_to_dict` gives it; the vector from the matrix, at
    once."""
    names, vector = segment.table.schema.names, asked["vector_field"]
    wanted = asked.get("output_fields")
    if wanted is not None and set(wanted) <= set(names):
        names = {asked["pk_field"], *wanted}
    record = {
        name: segment.table.column(name)[row].as_py()
        for name in names
        if name not in ("_seq", vector)
    }
    if vector in names:
        record[vector] = segment.vector_data(vector)[0][row].tolist()
    return record
