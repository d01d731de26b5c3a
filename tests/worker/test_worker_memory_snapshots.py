"""Conversations without a session wait in memory: the longest one of each, for their owner only."""

import numpy as np
import pytest

from appliance.worker.memory_snapshots import KEPT_S, MemorySnapshots
from appliance.worker.snapshot_format import Snapshot

pytestmark = pytest.mark.unit

CELL_BYTES = 10


def snapshot(*tokens: int, scope: str = "ann") -> Snapshot:
    return Snapshot(
        session_id="",
        scope=scope,
        public_tokens=0,
        tokens=np.array(tokens, dtype=np.int32),
        cells=np.zeros(CELL_BYTES * len(tokens), dtype=np.uint8),
    )


def kept(memory: MemorySnapshots, scope: str = "ann") -> list[list[int]]:
    return [one.tokens.tolist() for one in memory.of(scope)]


def test_a_newer_turn_takes_the_place_of_the_older_one_and_another_talk_stays() -> None:
    memory = MemorySnapshots(1_000)
    memory.put(snapshot(1, 2))
    memory.put(snapshot(1, 3))
    memory.put(snapshot(1, 2, 5))
    assert kept(memory) == [[1, 3], [1, 2, 5]]


def test_nobody_gets_what_is_somebody_elses_and_nobody_owns_the_empty_scope() -> None:
    memory = MemorySnapshots(1_000)
    memory.put(snapshot(1, 2))
    memory.put(snapshot(1, 2, 3, scope="bob"))
    memory.put(snapshot(1, 2, 3, scope=""))
    assert kept(memory) == [[1, 2]]
    assert kept(memory, "") == []
    memory.forget("ann")
    assert kept(memory) == []
    assert kept(memory, "bob") == [[1, 2, 3]]


def test_the_least_recently_used_leave_when_there_is_no_room() -> None:
    memory = MemorySnapshots(CELL_BYTES * 6)
    memory.put(snapshot(1, 1))
    memory.put(snapshot(2, 2))
    memory.put(snapshot(3, 3))
    assert memory.has("ann", np.array([1, 1], dtype=np.int32)), "it is used now"
    memory.put(snapshot(4, 4))
    assert kept(memory) == [[3, 3], [1, 1], [4, 4]]
    memory.put(snapshot(*range(10, 17)))
    assert kept(memory) == [[3, 3], [1, 1], [4, 4]], "what is larger than all the room is not kept"


def test_what_was_not_used_for_an_hour_is_gone() -> None:
    now_s = 0.0
    memory = MemorySnapshots(1_000, clock=lambda: now_s)
    memory.put(snapshot(1))
    memory.put(snapshot(2))
    now_s = KEPT_S / 2
    assert memory.has("ann", np.array([2], dtype=np.int32))
    now_s = KEPT_S + 1
    assert kept(memory) == [[2]]
