"""What the index has flushed is on the disk before the log that could replace it goes."""

import os
from pathlib import Path

import pyarrow.parquet as parquet  # type: ignore[import-untyped] # ships no types
import pytest

from appliance.vectors.server import _make_parquet_durable

pytestmark = pytest.mark.integration


def test_a_flushed_table_and_its_folder_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from milvus_lite import CollectionSchema, DataType, FieldSchema, MilvusLite

    monkeypatch.setattr(parquet, "write_table", parquet.write_table)  # put back afterwards
    _make_parquet_durable()
    synced: set[Path] = set()
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.add(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    database = MilvusLite(str(tmp_path / "db"))
    schema = CollectionSchema(
        [
            FieldSchema("pk", DataType.VARCHAR, is_primary=True, max_length=64),
            FieldSchema("vector", DataType.FLOAT_VECTOR, dim=2),
        ]
    )
    held = database.create_collection("c", schema)
    held.upsert([{"pk": "one", "vector": [0.0, 1.0]}])
    held.flush()
    database.close()
    tables = list(tmp_path.rglob("*.parquet"))
    assert tables
    assert {*tables, *(table.parent for table in tables)} <= synced
