"""A start as those see it who do not wait for its end: the API answers while models load."""

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from conftest import STOP_TIMEOUT_S, Running, Start, eventually, family, text_of

from appliance import keys
from appliance.bus.client import connect
from appliance.knowledge.demo import load_demo

pytestmark = pytest.mark.integration

SLOW = "slow#load=1000"
ENTRY = {"question": "When is the canteen open?", "answer": "The canteen is open from 8 to 14."}


@dataclass
class Starting:
    """An appliance whose API answers, and whose worker loads until it is let go on."""

    running: Running
    worker: psutil.Process


def worker_of(pid: int) -> psutil.Process | None:
    for process in family(pid):
        with contextlib.suppress(psutil.Error):
            if "worker" in process.cmdline():
                return process
    return None


def early(data: Path, model: str) -> Starting:
    command = [sys.executable, "-m", "appliance", "serve", "--early", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(data), "--engine", "fake", "--model", model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    running = Running(process, data, "", [])
    for stream, lines in ((process.stdout, running.output), (process.stderr, running.errors)):
        threading.Thread(target=lines.extend, args=(stream,), daemon=True).start()
    eventually(lambda: worker_of(process.pid) is not None, "there is a worker")
    worker = worker_of(process.pid)
    assert worker is not None
    worker.suspend()
    eventually(lambda: bool(running.output) or process.poll() is not None, "it says something")
    word, _, running.url = "".join(running.output[:1]).strip().partition(" ")
    assert word == "serving", "".join(running.errors[-40:])
    return Starting(running, worker)


@pytest.fixture
def starting(launch: Start, tmp_path: Path) -> Iterator[Starting]:
    """One that has run before and knows something."""
    before = launch(tmp_path, "--engine", "fake")
    with before.client() as client:
        assert client.post("/api/faq", json=ENTRY).status_code == 201
    assert before.stop() == 0
    made = early(tmp_path, SLOW)
    yield made
    process = made.running.process
    if process.poll() is None:
        process.kill()
    process.wait(STOP_TIMEOUT_S)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def readiness(running: Running) -> httpx.Response:
    with running.client() as client:
        return client.get("/readyz")


def test_what_is_asked_while_the_model_loads_is_answered_when_it_is_there(
    starting: Starting,
) -> None:
    running = starting.running
    told = readiness(running)
    assert told.status_code == 503
    assert told.json()["checks"]["worker"]
    asked = running.ask("Please tell me about the canteen and when it opens")
    assert readiness(running).status_code == 503
    starting.worker.resume()
    events = list(running.follow(asked))
    assert events[-1].event == "done", events[-1]
    assert text_of(events)
    (retrieved,) = [event for event in events if event.event == "retrieved"]
    assert [match["answer"] for match in retrieved.data["matches"]] == [ENTRY["answer"]]
    eventually(lambda: len(running.output) == 2, "it says that it is ready")
    assert running.output[1] == f"ready {running.url}\n"
    assert running.stop() == 0


def test_who_connects_before_the_store_is_there_waits_and_is_not_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "appliance", "serve", "--early", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path), "--engine", "fake"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        word, _, url = process.stdout.readline().strip().partition(" ")
        assert word == "serving"
        assert psutil.Process(process.pid).children() == [], "nothing was started yet"
        process.stdout.close()  # nor does it mind that nobody hears when it is ready
        assert httpx.get(f"{url}/healthz", timeout=30).status_code == 200
        headers = {"Authorization": f"Bearer {(tmp_path / 'admin.key').read_text().strip()}"}

        def is_ready() -> bool:
            told = httpx.get(f"{url}/readyz", headers=headers, timeout=30)
            return told.status_code == 200

        eventually(is_ready, "it is ready")
        process.terminate()
        assert process.wait(STOP_TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_start_that_is_stopped_while_the_model_loads_ends_in_order(starting: Starting) -> None:
    running = starting.running
    assert readiness(running).status_code == 503
    running.process.terminate()
    starting.worker.resume()
    assert running.process.wait(STOP_TIMEOUT_S) == 0
    assert len(running.output) == 1, "it never became ready"


SLOW_EMBEDDING = "slow#embed=80"


def faq(running: Running) -> dict[str, Any]:
    return dict(running.status()["faq"])


def closest(running: Running, question: str) -> dict[str, Any]:
    with running.client() as client:
        told = client.get("/api/faq/search", params={"q": question})
    assert told.status_code == 200, told.text
    return dict(told.json()["items"][0])


def test_the_demo_faq_is_stored_before_ready_and_embedded_afterwards_even_by_the_next_start(
    launch: Start, tmp_path: Path
) -> None:
    entries = [json.loads(line) for line in load_demo().splitlines()]
    last = max(entries, key=itemgetter("id"))  # the index goes by ids
    first = launch(tmp_path, "--engine", "fake", "--model", SLOW_EMBEDDING, "--demo-faq")
    told = faq(first)
    assert told["entries"] == len(entries)
    assert not told["indexed"], "ready came before the vectors"
    match = closest(first, last["question"])
    assert (match["id"], match["by_words"]) == (last["id"], True)
    first.process.kill()
    first.process.wait(STOP_TIMEOUT_S)
    second = launch(tmp_path, "--engine", "fake", "--demo-faq")
    eventually(lambda: faq(second)["indexed"], "what was left is embedded")
    assert faq(second)["entries"] == len(entries)
    with second.client() as client:
        stored = client.get("/api/faq", params={"limit": 500}).json()["items"]
        assert {one["version"] for one in stored} == {1}, "nothing was stored twice"
        for one in stored:
            assert client.delete(f"/api/faq/{one['id']}").status_code == 204
    assert second.stop() == 0
    third = launch(tmp_path, "--engine", "fake", "--demo-faq")
    assert faq(third)["entries"] == 0, "what was deleted stays deleted"
    assert third.stop() == 0


def test_the_centre_of_the_vectors_is_measured_before_anybody_asks(
    launch: Start, tmp_path: Path, valkey_url: str
) -> None:
    (tmp_path / "settings.toml").write_text(f'[external]\nredis_url = "{valkey_url}"\n')

    async def kept(*, forget: bool = False) -> bytes | None:
        store = connect(valkey_url)
        if forget:
            await store.eval("return redis.call('FLUSHALL')", 0)
        found = await store.get(keys.CENTRE)
        await store.aclose()
        return found

    assert asyncio.run(kept(forget=True)) is None
    running = launch(tmp_path, "--engine", "fake")
    eventually(lambda: asyncio.run(kept()) is not None, "the centre is kept")
    assert running.stop() == 0
