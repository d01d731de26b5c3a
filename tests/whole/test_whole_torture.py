"""A few rounds of the torture bench; `make torture` runs many."""

import pytest
from torture import torture

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(("kind", "runs"), [("worker", 3), ("valkey", 3), ("parent", 2)])
def test_whoever_is_killed_every_answer_ends_once_and_whole(kind: str, runs: int) -> None:
    report = torture(kind, runs, engine="fake", users=4, seed=runs)
    assert report.faults == []
    assert report.runs == runs
