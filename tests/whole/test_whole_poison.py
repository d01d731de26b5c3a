"""Workers that die of a request, hang in one, or are stopped from outside."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Event, Running, start, text_of

pytestmark = pytest.mark.integration

SETTINGS = """
[worker]
heartbeat_s = 0.5
lease_s = 3.0
lost_after_s = 3.0
wedged_after_s = 2.0
[supervision]
restart_window_s = 1
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that notices silence and standstill within a few seconds."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    (data / "settings.toml").write_text(SETTINGS)
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def letters(appliance: Running) -> list[dict[str, object]]:
    with appliance.client() as client:
        found: list[dict[str, object]] = client.get("/api/dead-letters").json()["items"]
    return found


def test_a_poison_request_takes_none_of_its_eight_neighbours_with_it(appliance: Running) -> None:
    texts = [f"#tokens=100 #slow=20 neighbour number {n}" for n in range(8)]
    poison = appliance.ask("#tokens=100 #die=25 #slow=20 poison", faq=False)
    ids = [appliance.ask(text, faq=False) for text in texts]

    def heard(request_id: str) -> list[Event]:
        return list(appliance.follow(request_id))

    with ThreadPoolExecutor(9) as pool:
        (bad, *good) = pool.map(heard, [poison, *ids])
    assert [events[-1].event for events in good] == ["done"] * 8
    for text, events in zip(texts, good, strict=True):
        assert text_of(events) == appliance.answer(text, faq=False)
    assert (bad[-1].event, bad[-1].data["reason"]) == ("failed", "worker_lost")
    (letter, *_) = letters(appliance)
    assert (letter["id"], letter["deaths"]) == (poison, 2)


def test_a_dead_letter_is_listed_tried_again_and_dropped(appliance: Running) -> None:
    request_id = appliance.ask("#die=2 kept for the operator", faq=False)
    assert list(appliance.follow(request_id))[-1].event == "failed"
    before = appliance.status()["dead_letters"]
    (letter, *_) = letters(appliance)
    assert letter["id"] == request_id
    assert (letter["uid"], letter["deaths"]) == ("local", 2)
    assert "status 9" in str(letter["words"])
    with appliance.client() as client:
        again = client.post(f"/api/dead-letters/{request_id}/retry")
        assert again.status_code == 202, again.text
        events = list(appliance.follow(again.json()["request_id"]))
        assert events[-1].event == "failed"
        assert client.post(f"/api/dead-letters/{request_id}/retry").status_code == 404
        newer = again.json()["request_id"]
        assert client.delete(f"/api/dead-letters/{newer}").status_code == 204
        assert client.delete(f"/api/dead-letters/{newer}").status_code == 404
    assert appliance.status()["dead_letters"] == before - 1


def test_a_worker_that_hangs_in_a_request_is_killed_and_the_request_given_up(
    appliance: Running,
) -> None:
    events = list(appliance.follow(appliance.ask("#hang=4 going nowhere", faq=False)))
    assert (events[-1].event, events[-1].data["reason"]) == ("failed", "worker_lost")
    (letter, *_) = letters(appliance)
    assert "wedged" in str(letter["words"])
    assert appliance.answer("and you?", faq=False)


def test_a_stopped_worker_is_killed_and_its_answer_goes_on(appliance: Running) -> None:
    text = "#tokens=200 #slow=60 stopped in the middle"
    expected = appliance.answer(text, faq=False)
    request_id = appliance.ask(text, faq=False)
    pid = int(appliance.child("worker-0")["pid"])
    events = []
    for event in appliance.follow(request_id):
        events.append(event)
        if len(events) == 6:
            os.kill(pid, signal.SIGSTOP)
    assert events[-1].event == "done"
    assert text_of(events) == expected
    assert int(appliance.child("worker-0")["pid"]) != pid


def test_what_is_cancelled_while_it_waits_inside_the_worker_ends_at_once(
    appliance: Running,
) -> None:
    text = "#tokens=4000 #slow=5 fills the cache"
    ids = [appliance.ask(text, faq=False, max_tokens=4000) for _ in range(8)]
    *running, waiting = ids
    with appliance.client() as client:
        assert client.delete(f"/api/requests/{waiting}").status_code == 202
        events = list(appliance.follow(waiting))
        assert (events[-1].event, events[-1].data["reason"]) == ("cancelled", "asked")
        assert text_of(events) == ""
        for request_id in running:
            client.delete(f"/api/requests/{request_id}")
    assert [list(appliance.follow(one))[-1].event for one in running] == ["cancelled"] * 7
    assert appliance.answer("and now?", faq=False)
