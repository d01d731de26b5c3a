"""Backups of a real store that is written to all the while, and of a whole appliance."""

import contextlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from appliance.backup import aof, backup
from appliance.cli.main import main
from appliance.errors import EXIT_USAGE, Conflict, Invalid
from appliance.supervisor.lock import DataLock
from appliance.supervisor.valkey import find_binary

pytestmark = pytest.mark.integration


class Store:
    """A Valkey with an append-only file as the appliance keeps it, in `data/valkey`."""

    def __init__(self, data: Path) -> None:
        folder = data / "valkey"
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(find_binary()), "--port", "0", "--unixsocket", "s", "--save", ""]
        command += ["--appendonly", "yes", "--aof-use-rdb-preamble", "no"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        while "Ready to accept" not in self.process.stdout.readline():
            assert self.process.poll() is None
        self.client = redis.Redis(unix_socket_path=str(folder / "s"))

    def stop(self) -> None:
        self.client.close()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "数据 data"
    made.mkdir(mode=0o700)
    (made / "settings.toml").write_text("# mine\n")
    (made / "admin.key").write_text("sk-sluice-" + "x" * 30)
    (made / "milvus").mkdir()
    (made / "milvus/index").write_text("made anew")
    (made / "tui.log").write_text("words")
    return made


def test_a_backup_under_writes_is_a_moment_between_two_transactions(data: Path) -> None:
    store = Store(data)
    stop = threading.Event()

    def write() -> None:
        client = redis.Redis(unix_socket_path=str(data / "valkey/s"))
        while not stop.is_set():
            with client.pipeline(transaction=True) as both:
                both.incr("left")
                both.incr("right")
                both.set("pad", "x" * 500)
                both.execute()
        client.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = []
        for number in range(6):
            if number % 2:
                with contextlib.suppress(redis.ResponseError):  # one is under way already
                    store.client.bgrewriteaof()
            made.append(data.parent / f"backup {number}")
            backup.back_up(data, made[-1])
    finally:
        stop.set()
        writer.join()
        store.stop()
    seen = []
    for path in made:
        target = data.parent / f"restored-{path.name}"
        target.mkdir(mode=0o700)
        backup.restore(target, path)
        again = Store(target)
        left, right = again.client.mget("left", "right")
        again.stop()
        assert left == right
        seen.append(int(left or 0))
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


def test_what_can_be_made_again_is_left_out(data: Path) -> None:
    manifest = backup.back_up(data, data.parent / "backup")
    assert [one.name for one in manifest.members] == ["admin.key", "settings.toml"]


def test_where_nothing_is_there_is_nothing_to_back_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path / "away", tmp_path):
        assert main(["backup", str(tmp_path / "b"), "--data", str(folder)]) == EXIT_USAGE
        said = capsys.readouterr().err
        assert f"nothing to back up in {folder}" in said
        assert "--data" in said
    assert list(tmp_path.iterdir()) == [], "nor is it made"


def test_restoring_keeps_what_was_there_beside(data: Path) -> None:
    path = data.parent / "backup"
    backup.back_up(data, path)
    (data / "settings.toml").write_text("# changed\n")
    (data / "extra.json").write_text("{}")
    _, replaced = backup.restore(data, path)
    assert (data / "settings.toml").read_text() == "# mine\n"
    assert not (data / "milvus").exists()
    assert replaced is not None
    assert (replaced / "settings.toml").read_text() == "# changed\n"
    assert (replaced / "extra.json").exists()
    assert not (data / "restoring").exists()


def test_a_damaged_backup_changes_nothing(data: Path) -> None:
    path = data.parent / "backup"
    backup.back_up(data, path)
    content = bytearray(path.read_bytes())
    content[content.index(b"admin.key") + 12] ^= 1
    path.write_bytes(content)
    before = sorted(data.rglob("*"))
    with pytest.raises(Invalid, match="damaged"):
        backup.restore(data, path)
    assert [one for one in sorted(data.rglob("*")) if one.name != "lock"] == before


def test_a_store_that_does_not_load_is_not_put_in_place(data: Path) -> None:
    store = Store(data)
    store.client.set("a", "1")
    store.stop()
    (log,) = (data / "valkey" / aof.FOLDER).glob("*.incr.aof")
    log.write_bytes(b"*3\r\n$3\r\nSET\r\nrubbish" * 10 + log.read_bytes())
    path = data.parent / "backup"
    backup.back_up(data, path)
    with pytest.raises(Invalid, match="does not load"):
        backup.restore(data, path)
    assert (data / "milvus/index").exists()


def test_a_running_appliance_is_not_restored_over(data: Path) -> None:
    path = data.parent / "backup"
    backup.back_up(data, path)
    lock = DataLock.take(data)
    try:
        with pytest.raises(Conflict):
            backup.restore(data, path)
    finally:
        lock.release()


def test_the_commands_say_what_they_did(data: Path) -> None:
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "appliance", *arguments, "--data", str(data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    path = str(data.parent / "b")
    assert "whole, 2 files" in run("backup", path).stdout
    again = run("backup", path)
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    held = DataLock.take(data)
    try:
        assert run("restore", path).returncode == 75, "only for who has the data directory"
    finally:
        held.release()
    assert "whole, 2 files" in run("backup", path, "--check").stdout
    restored = run("restore", path)
    assert restored.returncode == 0
    assert "before-restore-" in restored.stdout
    for command in (["restore"], ["backup", "--check"]):
        folder = run(*command, str(data))
        assert (folder.returncode, "Is a directory" in folder.stderr) == (2, True)
    missing = run("restore", path + "x")
    assert (missing.returncode, missing.stderr.splitlines()[1]) == (2, "        check the path")
