"""One appliance per data directory, and how a second one finds the first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import EXIT_ALREADY_RUNNING, Conflict
from appliance.supervisor.environment import current_environment
from appliance.supervisor.lock import LOCK_NAME, RUNNING_NAME, DataLock, Running, Sighting, sight

pytestmark = pytest.mark.integration

HOLDER = """
import os, sys
from pathlib import Path
from appliance.supervisor.lock import DataLock, Running
lock = DataLock.take(Path(sys.argv[1]))
lock.announce(Running(pid=os.getpid(), url="http://127.0.0.1:8400", started_at_ms=1))
print("held", flush=True)
sys.stdin.read()
"""


def start_holder(directory: Path) -> subprocess.Popen[bytes]:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        env=current_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    return holder


def end_holder(holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.communicate()


def test_a_second_appliance_is_told_who_has_the_directory(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(Conflict, match=f"pid {holder.pid}") as caught:
            DataLock.take(tmp_path)
        assert caught.value.exit_status == EXIT_ALREADY_RUNNING
        sighting = sight(tmp_path)
        assert sighting.state == "running"
        assert sighting.running is not None
        assert sighting.running.pid == holder.pid
        assert sighting.running.url == "http://127.0.0.1:8400"
    finally:
        end_holder(holder)


def test_a_killed_appliance_leaves_a_directory_that_can_be_taken(tmp_path: Path) -> None:
    end_holder(start_holder(tmp_path))
    assert sight(tmp_path).state == "stale"
    lock = DataLock.take(tmp_path)
    assert sight(tmp_path) == Sighting("absent")
    lock.release()


def test_two_locks_in_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    lock = DataLock.take(tmp_path)
    with pytest.raises(Conflict, match=f"pid {os.getpid()}"):
        DataLock.take(tmp_path)
    lock.release()
    lock.release()
    DataLock.take(tmp_path).release()


def test_looking_does_not_keep_anybody_from_starting(tmp_path: Path) -> None:
    end_holder(start_holder(tmp_path))
    descriptor = os.open(tmp_path / RUNNING_NAME, os.O_RDONLY)
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_SH)  # a reader that looks for very long
    lock = DataLock.take(tmp_path)
    lock.announce(Running(pid=1, url="http://x", started_at_ms=2))
    assert sight(tmp_path).state == "running"
    lock.release()
    os.close(descriptor)


def test_the_announcement_is_private_replaced_whole_and_removed(tmp_path: Path) -> None:
    lock = DataLock.take(tmp_path)
    assert (tmp_path / LOCK_NAME).stat().st_mode & 0o777 == 0o600
    for second in range(3):
        running = Running(pid=os.getpid(), url="http://x", started_at_ms=second)
        lock.announce(running)
        assert sight(tmp_path) == Sighting("running", running)
    assert (tmp_path / RUNNING_NAME).stat().st_mode & 0o777 == 0o600
    lock.release()
    assert sight(tmp_path) == Sighting("absent")
    assert sorted(p.name for p in tmp_path.iterdir()) == [LOCK_NAME]


def test_a_garbled_announcement_is_stale(tmp_path: Path) -> None:
    (tmp_path / RUNNING_NAME).write_bytes(b"{")
    assert sight(tmp_path) == Sighting("stale")
    (tmp_path / RUNNING_NAME).unlink()
    (tmp_path / RUNNING_NAME).symlink_to(tmp_path / "elsewhere")
    assert sight(tmp_path) == Sighting("absent")
