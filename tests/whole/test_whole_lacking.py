"""A start whose models are not here: it serves, says so, fetches what is chosen, and goes on."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from conftest import Running, Start, eventually, text_of
from test_whole_setup import BIG, Trickle, post, put, ready, setup, source, told

from models.catalogue import shipped

__all__ = ["source"]

pytestmark = pytest.mark.integration

WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
STARTERS = tuple(shipped().require(role).name for role in ("chat", "embedding"))


@pytest.fixture
def data(tmp_path: Path, source: Trickle) -> Path:
    """A data directory without models, which gets weights from `source`."""
    tmp_path.chmod(0o700)
    (tmp_path / "settings.toml").write_text(
        f"[models]\ndirectory = '{tmp_path / 'models'}'\nmirror = '{source.url}'\n"
    )
    return tmp_path


def readiness(running: Running) -> dict[str, Any]:
    with running.client() as client:
        return dict(client.get("/readyz").json())


def refusal(running: Running, session: str) -> dict[str, Any]:
    """The error of a question that is not taken."""
    with running.client() as client:
        answer = client.post(f"/api/sessions/{session}/messages", json={"text": "hello"})
    assert answer.status_code == 503, answer.text
    return dict(answer.json()["error"])


def test_without_models_a_start_waits_for_a_choice_and_fetches_it(
    launch: Start, data: Path
) -> None:
    running = launch(data, "--early", "--missing", "ask", until="serving")
    session = running.session()
    assert "none was chosen" in readiness(running)["checks"]["models"]
    error = refusal(running, session)
    assert error["reason"] == "models_lacking"
    assert "/api/setup" in error["hint"]
    found = setup(running)
    assert (found["lacking"], found["settled"]) == (list(STARTERS), False)
    assert found["chat"] == STARTERS[0]
    assert running.status()["ready"] is False
    assert [one["name"] for one in running.status()["children"]] == ["valkey", "milvus"]

    assert put(running, chat=BIG.name).status_code == 200
    eventually(lambda: told(running, "chat") == BIG.name, "it starts anew")
    eventually(lambda: setup(running)["download"]["done_bytes"] > 1_000_000, "some arrives")
    assert setup(running)["settled"]
    assert f"downloading {BIG.name}" in readiness(running)["checks"]["models"]
    waiting = running.ask("hello", session)
    with running.client() as client:
        assert client.get(f"/api/requests/{waiting}").json()["state"] == "waiting"
        body = {"messages": [{"role": "user", "content": "hello"}]}
        refused = client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 503, "its connection would end before the answer"
    assert post(running, "/pause").status_code == 202
    eventually(lambda: setup(running)["download"]["state"] == "paused", "it is paused")
    assert "paused" in refusal(running, session)["message"]
    assert running.stop() == 0

    again = launch(data, "--early", "--missing", "ask", until="serving")
    eventually(lambda: setup(again)["download"]["state"] == "running", "the choice is kept")
    assert setup(again)["download"]["done_bytes"] > 1_000_000, "and what had arrived"
    with again.client() as client:
        assert client.get(f"/api/requests/{waiting}").json()["state"] == "waiting"
    assert again.stop() == 0


def test_a_start_that_nobody_attends_says_what_kept_the_models_away(
    data: Path, launch: Start
) -> None:
    (data / "settings.toml").write_text(
        f"[models]\ndirectory = '{data / 'models'}'\nmirror = 'http://127.0.0.1:9'\n"
        f"chat = '{BIG.name}'\nembedding = '{BIG.name}'\n"
    )
    running = launch(data, "--early", "--missing", "fetch", until="serving")
    assert running.process.wait(120) == 69
    eventually(lambda: any("could not be fetched" in line for line in running.errors), "why")


def test_a_start_that_is_not_told_otherwise_refuses(data: Path) -> None:
    command = [sys.executable, "-m", "appliance", "serve", "--port", "0", "--data", str(data)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 78
    assert "sluice models pull" in ended.stderr


@pytest.fixture
def weights(data: Path) -> Iterator[list[Path]]:
    """The starters' files, as somebody brings them along."""
    assert WEIGHTS.is_dir(), "the tests' weights are missing: run `make models`"
    catalogue = shipped()
    yield [WEIGHTS / catalogue.require(name).file for name in STARTERS]
    shutil.rmtree(data / "models")


@pytest.mark.model
def test_once_the_models_are_here_what_was_asked_is_answered(
    launch: Start, data: Path, weights: list[Path]
) -> None:
    running = launch(data, "--early", "--missing", "ask", until="serving")
    assert put(running, chat=BIG.name).status_code == 200
    eventually(lambda: told(running, "settled") == "True", "it starts anew")
    waiting = running.ask("Say hello.")
    (data / "models").mkdir(exist_ok=True)
    for path in weights:
        shutil.copy(path, data / "models" / path.name)
    assert put(running, chat=STARTERS[0]).status_code == 200
    eventually(lambda: ready(running), "the models are in use", within_s=120)
    events = list(running.follow(waiting))
    assert events[-1].event == "done"
    assert text_of(events)
    found = setup(running)
    assert (found["lacking"], found["settled"], found["chat"]) == ([], True, STARTERS[0])
    assert running.stop() == 0
