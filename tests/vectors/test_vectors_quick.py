"""The quick search finds what Milvus Lite's own finds, whatever was written and flushed."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.vectors.quick import quick

pytestmark = pytest.mark.integration

SIZE = 8


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_what_the_original_finds_after_any_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    from milvus_lite import CollectionSchema, DataType, FieldSchema, MilvusLite
    from milvus_lite.engine import collection as module

    original = module.execute_search_with_index
    swift = quick(original)
    compared = 0

    def both(**asked: Any) -> Any:
        nonlocal compared
        compared += 1
        found, expected = swift(**asked), original(**asked)
        assert [_named(hit) for hit in found[0]] == [_named(hit) for hit in expected[0]]
        distances = [hit["distance"] for hit in expected[0]]
        assert [hit["distance"] for hit in found[0]] == pytest.approx(distances, abs=1e-5)
        return found

    monkeypatch.setattr(module, "execute_search_with_index", both)
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    database = MilvusLite(str(tmp_path / "db"))
    schema = CollectionSchema(
        [
            FieldSchema("pk", DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema("entry_id", DataType.VARCHAR, max_length=64),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=SIZE),
        ]
    )
    held = database.create_collection("c", schema)
    held.create_index("vector", {"index_type": "FLAT", "metric_type": "COSINE", "params": {}})
    held.load()
    for step in range(60):
        pks = [f"k{chance.randrange(40)}" for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.3:
            held.delete(pks=pks)
        else:
            rows = [
                {"pk": pk, "entry_id": f"e{step}", "vector": numbers.normal(size=SIZE).tolist()}
                for pk in dict.fromkeys(pks)
            ]
            held.upsert(rows)
        if chance.random() < 0.15:
            held.flush()
        query = [numbers.normal(size=SIZE).tolist()]
        for fields in (["entry_id", "vector"], ["entry_id"], ["pk"], None):
            held.search(query, top_k=10, metric_type="COSINE", output_fields=fields)
    database.close()
    assert compared == 240


def _named(hit: dict[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """Its key, and what is told of it."""
    return hit["id"], sorted((name, str(value)) for name, value in hit["entity"].items())
