"""Whose the data directory is, and where sockets live when its path is long."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import EXIT_CANNOT_BOOT, CannotBoot
from appliance.supervisor.directory import (
    REMEMBERED,
    SOCKET_PATH_BYTES,
    prepare_data_directory,
    socket_directory,
)

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _umask_afterwards() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's, as those of tests may not."""
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as made:
        yield Path(os.path.realpath(made))


def long_directory(tmp_path: Path) -> Path:
    path = tmp_path / ("数据 目录 " * 12)
    path.mkdir()
    return path


def test_a_new_data_directory_is_private_and_so_is_all_that_follows(tmp_path: Path) -> None:
    path = prepare_data_directory(tmp_path / "a" / "b")
    assert path.stat().st_mode & 0o777 == 0o700
    (path / "file").touch()
    assert (path / "file").stat().st_mode & 0o777 == 0o600


def test_a_readable_one_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert prepare_data_directory(tmp_path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_one_that_others_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(CannotBoot, match="others may write") as caught:
        prepare_data_directory(tmp_path)
    assert caught.value.exit_status == EXIT_CANNOT_BOOT
    assert "chmod 700" in caught.value.hint


def test_one_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(CannotBoot, match="belongs to another user"):
        prepare_data_directory(tmp_path)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotBoot, match="cannot be used"):
        prepare_data_directory(tmp_path / "file")


def test_sockets_of_a_short_path_live_in_the_data_directory(short: Path) -> None:
    assert socket_directory(short, {}) == short / "run"
    assert (short / "run").stat().st_mode & 0o777 == 0o700


def test_sockets_of_a_long_path_live_in_the_runtime_directory(tmp_path: Path, short: Path) -> None:
    runtime = short / "r"
    runtime.mkdir(mode=0o700)
    data = long_directory(tmp_path)
    sockets = socket_directory(data, {"XDG_RUNTIME_DIR": str(runtime)})
    assert sockets.parent == runtime
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert socket_directory(data, {"XDG_RUNTIME_DIR": str(runtime)}) == sockets
    other = tmp_path / ("另一个 " * 20)
    assert socket_directory(other, {"XDG_RUNTIME_DIR": str(runtime)}) != sockets


def test_without_a_runtime_directory_a_fresh_one_is_made_and_remembered(
    tmp_path: Path, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(short))
    data = long_directory(tmp_path)
    sockets = socket_directory(data, {})
    assert sockets.parent == short
    assert sockets.stat().st_mode & 0o777 == 0o700
    assert len(os.fsencode(sockets / "milvus.sock")) <= SOCKET_PATH_BYTES
    assert socket_directory(data, {}) == sockets


@pytest.mark.parametrize("trap", ["symlink", "open", "file"])
def test_a_planted_directory_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str
) -> None:
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(short))
    data = long_directory(tmp_path)
    planted, victim = tmp_path / "planted", tmp_path / "victim"
    victim.mkdir(mode=0o700)
    if trap == "symlink":
        planted.symlink_to(victim)
    elif trap == "open":
        planted.mkdir()
        planted.chmod(0o777)
    else:
        planted.touch()
    (data / REMEMBERED).write_text(str(planted))
    assert socket_directory(data, {"XDG_RUNTIME_DIR": str(planted)}).parent == short
    assert not list(victim.iterdir())
