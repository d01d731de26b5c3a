"""Layouts: newer ones are refused, older ones are backed up and brought forward step by step."""

import json
import os
from pathlib import Path

import pytest

from appliance.backup.layout import FILE_NAME, LAYOUT, STEPS, layout_of, settings_of, settle
from appliance.errors import CannotBoot, Invalid

pytestmark = pytest.mark.unit


class Backups:
    """Remembers what was asked for, and in which layout the directory then was."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.made: list[tuple[str, int]] = []

    def __call__(self, name: str) -> Path:
        self.made.append((name, layout_of(self.data)))
        return self.data / name


def told(data: Path, layout: int) -> None:
    (data / FILE_NAME).write_text(json.dumps({"layout": layout, "version": "9.9.9"}))


def test_a_fresh_directory_gets_this_layout_without_a_backup(tmp_path: Path) -> None:
    backups = Backups(tmp_path)
    settle(tmp_path, backups)
    assert (layout_of(tmp_path), backups.made) == (LAYOUT, [])
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_the_layout_is_on_the_disk_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{FILE_NAME}.new").write_text("of a start that was interrupted")
    flushed: list[tuple[str, bool]] = []

    def note(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        flushed.append((name, (tmp_path / FILE_NAME).exists()))

    monkeypatch.setattr(os, "fsync", note)
    settle(tmp_path, Backups(tmp_path))
    assert flushed == [(f"{FILE_NAME}.new", False)]
    assert layout_of(tmp_path) == LAYOUT


def test_a_newer_layout_is_told_before_its_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[ui]\nshiny = true\n")
    with pytest.raises(Invalid, match="shiny"):
        settings_of(tmp_path)
    told(tmp_path, LAYOUT + 1)
    with pytest.raises(CannotBoot, match="layout"):
        settings_of(tmp_path)


def test_a_newer_layout_is_refused_and_untouched(tmp_path: Path) -> None:
    told(tmp_path, LAYOUT + 1)
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(CannotBoot, match=r"written by Sluice 9\.9\.9") as caught:
        settle(tmp_path, Backups(tmp_path))
    assert "9.9.9 or newer" in caught.value.hint
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_an_older_layout_is_backed_up_and_brought_forward_in_order(tmp_path: Path) -> None:
    told(tmp_path, 1)
    backups, ran = Backups(tmp_path), []
    steps = {1: lambda _: ran.append(1), 2: lambda _: ran.append(2)}
    settle(tmp_path, backups, layout=3, steps=steps)
    assert backups.made == [("layout-1-before-3", 1)]
    assert (ran, layout_of(tmp_path)) == ([1, 2], 3)


def test_an_interrupted_step_runs_again_and_finished_ones_do_not(tmp_path: Path) -> None:
    told(tmp_path, 1)
    ran: list[int] = []

    def fails(_: Path) -> None:
        ran.append(2)
        if ran.count(2) == 1:
            raise OSError("the power went")

    steps = {1: lambda _: ran.append(1), 2: fails}
    with pytest.raises(OSError, match="power"):
        settle(tmp_path, Backups(tmp_path), layout=3, steps=steps)
    assert layout_of(tmp_path) == 2
    settle(tmp_path, Backups(tmp_path), layout=3, steps=steps)
    assert ran == [1, 2, 2]


def test_there_is_a_step_from_every_older_layout() -> None:
    assert sorted(STEPS) == list(range(1, LAYOUT))


def test_an_unfinished_restore_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "restoring").touch()
    with pytest.raises(CannotBoot, match="interrupted"):
        settle(tmp_path, Backups(tmp_path))


def test_an_unreadable_mark_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(CannotBoot, match="cannot be read"):
        settle(tmp_path, Backups(tmp_path))
