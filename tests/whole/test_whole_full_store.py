"""A store that takes nothing new: the appliance lives, says so, is read, and starts with it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from conftest import Running, Start, eventually

from appliance.supervisor.valkey import find_binary

pytestmark = pytest.mark.integration

QUESTION = "Please tell me about the canteen and when it opens"
ENTRY = {"question": "When is the canteen open?", "answer": "The canteen is open from 8 to 14."}


def is_told(running: Running) -> bool:
    return "store_full" in [alarm["code"] for alarm in running.status()["alarms"]]


def refuses_and_reads(running: Running, session: str) -> None:
    with running.client() as client:
        for path, body in (
            (f"/api/sessions/{session}/messages", {"text": QUESTION}),
            ("/api/sessions", {"uid": "other"}),
            ("/api/faq", ENTRY),
        ):
            refused = client.post(path, json=body)
            assert refused.status_code == 507, refused.text
            assert "full" in refused.json()["error"]["message"]
        assert client.get(f"/api/sessions/{session}/turns").status_code == 200
        assert client.get("/api/faq").status_code == 200
    assert is_told(running)


def test_an_appliance_whose_store_is_full_waits_for_room(
    launch: Start, tmp_path: Path, valkey_url: str
) -> None:
    (tmp_path / "settings.toml").write_text(
        f'[external]\nredis_url = "{valkey_url}"\n[worker]\nlost_after_s = 3.0\nlease_s = 3.0\n'
    )
    with redis.from_url(valkey_url) as operator:
        operator.flushall()
        running = launch(tmp_path, "--engine", "fake")
        session = running.session()
        before = running.answer(QUESTION, session)
        written = running.follow(running.ask("Write #tokens=100 #slow=20"))
        while next(written).event != "delta":
            continue
        operator.config_set("maxmemory", 1)
        try:
            refuses_and_reads(running, session)
            with running.client() as client:
                gone = client.delete(f"/api/sessions/{session}")  # which makes room
                assert gone.status_code == 204, gone.text
                assert client.get(f"/api/sessions/{session}").status_code == 404
                eventually(
                    lambda: "valkey" in client.get("/readyz").json().get("checks", {}),
                    "no worker can report",
                )
        finally:
            operator.config_set("maxmemory", 0)
        eventually(lambda: running.status()["ready"], "it goes on")
        assert list(written)[-1].event == "done"
        other = running.session()
        assert running.answer(QUESTION, other) == before
        assert not is_told(running)
        assert all(child["restarts"] == 0 for child in running.status()["children"])
        operator.config_set("min-replicas-to-write", 1)  # no write at all, not even a deletion
        try:
            with running.client() as client:
                assert client.get(f"/api/sessions/{other}/turns").status_code == 200
        finally:
            operator.config_set("min-replicas-to-write", 0)
        eventually(lambda: running.status()["ready"], "it goes on once more")
    assert running.stop() == 0


def test_an_appliance_starts_with_a_full_store(launch: Start, tmp_path: Path) -> None:
    first = launch(tmp_path, "--engine", "fake")
    session = first.session()
    first.answer(QUESTION, session)
    assert first.stop() == 0
    fill(tmp_path / "valkey", 20_000_000)
    settings = tmp_path / "settings.toml"
    settings.write_text("[store]\nmemory_mb = 16\n")
    with early(tmp_path) as full:
        refuses_and_reads(full, session)
        with full.client() as client:
            assert "valkey" in client.get("/readyz").json()["checks"]
        assert full.stop() == 0
    settings.write_text("[store]\nmemory_mb = 256\n")
    again = launch(tmp_path, "--engine", "fake")
    assert again.answer(QUESTION, session)
    assert again.stop() == 0


def fill(folder: Path, size: int) -> None:
    """Puts so many bytes into the store that lies there."""
    socket = folder / "filling.sock"
    kept = ["--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--save", ""]
    command = [str(find_binary()), "--port", "0", "--unixsocket", str(socket), *kept]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        eventually(socket.exists, "the store is there")
        with redis.Redis(unix_socket_path=str(socket)) as operator:
            eventually(lambda: not operator.info("persistence")["loading"], "it is read")
            operator.set("much", b"x" * size)
        process.terminate()


@contextlib.contextmanager
def early(data: Path) -> Iterator[Running]:
    """One that has said where it will serve."""
    command = [sys.executable, "-m", "appliance", "serve", "--early", "--port", "0"]
    with subprocess.Popen(
        [*command, "--data", str(data), "--engine", "fake"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            word, _, url = process.stdout.readline().strip().partition(" ")
            assert word == "serving"
            yield Running(process, data, url, [])
        finally:
            process.kill()
