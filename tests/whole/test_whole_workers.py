"""Two workers share the work of one model, and one goes on when the other dies."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Event, Running, eventually, start, text_of

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    (data / "settings.toml").write_text("[worker]\ncount = 2\nslots = 2\n", encoding="utf-8")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def busy(appliance: Running) -> dict[str, int]:
    return {one["id"].partition(".")[0]: one["busy"] for one in appliance.status()["workers"]}


def test_two_workers_run_what_one_could_not(appliance: Running) -> None:
    assert sorted(busy(appliance)) == ["worker-0", "worker-1"]
    eventually(lambda: appliance.status()["queue"]["capacity"] == 4, "the limiter knows of both")
    following = [
        appliance.follow(appliance.ask(f"#tokens=150 #slow=20 part {n}", faq=False))
        for n in range(4)
    ]
    for events in following:
        assert next(event for event in events if event.event == "delta")
    assert [event.event for events in following for event in list(events)[-1:]] == ["done"] * 4


def test_a_killed_worker_leaves_its_answers_to_the_other(appliance: Running) -> None:
    texts = [f"#tokens=120 go on {n}" for n in range(4)]
    undisturbed = [appliance.answer(text, faq=False) for text in texts]
    victim = int(appliance.child("worker-1")["pid"])

    def ask(text: str) -> list[Event]:
        return list(appliance.follow(appliance.ask(f"{text} #slow=10", faq=False)))

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask, text) for text in texts]
        first = appliance.follow(appliance.ask("#tokens=20 #slow=10 the fifth waits", faq=False))
        assert next(event for event in first if event.event in ("waiting", "admitted"))
        os.kill(victim, signal.SIGKILL)
        heard = [one.result() for one in asked]
    assert [events[-1].event for events in heard] == ["done"] * 4
    for text, events, expected in zip(texts, heard, undisturbed, strict=True):
        whole = expected.replace(text, f"{text} #slow=10")
        assert text_of(events)[:100] == whole[:100]
    assert [event.event for event in first][-1] == "done"


def test_retrieval_goes_on_while_one_embedding_worker_is_away(appliance: Running) -> None:
    entry = {"question": "Where is the harbour office?", "answer": "On pier nine."}
    with appliance.client() as client:
        assert client.post("/api/faq", json=entry).status_code == 201
    assert "pier nine" in appliance.answer("Where is the harbour office?")
    os.kill(int(appliance.child("worker-0")["pid"]), signal.SIGKILL)
    assert "pier nine" in appliance.answer("Where is the harbour office?")
