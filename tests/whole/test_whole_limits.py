"""Limits as callers meet them: status, reason, headers and what is left, for each generation."""

from collections.abc import Iterator

import pytest
from conftest import Running, eventually, start

pytestmark = pytest.mark.integration

SETTINGS = """
[[limiter.tiers]]
name = "small"
requests_per_minute = 2
tokens_per_day = 100000
[[limiter.tiers]]
name = "window"
requests_per_minute = 2
generation = "window"
[[limiter.tiers]]
name = "bucket"
requests_per_minute = 2
waiting = 1
generation = "bucket"
[[limiter.tiers]]
name = "tiny"
tokens_per_minute = 50
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


def user(appliance: Running, tier: str) -> str:
    with appliance.client() as client:
        body = {"tags": [f"tier:{tier}"]}
        assert client.put(f"/api/users/of-{tier}", json=body).status_code == 200
    return f"of-{tier}"


def last(appliance: Running, uid: str, **options: object) -> tuple[str, str]:
    """How an answer ends, and why."""
    session = appliance.session(uid)
    events = list(appliance.follow(appliance.ask("hello", session, faq=False, **options)))
    return events[-1].event, str(events[-1].data.get("reason", ""))


def test_what_is_left_is_told_and_the_next_is_refused_with_its_reason(
    appliance: Running,
) -> None:
    uid = user(appliance, "small")
    body = {"messages": [{"role": "user", "content": "hello"}], "user": uid, "faq": False}
    with appliance.client() as client:
        for left in ("1", "0"):
            answer = client.post("/v1/chat/completions", json=body)
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "2"
            assert answer.headers["x-ratelimit-remaining-requests"] == left
        refused = client.post("/v1/chat/completions", json=body)
        assert refused.status_code == 429
        assert refused.json()["error"]["reason"] == "requests_per_minute"
        assert 1 <= int(refused.headers["Retry-After"]) <= 61
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        quota = client.get(f"/api/users/{uid}/quota").json()
        assert quota["tier"] == "small"
        by_name = {limit["name"]: limit for limit in quota["limits"]}
        assert by_name["requests_per_minute"]["used"] == 2
        assert 0 < by_name["tokens_per_day"]["used"] < 100_000
        assert by_name["tokens_per_day"]["reserved"] == 0
        free = client.get("/api/users/somebody/quota").json()
        assert (free["tier"], free["limits"]) == ("standard", [])


def test_what_is_never_let_in_is_not_to_be_asked_again(appliance: Running) -> None:
    uid = user(appliance, "tiny")
    body = {"messages": [{"role": "user", "content": "hello"}], "user": uid, "faq": False}
    with appliance.client() as client:
        refused = client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 413
    error = refused.json()["error"]
    assert error["reason"] == "too_large"
    assert "max_tokens" in error["hint"]
    assert "Retry-After" not in refused.headers


def test_a_window_refuses_at_once_and_a_bucket_lets_wait(appliance: Running) -> None:
    uid = user(appliance, "window")
    assert [last(appliance, uid)[0] for _ in range(2)] == ["done", "done"]
    assert last(appliance, uid) == ("refused", "requests_per_minute")
    uid = user(appliance, "bucket")
    assert [last(appliance, uid)[0] for _ in range(2)] == ["done", "done"]
    assert last(appliance, uid, deadline_s=0.5) == ("refused", "waited_out")
    waits = appliance.ask("hello", appliance.session(uid), faq=False)
    assert last(appliance, uid) == ("refused", "user_queue_full")
    with appliance.client() as client:
        assert client.delete(f"/api/requests/{waits}").status_code == 202
    eventually(
        lambda: last(appliance, uid, deadline_s=0.2) == ("refused", "waited_out"),
        "the place of the cancelled one is free",
    )


def test_the_tier_of_a_person_is_not_told_to_the_model(appliance: Running) -> None:
    with appliance.client() as client:
        client.put("/api/users/plain", json={"tags": []})
        client.put("/api/users/tiered", json={"tags": ["tier:unknown"]})
    sizes = []
    for uid in ("plain", "tiered"):
        request_id = appliance.ask("hello", appliance.session(uid), faq=False)
        sizes.append(list(appliance.follow(request_id))[-1].data["usage"]["prompt_tokens"])
    assert sizes[0] == sizes[1]
