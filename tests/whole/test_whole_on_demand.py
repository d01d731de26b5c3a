"""Several models: loaded when asked for, unloaded for one another, and told about meanwhile.

The fake engine pretends: `fake` is the chat model, `fake-b` takes a while to load, `fake-c` fits
only when `fake-b` has left, `fake-giant` never fits, `fake-broken` and `fake-crash` fail.
"""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from conftest import Event, Running, Start, start, text_of

pytestmark = pytest.mark.integration

MORE = [
    "fake-b#load=1000#memory=300",
    "fake-c#load=100#memory=300",
    "fake-giant#memory=9000",
    "fake-broken#broken",
    "fake-crash#crash",
]
SETTINGS = f"""
[models]
more = {json.dumps(MORE)}
memory_bound_mb = 500
retry_after_s = 600
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def session(appliance: Running, model: str) -> str:
    with appliance.client() as client:
        answer = client.post("/api/sessions", json={"model": model})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def ask(appliance: Running, model: str, text: str = "hello") -> list[Event]:
    request_id = appliance.ask(text, session(appliance, model), faq=False)
    return list(appliance.follow(request_id))


def models(appliance: Running) -> dict[str, dict[str, Any]]:
    with appliance.client() as client:
        items = client.get("/api/models").json()["items"]
    return {one["name"]: one for one in items}


def post(appliance: Running, path: str, **body: Any) -> httpx.Response:
    with appliance.client() as client:
        return client.post(path, json=body)


def test_a_model_is_loaded_when_asked_for_and_tells_how_far_it_is(appliance: Running) -> None:
    assert models(appliance)["fake-b"]["state"] == "on_disk"
    events = ask(appliance, "fake-b")
    loading = [event.data for event in events if event.event == "loading"]
    percents = [one["percent"] for one in loading]
    assert {one["model"] for one in loading} == {"fake-b"}
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] == 100
    assert any(0 < percent < 100 for percent in percents)
    names = [event.event for event in events if event.event != "loading"]
    assert names[:3] == ["received", "admitted", "retrieved"]
    assert events[-1].data["model"] == "fake-b"
    found = models(appliance)
    assert found["fake-b"]["state"] == "loaded"
    assert found["fake"]["state"] == "loaded"
    assert found["fake"]["default"] is True
    assert {worker["state"] for worker in appliance.status()["workers"]} == {"ready"}
    pools = {worker["model"]: worker["pool"] for worker in appliance.status()["workers"]}
    assert pools == {"fake": "main", "fake-b": "model-fake-b"}


def test_the_loaded_model_answers_while_another_loads(appliance: Running) -> None:
    unload(appliance, "fake-b")
    waiting = appliance.follow(appliance.ask("b", session(appliance, "fake-b"), faq=False))
    assert next(event for event in waiting if event.event == "loading")
    assert appliance.answer("not blocked", faq=False)
    rest = list(waiting)
    assert "loading" in {event.event for event in rest}, "it was still loading"
    assert rest[-1].event == "done"


def test_the_idle_model_makes_room_and_comes_back(appliance: Running) -> None:
    assert ask(appliance, "fake-b")[-1].event == "done"
    events = ask(appliance, "fake-c")
    assert events[-1].data["model"] == "fake-c"
    found = models(appliance)
    assert found["fake-b"]["state"] == "on_disk"
    assert found["fake-c"]["state"] == "loaded"
    assert ask(appliance, "fake-b")[-1].data["model"] == "fake-b"


def test_a_model_with_work_is_drained_before_it_leaves(appliance: Running) -> None:
    assert ask(appliance, "fake-b")[-1].event == "done"
    busy = appliance.follow(
        appliance.ask("#tokens=60 #slow=10 busy", session(appliance, "fake-b"), faq=False)
    )
    assert next(event for event in busy if event.event == "delta")
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(ask, appliance, "fake-c")
        assert list(busy)[-1].event == "done"
        assert other.result()[-1].event == "done"


def test_what_can_never_fit_is_refused_with_the_numbers(appliance: Running) -> None:
    refused = ask(appliance, "fake-giant")[-1]
    assert refused.event == "refused"
    assert refused.data["reason"] == "no_room"
    assert "9.0 GB" in refused.data["message"]


@pytest.mark.parametrize(
    ("model", "said"), [("fake-broken", "is broken"), ("fake-crash", "status 9")]
)
def test_a_load_that_fails_is_told_and_not_tried_again(
    appliance: Running, model: str, said: str
) -> None:
    first, second = ask(appliance, model)[-1], ask(appliance, model)[-1]
    for refused in (first, second):
        assert refused.event == "refused"
        assert refused.data["reason"] == "load_failed"
        assert said in refused.data["message"]
    assert models(appliance)[model]["state"] == "failed"
    assert said in models(appliance)[model]["detail"]
    assert sum(f"loading the model {model}" in line for line in appliance.errors) == 1
    answer = post(
        appliance,
        "/v1/chat/completions",
        model=model,
        messages=[{"role": "user", "content": "hello"}],
    )
    assert answer.status_code == 503
    assert said in answer.json()["error"]["message"]


def test_a_request_that_waits_for_its_model_can_be_cancelled(appliance: Running) -> None:
    unload(appliance, "fake-b")
    request_id = appliance.ask("never mind", session(appliance, "fake-b"), faq=False)
    following = appliance.follow(request_id)
    assert next(event for event in following if event.event == "loading")
    with appliance.client() as client:
        assert client.delete(f"/api/requests/{request_id}").status_code < 300
    assert list(following)[-1].event == "cancelled"


def test_a_killed_worker_of_another_model_comes_back_with_its_answer(appliance: Running) -> None:
    text = "#tokens=100 go on"
    undisturbed = text_of(ask(appliance, "fake-b", text))
    request_id = appliance.ask(f"{text} #slow=10", session(appliance, "fake-b"), faq=False)
    heard = []
    for event in appliance.follow(request_id):
        heard.append(event)
        if len([one for one in heard if one.event == "delta"]) == 5:
            workers = appliance.status()["workers"]
            (pid,) = [one["pid"] for one in workers if one["model"] == "fake-b"]
            os.kill(pid, signal.SIGKILL)
    assert heard[-1].event == "done"
    assert text_of(heard)[:100] == undisturbed.replace(text, f"{text} #slow=10")[:100]


def unload(appliance: Running, name: str) -> None:
    """Leaves the model unloaded, whatever came before."""
    post(appliance, f"/api/models/{name}/unload")
    ask(appliance, "fake-c" if name != "fake-c" else "fake-b")
    assert models(appliance)[name]["state"] == "on_disk"


def test_the_operator_loads_and_unloads(appliance: Running) -> None:
    unload(appliance, "fake-b")
    assert post(appliance, "/api/models/fake-b/load").status_code == 202
    assert ask(appliance, "fake-b")[-1].event == "done"
    busy = appliance.follow(
        appliance.ask("#tokens=400 #slow=10 busy", session(appliance, "fake-b"), faq=False)
    )
    assert next(event for event in busy if event.event == "delta")
    refused = post(appliance, "/api/models/fake-b/unload")
    assert refused.status_code == 409
    assert list(busy)[-1].event == "done"
    for name, status in (("fake", 409), ("fake-giant", 409), ("nothing", 404)):
        answer = post(appliance, f"/api/models/{name}/unload")
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["hint"]


def test_names_are_checked_and_habits_are_understood(appliance: Running) -> None:
    for name in ("", "sluice", "gpt-4o", "fake", "default"):
        with appliance.client() as client:
            created = client.post("/api/sessions", json={"model": name}).json()
        assert created["model"] == ""
    unknown = post(appliance, "/api/sessions", model="llama-9000")
    assert unknown.status_code == 404
    assert "fake-b" in unknown.json()["error"]["hint"]
    chosen = session(appliance, "fake-b")
    with appliance.client() as client:
        path = f"/api/sessions/{chosen}"
        assert client.get(path).json()["model"] == "fake-b"
        assert client.patch(path, json={"title": "named"}).json()["model"] == "fake-b"
        changed = client.patch(path, json={"model": "sluice"}).json()
        assert (changed["model"], changed["title"]) == ("", "named")
        assert client.patch(path, json={"model": "nothing"}).status_code == 404


def test_the_openai_client_chooses_a_model(openai_client: openai.OpenAI) -> None:
    listed = [one.id for one in openai_client.models.list().data]
    assert listed[0] == "fake"
    assert {"fake-b", "fake-c"} <= set(listed)
    stream = openai_client.chat.completions.create(
        model="fake-b", messages=[{"role": "user", "content": "say this"}], stream=True
    )
    chunks = list(stream)
    assert {chunk.model for chunk in chunks} == {"fake-b"}
    assert "say this" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    with pytest.raises(openai.NotFoundError, match="llama-9000"):
        openai_client.chat.completions.create(
            model="llama-9000", messages=[{"role": "user", "content": "x"}]
        )


def test_after_a_crash_the_model_is_loaded_again_for_what_was_unfinished(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    running = launch(tmp_path, "--engine", "fake")
    running_id = running.ask("#tokens=100 #slow=10 on", session(running, "fake-c"), faq=False)
    follower = running.follow(running_id)
    assert next(event for event in follower if event.event == "delta")
    waiting_id = running.ask("later", session(running, "fake-b"), faq=False)
    assert next(event for event in running.follow(waiting_id) if event.event == "loading")
    running.process.kill()
    running.process.wait()
    again = launch(tmp_path, "--engine", "fake")
    for request_id, model in ((running_id, "fake-c"), (waiting_id, "fake-b")):
        heard = list(again.follow(request_id))
        assert heard[-1].event == "done", [one for one in heard if one.event != "delta"]
        assert heard[-1].data["model"] == model
