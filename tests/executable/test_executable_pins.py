"""What is installed and shipped: every distribution at one version, by its hashes."""

import re
import tomllib

import pytest
from conftest import ROOT

pytestmark = pytest.mark.unit

PINNED = (ROOT / "packaging/requirements.txt").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^\S.*(?:\n[ \t].*)*", PINNED, re.MULTILINE)


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def test_every_distribution_has_one_version_and_its_hashes() -> None:
    assert BLOCKS
    whole = re.compile(r"[\w.-]+==[\w.!+]+( ;.*)? \\(\n +--hash=sha256:[0-9a-f]{64}( \\)?)+")
    assert [block for block in BLOCKS if not whole.fullmatch(block)] == []


def test_they_come_from_the_index_that_is_configured_and_from_nowhere_else() -> None:
    assert [
        words for words in ("://", "--index", "--extra-index", "--find-links") if words in PINNED
    ] == []


def test_everything_that_is_declared_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    declared = [*project["project"]["dependencies"], *groups["dev"], *groups["build"]]
    assert {name_of(one) for one in declared} - {name_of(one) for one in BLOCKS} == set()
    assert "pip" in {name_of(one) for one in declared}, "it travels in the executable"
