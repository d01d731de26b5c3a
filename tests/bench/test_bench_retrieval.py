"""The page of the retrieval bench: a run replaces its own section and nothing else."""

from pathlib import Path

import pytest
from retrieval_bench.page import put

pytestmark = pytest.mark.unit


def test_a_section_is_replaced_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    page = tmp_path / "RESULTS.md"
    put(page, "Found", ["| a |", "|---|", "| 1 |"])
    put(page, "Timed", ["fast"])
    page.write_text(page.read_text("utf-8").replace("measured\n", "measured\n\nBy hand.\n", 1))
    put(page, "Found", ["| a |", "|---|", "| 2 |"])
    assert page.read_text("utf-8") == (
        "# Retrieval, measured\n\nBy hand.\n\n## Found\n\n| a |\n|---|\n| 2 |\n\n## Timed\n\nfast\n"
    )
