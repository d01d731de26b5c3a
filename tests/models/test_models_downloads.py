"""A download for the operator: paused, gone on with, checked, and told about."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from models_bench import FileServer, Gguf, catalogue_of, entry_of, serving

from appliance.errors import Conflict, NotFound
from appliance.fleet import downloads as subject
from appliance.fleet.downloads import Downloads
from models import files
from models.catalogue import FromHttps
from models.pull import Ways
from models.store import Store

pytestmark = pytest.mark.integration

CHAT = Gguf(weights=bytes(300_000)).build()
OTHER = Gguf(weights=bytes(192)).build()
HTTPS = FromHttps("https://weights.invalid/tiny.gguf")
DEADLINE_S = 30.0


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer(CHAT)) as running:
        yield running
        running.go_on.set()


@pytest.fixture
def downloads(tmp_path: Path, server: FileServer) -> Iterator[Downloads]:
    entries = entry_of(CHAT, HTTPS), entry_of(OTHER, HTTPS, name="other")
    store = Store(tmp_path / "models", catalogue_of(*entries))
    made = Downloads(store, Ways(mirror=server.url))
    yield made
    server.go_on.set()
    made.stop()


def state_of(downloads: Downloads, *wanted: str) -> str:
    """The state once it is one of those; a thread tells nobody when it is."""
    deadline = time.monotonic() + DEADLINE_S
    while downloads.status.state not in wanted:
        assert time.monotonic() < deadline, downloads.status
        time.sleep(0.01)
    return downloads.status.state


def pause_in_the_middle(downloads: Downloads, server: FileServer) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not downloads.status.done_bytes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert downloads.pause().state == "pausing"
    server.go_on.set()
    assert state_of(downloads, "paused", "failed") == "paused"


def test_a_download_ends_with_checked_weights(downloads: Downloads, tmp_path: Path) -> None:
    assert downloads.status.state == "none"
    started = downloads.start("tiny")
    assert (started.name, started.total_bytes) == ("tiny", len(CHAT))
    assert state_of(downloads, "done", "failed") == "done"
    assert downloads.status.percent == 100
    assert (tmp_path / "models" / "tiny.gguf").read_bytes() == CHAT
    assert downloads.start("chat").name == "tiny", "a role is a name too"
    assert state_of(downloads, "done", "failed") == "done"


def test_a_paused_download_goes_on_where_it_was(
    downloads: Downloads, server: FileServer, tmp_path: Path
) -> None:
    server.script = ["stall:100000"]
    downloads.start("tiny")
    pause_in_the_middle(downloads, server)
    part = files.part_of(tmp_path / "models" / "tiny.gguf")
    kept = part.stat().st_size
    assert 0 < kept < len(CHAT)
    downloads.start("tiny")
    assert state_of(downloads, "done", "failed") == "done"
    assert server.ranges() == ["", f"bytes={kept}-"]
    assert (tmp_path / "models" / "tiny.gguf").read_bytes() == CHAT


def test_what_arrived_changed_meanwhile_is_found_out(
    downloads: Downloads, server: FileServer, tmp_path: Path
) -> None:
    server.script = ["stall:100000"]
    downloads.start("tiny")
    pause_in_the_middle(downloads, server)
    part = files.part_of(tmp_path / "models" / "tiny.gguf")
    part.write_bytes(b"x" * part.stat().st_size)
    downloads.start("tiny")
    assert state_of(downloads, "done", "failed") == "failed"
    assert "checksum" in downloads.status.message
    assert downloads.status.hint
    assert not (tmp_path / "models" / "tiny.gguf").exists()


def test_one_download_at_a_time(downloads: Downloads, server: FileServer) -> None:
    server.script = ["stall:1000"]
    downloads.start("tiny")
    assert server.stalled.wait(DEADLINE_S)
    assert downloads.start("tiny").name == "tiny"
    with pytest.raises(Conflict, match="tiny is being downloaded") as caught:
        downloads.start("other")
    assert caught.value.hint
    assert len(server.asked) == 1


def test_the_wait_before_another_try_can_be_paused(
    downloads: Downloads, server: FileServer
) -> None:
    server.script = ["503:30"]
    downloads.start("tiny")
    deadline = time.monotonic() + DEADLINE_S
    while not server.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    downloads.pause()
    assert state_of(downloads, "paused", "failed") == "paused"


def test_what_another_process_fetches_is_waited_for(
    downloads: Downloads, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "ELSEWHERE_S", 0.02)
    target = tmp_path / "models" / "tiny.gguf"
    with files.only_writer(target.parent, target.name):
        files.part_of(target).write_bytes(CHAT[:1000])
        downloads.start("tiny")
        deadline = time.monotonic() + DEADLINE_S
        while downloads.status.done_bytes != 1000:
            assert time.monotonic() < deadline, downloads.status
            time.sleep(0.01)
        assert downloads.status.state == "running"
        downloads.pause()
        assert state_of(downloads, "paused", "failed") == "paused", "one may stop waiting"
        downloads.start("tiny")
    assert state_of(downloads, "done", "failed") == "done"
    assert target.read_bytes() == CHAT
    assert server.ranges() == ["bytes=1000-"]


def test_a_failure_is_told_with_what_to_do(downloads: Downloads, server: FileServer) -> None:
    server.script = ["404"]
    downloads.start("tiny")
    assert state_of(downloads, "done", "failed") == "failed"
    assert "404" in downloads.status.message
    assert downloads.status.reason == "not_at_source", "for who says it in another language"
    assert downloads.status.facts == {"host": "127.0.0.1"}
    assert "mirror" in downloads.status.hint


def test_what_cannot_be_is_refused(downloads: Downloads) -> None:
    with pytest.raises(NotFound, match="nothing"):
        downloads.start("nothing")
    with pytest.raises(Conflict, match="nothing is being downloaded") as caught:
        downloads.pause()
    assert caught.value.hint
    assert downloads.status.state == "none"
