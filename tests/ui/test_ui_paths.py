"""Paths as people type them: names completed from the folder."""

from pathlib import Path

import pytest

from ui.paths import completed

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("faq.csv", "faq-old.csv", "问答.xlsx", ".hidden", "bell\a.txt", "bel"):
        (tmp_path / name).touch()
    (tmp_path / "models").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("typed", "whole"),
    [
        ("fa", "faq-old.csv"),
        ("faq.", "faq.csv"),
        ("问", "问答.xlsx"),
        ("mod", "models/"),
        (".h", ".hidden"),
        ("be", "bel"),
        ("bell", None),
        ("Fa", None),
        ("", None),
        ("..", None),
        ("nothing/fa", None),
        ("faq.csv/x", None),
        ("nul\0/x", None),
    ],
)
def test_a_name_is_completed_from_its_folder(folder: Path, typed: str, whole: str | None) -> None:
    assert completed(f"{folder}/{typed}") == (f"{folder}/{whole}" if whole else None)


def test_the_working_folder_and_the_home_folder_complete_as_they_are_typed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    assert completed("mo") == "models/"
    assert completed("~/mo") == "~/models/"
    assert completed("'~/mo") == "'~/models/", "a quoted path that was dragged here and cut"
