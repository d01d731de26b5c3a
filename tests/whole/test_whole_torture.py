"""A few rounds of the torture bench; `make torture` runs many."""

import pytest
from soak import much
from torture import torture

pytestmark = [pytest.mark.integration, pytest.mark.soak]

RUNS = much({"worker": 1, "valkey": 1, "parent": 1}, {"worker": 6, "valkey": 6, "parent": 4})


def test_whoever_is_killed_every_answer_ends_once_and_whole() -> None:
    reports = list(torture(RUNS, engine="fake", users=4, seed=3))
    assert [fault for report in reports for fault in report.faults] == []
    assert {report.kind: report.runs for report in reports} == RUNS
