"""The whole appliance as its users meet it: the real executable, over HTTP."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

READY_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 60.0
BACK_TIMEOUT_S = 30.0
ONE_THREAD = "[worker]\nthreads = 1\n"
"""For real models: two that wait for each other are ten times slower where others compute."""


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    id: str
    event: str
    data: dict[str, Any]


@dataclass
class Running:
    """A started `sluice serve`; `errors` are the lines of its standard error."""

    process: "subprocess.Popen[str]"
    data: Path
    url: str
    output: list[str]
    errors: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return (self.data / "admin.key").read_text().strip()

    def client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=60.0
        )

    def session(self, uid: str = "local") -> str:
        with self.client() as client:
            answer = client.post("/api/sessions", json={"uid": uid})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def ask(self, text: str, session: str = "", **options: Any) -> str:
        """Submits a question and returns the request's id."""
        with self.client() as client:
            answer = client.post(
                f"/api/sessions/{session or self.session()}/messages", json={"text": text} | options
            )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    def follow(self, request_id: str, after: str = "") -> Iterator[Event]:
        """Every event after an id, to the end of the stream."""
        headers = {"Last-Event-ID": after} if after else {}
        with (
            self.client() as client,
            client.stream("GET", f"/api/requests/{request_id}/events", headers=headers) as stream,
        ):
            assert stream.status_code == 200, stream.read()
            yield from parse(stream.iter_lines())

    def answer(self, text: str, session: str = "", **options: Any) -> str:
        """Asks and returns the whole text of an answer that ends well."""
        events = list(self.follow(self.ask(text, session, **options)))
        assert events[-1].event == "done", events[-1]
        return text_of(events)

    def status(self) -> dict[str, Any]:
        with self.client() as client:
            found: dict[str, Any] = client.get("/api/status").json()
        return found

    def child(self, name: str) -> dict[str, Any]:
        (found,) = [c for c in self.status()["children"] if c["name"] == name]
        return dict(found)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Server-sent events from their lines; comments are dropped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield Event(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}


def text_of(events: list[Event]) -> str:
    return "".join(event.data["text"] for event in events if event.event == "delta")


Start = Callable[..., Running]


def start(data: Path, *arguments: str, until: str = "ready") -> Running:
    """Starts an appliance and returns once it says that it is ready, or `until` another word."""
    command = [sys.executable, "-m", "appliance", "serve", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running = Running(process, data, "", [])
    assert process.stderr is not None
    assert process.stdout is not None
    reading = threading.Thread(target=running.errors.extend, args=(process.stderr,), daemon=True)
    reading.start()
    timer = threading.Timer(READY_TIMEOUT_S, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    word, _, running.url = line.strip().partition(" ")
    if word != until:
        process.kill()
        reading.join(10)
        pytest.fail("the appliance did not become ready:\n" + "".join(running.errors[-40:]))
    running.output.append(line)
    listening = threading.Thread(target=running.output.extend, args=(process.stdout,), daemon=True)
    listening.start()
    return running


@pytest.fixture
def launch() -> Iterator[Start]:
    """Starts appliances which end with the test, whatever it did to them."""
    started: list[Running] = []

    def launched(data: Path, *arguments: str, until: str = "ready") -> Running:
        started.append(start(data, *arguments, until=until))
        return started[-1]

    yield launched
    for running in started:
        if running.process.poll() is None:
            running.process.terminate()
            try:
                running.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                running.process.kill()
                running.process.wait()
        for stream in (running.process.stdout, running.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One appliance with the fake engine for all tests of a module; they share its data."""
    running = start(tmp_path_factory.mktemp("data"), "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


@pytest.fixture
def openai_client(appliance: Running) -> Iterator[openai.OpenAI]:
    """The official client, talking to the module's appliance."""
    with openai.OpenAI(
        base_url=f"{appliance.url}/v1", api_key=appliance.key, max_retries=0
    ) as client:
        yield client


def eventually(check: Callable[[], bool], what: str, *, within_s: float = BACK_TIMEOUT_S) -> None:
    """Waits for something another process does, which tells nobody when it is done."""
    deadline = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
