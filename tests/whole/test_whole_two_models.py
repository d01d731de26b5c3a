"""Two real models of different architectures answer side by side, within the threads there are."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import platformdirs
import pytest
from conftest import Event, Running, start, text_of

from appliance.fleet.workers import physical_cores

pytestmark = pytest.mark.model

WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
QWEN, GEMMA = "qwen2.5-coder-0.5b-instruct-q4_k_m", "gemma-3-270m-q4_k_m"


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n[worker]\nthreads = 2\n"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    running = start(data)
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def ask(appliance: Running, model: str) -> list[Event]:
    with appliance.client() as client:
        session = client.post("/api/sessions", json={"model": model}).json()["id"]
    question = "The capital of France is the city of"
    request_id = appliance.ask(question, session, faq=False, temperature=0, max_tokens=16)
    return list(appliance.follow(request_id))


def test_two_models_answer_side_by_side(appliance: Running) -> None:
    with appliance.client() as client:
        before = {one["name"]: one for one in client.get("/api/models").json()["items"]}
    assert before[QWEN]["default"] is True
    assert before[GEMMA]["state"] == "on_disk"
    assert before[GEMMA]["memory_bytes"] > before[GEMMA]["size_bytes"] > 250_000_000
    with ThreadPoolExecutor(2) as pool:
        qwen, gemma = pool.map(lambda model: ask(appliance, model), (QWEN, GEMMA))
    assert [events[-1].data["model"] for events in (qwen, gemma)] == [QWEN, GEMMA]
    assert "Paris" in text_of(qwen)
    assert text_of(gemma).strip()
    assert "loading" in {event.event for event in gemma}
    with ThreadPoolExecutor(2) as pool:
        again = list(pool.map(lambda model: ask(appliance, model), (QWEN, GEMMA)))
    assert [events[-1].event for events in again] == ["done", "done"]
    assert "loading" not in {event.event for events in again for event in events}
    workers = appliance.status()["workers"]
    assert {worker["model"] for worker in workers} == {QWEN, GEMMA}
    assert sum(worker["threads"] for worker in workers) <= max(2, physical_cores())
    with appliance.client() as client:
        assert client.post(f"/api/models/{GEMMA}/unload").status_code == 202
