"""Milvus Lite's dense search without its walk over every row, in the server process.

Milvus Lite 3.2 asks of every row, in Python and for every query, whether a newer row or a delete
shadows it, copies all vectors twice to compare them, and builds a hit's vector number by number.
What is flushed does not change, so here that answer and the vectors' lengths are kept until the
flushed files do, vectors are compared where they are, and only rows that are not flushed yet are
asked one by one. Everything that this does not know (several queries, filters, partitions) goes to
the original.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 4
"""Collections, or states of one."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]
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
        """Of each vector of a file's field, 1 for those of zeros."""
        found = self.lengths.get((number, name))
        if found is None:
            found = np.linalg.norm(vectors, axis=1)
            found[found == 0] = 1
            self.lengths[number, name] = found
        return found


def install() -> None:
    """Has every collection of this process searched so."""
    from milvus_lite.engine import collection

    collection.execute_search_with_index = quick(collection.execute_search_with_index)


def quick(original: Search) -> Search:
    """The quick search, with the original for what it does not know."""
    remembered: dict[tuple[int, ...], _Flushed] = {}

    def flushed(segments: Sequence[Any], deleted: Mapping[Any, int]) -> _Flushed:
        key = tuple(map(id, segments))
        found = remembered.get(key)
        if found is None or found.deleted != deleted:
            found = _looked_at(segments, deleted)
            remembered.pop(key, None)
            while len(remembered) >= REMEMBERED:
                remembered.pop(next(iter(remembered)))
            remembered[key] = found
        return found

    def search(**asked: Any) -> list[list[dict[str, Any]]]:
        plain = not asked.get("partition_names") and asked.get("compiled_filter") is None
        if len(asked["query_vectors"]) != 1 or not plain or not asked.get("project_record_fn"):
            return original(**asked)
        segments = [segment for segment in asked["segments"] if segment.num_rows > 0]
        return [_search(asked, flushed(segments, asked["delta_index"].snapshot))]

    return search


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


def _search(asked: Mapping[str, Any], flushed: _Flushed) -> list[dict[str, Any]]:
    from milvus_lite.index.brute_force import BruteForceIndex

    name, metric, memtable = asked["vector_field"], asked["metric_type"], asked["memtable"]
    pks, seqs, vectors, references, _ = memtable.to_search_snapshot(
        vector_field=name, partition_names=None, include_table=False
    )
    gone = memtable.delete_index_snapshot()
    masks = _without(flushed, dict(zip(pks, seqs.tolist(), strict=True)), gone)
    hits: list[tuple[float, int, int]] = []
    for number, (segment, mask) in enumerate(zip(flushed.segments, masks, strict=True)):
        held, not_null = segment.vector_data(name)
        counts = mask if not_null is None else mask & not_null
        index = segment.indexes.get(name) or BruteForceIndex.build(held, metric)
        if metric == "COSINE" and isinstance(index, BruteForceIndex):
            lengths = flushed.lengths_of(number, name, held)
            nearest = _by_cosine(asked, held, lengths, counts)
        else:
            nearest = _nearest(asked, index, counts)
        hits += [(distance, number, row) for distance, row in nearest]
    if pks:
        known = asked["delta_index"]
        counts = np.array(
            [
                not known.is_deleted(pk, seq) and gone.get(pk, (-1,))[0] <= seq
                for pk, seq in zip(pks, seqs.tolist(), strict=True)
            ]
        )
        index = BruteForceIndex.build(vectors, metric)
        own = len(flushed.segments)
        hits += [(distance, own, row) for distance, row in _nearest(asked, index, counts)]
    return [
        _hit(asked, flushed, references, distance=distance, source=source, row=row)
        for distance, source, row in sorted(hits)[: asked["top_k"]]
    ]


def _without(
    flushed: _Flushed, written: Mapping[Any, int], gone: Mapping[Any, Any]
) -> Sequence[Mask]:
    """The masks less what is shadowed by rows and deletes that are not flushed yet."""
    shadowed = [(pk, seq) for pk, seq in written.items() if pk in flushed.place_of]
    shadowed += [(pk, mark[0]) for pk, mark in gone.items() if pk in flushed.place_of]
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
    query = np.asarray(asked["query_vectors"][0], dtype=np.float32)
    query = query / (np.linalg.norm(query) or 1)
    distances = np.maximum(1 - vectors @ query / lengths, 0)
    distances[~counts] = np.inf
    most = min(asked["top_k"], int(counts.sum()))
    if not most:
        return []
    rows = np.argpartition(distances, most - 1)[:most]
    return list(zip(distances[rows].tolist(), rows.tolist(), strict=True))


def _nearest(asked: Mapping[str, Any], index: Any, counts: Mask) -> list[tuple[float, int]]:
    if not counts.any():
        return []
    rows, distances = index.search(
        asked["query_vectors"],
        asked["top_k"],
        valid_mask=None if counts.all() else counts,
        params=asked.get("search_params"),
    )
    pairs = zip(distances[0].tolist(), rows[0].tolist(), strict=True)
    return [(distance, row) for distance, row in pairs if row >= 0]


def _hit(
    asked: Mapping[str, Any],
    flushed: _Flushed,
    references: Sequence[tuple[int, int]],
    *,
    distance: float,
    source: int,
    row: int,
) -> dict[str, Any]:
    in_file = source < len(flushed.segments)
    if in_file and asked.get("output_fields") == [asked["pk_field"]]:
        return {"id": flushed.segments[source].pks[row], "distance": distance, "entity": {}}
    if in_file:
        record = _record(flushed.segments[source], row, asked)
    else:
        record = asked["memtable"].materialize_row(*references[row])
    pk = record[asked["pk_field"]]
    return {"id": pk, "distance": distance, "entity": asked["project_record_fn"](record)}


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
