"""A few rounds of edits beside questions, with kills; `tests/whole/interleave.py` runs many."""

import pytest
from interleave import Interleaving, interleave

pytestmark = pytest.mark.integration


def test_no_answer_shows_what_was_deleted_or_replaced_before_it_was_asked() -> None:
    kills = ["", "", "", "milvus", "", "", "", "parent", "", ""]
    report = interleave(3 * kills, seed=3)
    assert report.faults == []
    assert (report.rounds, report.parent_killed) == (30, 3)
    assert report.milvus_killed >= 1
    assert report.found >= 60


def test_the_bench_sees_a_stale_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where answers go on showing what they showed once, it says so."""
    seen: dict[str, str] = {}
    shown = Interleaving._shown

    def again(self: Interleaving, question: str) -> str:
        return seen.setdefault(question, shown(self, question))

    monkeypatch.setattr(Interleaving, "_shown", again)
    assert interleave([""] * 20, seed=4).faults
