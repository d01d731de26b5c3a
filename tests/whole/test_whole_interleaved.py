"""A few rounds of edits beside questions, with kills; `tests/whole/interleave.py` runs many."""

from pathlib import Path

import pytest
from interleave import Interleaving, interleave
from soak import much

pytestmark = [pytest.mark.integration, pytest.mark.soak]

KILLS = ("", "", "", "milvus", "", "", "", "parent", "", "")
TIMES = much(1, 6)
ROUNDS_AT_MOST = 20


def test_no_answer_shows_what_was_deleted_or_replaced_before_it_was_asked() -> None:
    report = interleave([*KILLS] * TIMES, seed=3)
    assert report.faults == []
    assert (report.rounds, report.parent_killed) == (10 * TIMES, TIMES)
    assert report.milvus_killed >= 1
    assert report.found >= 20 * TIMES


def test_the_bench_sees_a_stale_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where answers go on showing what they showed once, it says so."""
    seen: dict[str, str] = {}
    shown = Interleaving._shown

    def again(self: Interleaving, question: str) -> str:
        return seen.setdefault(question, shown(self, question))

    monkeypatch.setattr(Interleaving, "_shown", again)
    tmp_path.chmod(0o700)
    rounds = Interleaving(tmp_path, seed=4)
    while not rounds.report.faults and rounds.report.rounds < ROUNDS_AT_MOST:
        rounds.round("")
    assert rounds.stop().faults
