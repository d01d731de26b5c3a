"""Placement as people and operators meet it: two workers, conversations that stay warm, the API."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Running, eventually, start

pytestmark = pytest.mark.integration

TEXT = "Tell me what the handbook says about travel, 请告诉我手册中关于出差的规定, in detail. " * 6


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    settings = "[worker]\ncount = 2\nslots = 2\n[placement]\nanswer_timeout_s = 5.0\n"
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def cached(appliance: Running, text: str, session: str) -> int:
    """Prompt tokens of an answer that its worker had in its cache."""
    events = list(appliance.follow(appliance.ask(text, session, faq=False)))
    assert events[-1].event == "done", events[-1]
    return int(events[-1].data["usage"]["prompt_tokens_details"]["cached_tokens"])


def hosts(appliance: Running, session: str) -> list[dict[str, Any]]:
    return [one for one in appliance.status()["workers"] if session in one["warm"]]


def placed(appliance: Running) -> bool:
    return bool(appliance.status()["placement"]["pools"])


def test_conversations_stay_where_their_cache_is(appliance: Running) -> None:
    eventually(lambda: placed(appliance), "the loop knows both workers")
    sessions = [appliance.session() for _ in range(6)]
    for number, session in enumerate(sessions):
        cached(appliance, f"{number} {TEXT}", session)
    # Whichever worker a session is on, its first turn of some 160 tokens is not computed again.
    assert min(cached(appliance, "And then?", session) for session in sessions) > 100
    status = appliance.status()["placement"]
    assert (status["policy"], status["active"], status["pools"]) == ("hybrid", True, ["main"])
    eventually(lambda: appliance.status()["placement"]["placed"] >= 12, "all of them are counted")
    assert appliance.status()["placement"]["matched_tokens"] > 0
    assert {one["id"].partition(".")[0] for one in status["workers"]} == {"worker-0", "worker-1"}


def test_the_policy_is_changed_while_it_runs_and_an_unknown_one_is_refused(
    appliance: Running,
) -> None:
    with appliance.client() as client:
        for policy in ("pull", "cost", "hybrid"):
            answer = client.put("/api/placement", json={"policy": policy})
            assert (answer.status_code, answer.json()["policy"]) == (200, policy)

            def is_told(policy: str = policy) -> bool:
                return bool(client.get("/api/placement").json()["policy"] == policy)

            eventually(is_told, f"{policy} is in force")
            assert appliance.answer(f"by {policy}", faq=False).endswith(f"by {policy}")
        wrong = client.put("/api/placement", json={"policy": "round_robin"})
        assert wrong.status_code == 400
        assert "round_robin" in wrong.text
        assert client.put("/api/placement", json={}).status_code == 400


def test_answers_placed_on_a_worker_that_is_killed_are_ended_by_the_other(
    appliance: Running,
) -> None:
    eventually(lambda: placed(appliance), "the loop knows both workers")
    session = appliance.session()
    cached(appliance, TEXT, session)
    eventually(lambda: hosts(appliance, session) != [], "its worker says that it is warm")
    (host,) = hosts(appliance, session)
    name = host["id"].partition(".")[0]
    os.kill(int(host["pid"]), signal.SIGSTOP)  # it is bound work that it never sees
    asked = [appliance.ask(f"And {number}?", session, faq=False) for number in range(2)]
    os.kill(int(host["pid"]), signal.SIGKILL)
    for request_id in asked:
        events = [event.event for event in appliance.follow(request_id)]
        assert events.count("admitted") == 1
        assert events[-1] == "done"
    eventually(lambda: appliance.child(name)["state"] == "ready", "it is back")
