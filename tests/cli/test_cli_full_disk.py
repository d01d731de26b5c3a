"""A start on a disk that takes no more: words and a status, whatever it was about to write."""

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from appliance.backup.layout import settings_of, settle
from appliance.errors import EXIT_CANNOT_BOOT
from appliance.runtime.keyfile import admin_key
from appliance.supervisor.directory import prepare_data_directory

pytestmark = pytest.mark.integration


def start(data: Path, *, file_bytes: int) -> "subprocess.CompletedProcess[str]":
    """A start that may write that much into each file, and is told so as by a full disk."""
    limit = (file_bytes, file_bytes)
    command = [sys.executable, "-m", "appliance", "serve", "--data", str(data)]
    return subprocess.run(
        [*command, "--engine", "fake", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=240,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit),
    )


def told(done: "subprocess.CompletedProcess[str]", data: Path) -> bool:
    assert "Traceback" not in done.stderr, done.stderr
    assert f"no room in {data}" in done.stderr, done.stderr
    return done.returncode == EXIT_CANNOT_BOOT


def test_a_first_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    data = prepare_data_directory(tmp_path / "data")
    assert told(start(data, file_bytes=0), data)


@pytest.mark.parametrize(
    ("file_bytes", "last"), [(0, "lock"), (20, "running.new"), (500, "valkey")]
)
def test_a_later_start_on_a_full_disk_says_so(tmp_path: Path, file_bytes: int, last: str) -> None:
    data = prepare_data_directory(tmp_path / "data")
    settings_of(data)
    settle(data, lambda name: data)
    admin_key(data)
    assert told(start(data, file_bytes=file_bytes), data)
    assert (data / last).exists(), "how far it came"
    assert not (data / "running.json").exists(), "nothing half-written is announced"
