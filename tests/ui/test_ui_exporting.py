"""Conversations as files."""

import json
from datetime import UTC
from pathlib import Path

import pytest
from stub_api import NOW_MS

from appliance.schema.answers import Match
from ui.exporting import as_json, as_markdown, file_name, form_of, write_new
from ui.texts import texts_for
from ui.turns import LiveTurn

pytestmark = pytest.mark.unit

MATCH = Match(
    id="e-1",
    question="How to\x1b[31m reset?",
    phrasing="",
    answer="",
    category="",
    language="",
    score=1,
)
TURNS = (
    LiveTurn(
        id="r-1",
        question="How?\nPlease.",
        created_at_ms=NOW_MS,
        phase="done",
        answer="So \x1b]0;x\x07**bold** [1].",
        matches=(MATCH,),
    ),
    LiveTurn(id="r-2", question="And?", created_at_ms=NOW_MS, phase="failed"),
)


def test_markdown_has_questions_answers_and_sources() -> None:
    assert as_markdown(texts_for("en"), "A [title]\n", TURNS, zone=UTC) == (
        "# A [title]\n\n## How? Please.\n\n*2025-11-23 12:13*\n\n> How?\n> Please.\n\n"
        "So **bold** [1].\n\nFrom the FAQ:\n\n1. How to reset?\n\n"
        "## And?\n\n*2025-11-23 12:13*\n\n*No answer*\n"
    )


def test_json_has_everything_as_it_came() -> None:
    record = json.loads(as_json("s-1", "t", TURNS))
    assert record["turns"][0]["answer"] == TURNS[0].answer
    assert [turn["sources"] for turn in record["turns"]] == [["e-1"], []]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("报销流程 与/发票?", "报销流程-与-发票.md"),
        ("../../etc/passwd", "etc-passwd.md"),
        ("\x1b[31m...", "conversation.md"),
        ("x" * 300, "x" * 60 + ".md"),
    ],
)
def test_a_title_becomes_a_name_for_a_file(title: str, name: str) -> None:
    assert file_name(title, "md") == name
    assert form_of(Path("a.JSON")) == "json"


def test_a_file_that_exists_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    write_new(path, "one \ud800")
    assert path.read_text(encoding="utf-8") == "one ?"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_new(path, "two")
    assert path.read_text(encoding="utf-8") == "one ?"
