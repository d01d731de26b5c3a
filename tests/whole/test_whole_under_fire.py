"""Limits under fire, over HTTP: two hundred at once against each of them, never one too many.

A third of the clients goes away in the middle, and a worker is killed; where the count is exact
without that, they are also asked calmly.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from conftest import Running, Start, eventually, family, start
from fire import (
    CROWD,
    PATIENCE_S,
    Crowd,
    at_its_start,
    events_of,
    quota,
    reasons,
    side_by_side,
    tokens_used,
)

pytestmark = pytest.mark.integration

REQUESTS, TOKENS_A_DAY, AT_ONCE, IN_LINE = 17, 2_000, 3, 11
MINUTE_S = 60.0

SETTINGS = f"""
[worker]
count = 2
slots = 4
[supervision]
restart_window_s = 1
[limiter]
queue_bound_per_user = {CROWD}
reconcile_interval_s = 1.0
[[limiter.tiers]]
name = "window"
requests_per_minute = {REQUESTS}
generation = "window"
[[limiter.tiers]]
name = "minute"
requests_per_minute = {REQUESTS}
[[limiter.tiers]]
name = "day"
tokens_per_day = {TOKENS_A_DAY}
[[limiter.tiers]]
name = "slots"
concurrency = {AT_ONCE}
tokens_per_day = 1000000
[[limiter.tiers]]
name = "line"
waiting = {IN_LINE}
"""

BUCKET_SIZE, WAITERS = 30, 40
BUCKET = f"""
[requests]
deadline_s = 12
[worker]
slots = 4
[supervision]
restart_window_s = 1
[limiter]
no_worker_after_s = 5.0
reconcile_interval_s = 1.0
[[limiter.tiers]]
name = "bucket"
requests_per_minute = {BUCKET_SIZE}
generation = "bucket"
waiting = {WAITERS}
"""

ROUGH = pytest.mark.parametrize("rough", [False, True], ids=["calm", "rough"])


def prepared(data: Path, text: str) -> Path:
    data.chmod(0o700)
    (data / "settings.toml").write_text(text, encoding="utf-8")
    return data


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(prepared(tmp_path_factory.mktemp("data"), SETTINGS), "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def crowd(appliance: Running, tier: str, *, rough: bool) -> Crowd:
    """Of a user of his own."""
    uid = f"{tier}-{'rough' if rough else 'calm'}"
    with appliance.client() as client:
        body = {"tags": [f"tier:{tier}"]}
        assert client.put(f"/api/users/{uid}", json=body).status_code == 200
    return Crowd(appliance, uid, vanishing=0.3 if rough else 0.0, kills_worker=rough)


@contextlib.contextmanager
def frozen_at_its_start(appliance: Running, name: str) -> Iterator[None]:
    """Inside there is no worker: it was killed, and the next one is stopped before it is ready."""
    old = int(appliance.child(name)["pid"])
    psutil.Process(old).kill()
    found: list[psutil.Process] = []

    def is_stopped() -> bool:
        for process in family(appliance.process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.pid != old and "worker" in process.cmdline():
                    process.suspend()
                    found.append(process)
        return bool(found)

    try:
        eventually(is_stopped, "the next worker starts", within_s=PATIENCE_S)
        eventually(lambda: appliance.status()["queue"]["capacity"] == 0, "nobody works")
        yield
    finally:
        for process in found:
            process.resume()


@ROUGH
async def test_a_window_lets_in_its_number(appliance: Running, rough: bool) -> None:
    began_s = time.monotonic()
    made = crowd(appliance, "window", rough=rough)
    shots = await made.asks()
    windows = 1 + (time.monotonic() - began_s) // MINUTE_S
    refused = [shot for shot in shots if not shot.let_in]
    assert REQUESTS <= CROWD - len(refused) <= REQUESTS * windows
    assert reasons(refused).keys() == {(429, "requests_per_minute")}
    assert all(1 <= int(shot.headers["retry-after"]) <= MINUTE_S for shot in refused)
    assert all(shot.headers["x-ratelimit-limit-requests"] == str(REQUESTS) for shot in shots)
    assert made.most_used == {"requests_per_minute": REQUESTS}
    at_its_start(appliance, made.uid)


async def test_requests_of_a_minute_are_counted(appliance: Running) -> None:
    began_s = time.monotonic()
    made = crowd(appliance, "minute", rough=True)
    shots = await made.asks()
    minutes = 1 + (time.monotonic() - began_s) // MINUTE_S
    at_its_start(appliance, made.uid)
    events = events_of(appliance, shots)
    computed = [heard for heard in events.values() if heard[-1].data.get("usage")]
    assert len(events) >= REQUESTS  # what is given up before it runs is given back
    assert sum(heard[-1].event == "done" for heard in computed) <= REQUESTS * minutes
    assert made.most_used["requests_per_minute"] <= REQUESTS * minutes
    refused = [shot for shot in shots if not shot.let_in]
    assert reasons(refused).keys() == {(429, "requests_per_minute")}
    for shot in shots:
        assert shot.headers["x-ratelimit-limit-requests"] == str(REQUESTS)
        assert 0 <= int(shot.headers["x-ratelimit-remaining-requests"]) < REQUESTS
        assert shot.let_in or int(shot.headers["retry-after"]) >= 1
    if minutes == 1:
        assert quota(appliance, made.uid)["requests_per_minute"]["used"] <= REQUESTS


@ROUGH
async def test_tokens_of_a_day_are_never_passed_and_counted_to_the_last(
    appliance: Running, rough: bool
) -> None:
    made = crowd(appliance, "day", rough=rough)
    shots = await made.asks()
    at_its_start(appliance, made.uid)
    assert reasons(shots).keys() == {(200, ""), (429, "tokens_per_day")}
    assert 0 < made.most_used["tokens_per_day"] <= TOKENS_A_DAY
    used = quota(appliance, made.uid)["tokens_per_day"]["used"]
    assert used == tokens_used(events_of(appliance, shots))


async def test_of_one_user_so_many_run_at_once_and_all_are_served(appliance: Running) -> None:
    made = crowd(appliance, "slots", rough=True)
    made.text = "#tokens=4 one after another"
    shots = await made.asks()
    at_its_start(appliance, made.uid)
    assert reasons(shots).keys() == {(200, "")}
    events = events_of(appliance, shots)
    assert len(events) == CROWD
    assert side_by_side(events) == AT_ONCE
    ends = {shot.id: events[shot.id][-1].event for shot in shots if not shot.vanished}
    assert set(ends.values()) == {"done"}
    for heard in events.values():
        names = [event.event for event in heard]
        assert names.count("admitted") <= 1
        assert names[-1] in ("done", "cancelled")
    used = quota(appliance, made.uid)["tokens_per_day"]["used"]
    assert used == tokens_used(events)


async def test_a_line_is_as_long_as_it_may_be(appliance: Running) -> None:
    made = crowd(appliance, "line", rough=True)
    shots = await made.asks()
    refused = [shot for shot in shots if not shot.let_in]
    assert CROWD - len(refused) >= IN_LINE
    assert reasons(refused).keys() == {(429, "user_queue_full")}
    assert all(int(shot.headers["retry-after"]) >= 1 for shot in refused)
    at_its_start(appliance, made.uid)
    events = events_of(appliance, shots)
    assert side_by_side(events) <= 8
    ends = {shot.id: events[shot.id][-1].event for shot in shots if shot.id and not shot.vanished}
    assert set(ends.values()) == {"done"}


async def test_a_bucket_gives_its_grants_and_without_workers_nobody_is_let_in(
    launch: Start, tmp_path: Path
) -> None:
    appliance = launch(prepared(tmp_path, BUCKET), "--engine", "fake")
    began_s = time.monotonic()
    made = crowd(appliance, "bucket", rough=True)
    shots = await made.asks()
    grants = BUCKET_SIZE * (1 + (time.monotonic() - began_s) / MINUTE_S)
    let_in = sum(shot.let_in for shot in shots)
    assert BUCKET_SIZE <= let_in <= grants + 1
    found = reasons([shot for shot in shots if not shot.let_in])
    assert found.keys() == {(429, "user_queue_full"), (408, "waited_out")}
    assert found[408, "waited_out"] <= WAITERS
    assert all(int(shot.headers["retry-after"]) >= 1 for shot in shots if not shot.let_in)
    at_its_start(appliance, made.uid)

    with frozen_at_its_start(appliance, "worker-0"):
        somebody = Crowd(appliance, "somebody")
        assert reasons(await somebody.asks(1)).keys() == {(503, "no_worker")}, "after five seconds"
        shots = await somebody.asks()
        assert reasons(shots).keys() == {(503, "no_worker")}
        assert all(int(shot.headers["retry-after"]) >= 1 for shot in shots)
    eventually(lambda: appliance.status()["queue"]["capacity"] == 4, "it is back")
    at_its_start(appliance, "somebody")
    assert appliance.answer("and now?", faq=False)
