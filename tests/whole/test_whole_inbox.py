"""The inbox over the API of a running appliance: speaking first."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Event, Running, Start, eventually, parse, start

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o700)
    (data / "settings.toml").write_text("[inbox]\nleft_after_s = 5\nper_minute = 0\n")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def messages(running: Running, uid: str) -> list[dict[str, object]]:
    with running.client() as client:
        items: list[dict[str, object]] = client.get(f"/api/users/{uid}/inbox").json()["items"]
    return items


def follow(running: Running, uid: str, count: int, after: str = "") -> list[Event]:
    headers = {"Last-Event-ID": after} if after else {}
    found: list[Event] = []
    with (
        running.client() as client,
        client.stream("GET", f"/api/users/{uid}/inbox/events", headers=headers) as stream,
    ):
        assert stream.status_code == 200, stream.read()
        for event in parse(stream.iter_lines()):
            found.append(event)
            if len(found) == count:
                break
    return found


def test_a_service_writes_and_two_devices_hear_it_and_what_was_read(appliance: Running) -> None:
    heard: dict[str, list[Event]] = {}

    def listen(device: str) -> None:
        heard[device] = follow(appliance, "lin", 3)

    devices = [threading.Thread(target=listen, args=(name,)) for name in ("phone", "laptop")]
    for device in devices:
        device.start()
    with appliance.client() as client:
        path = "/api/users/lin/inbox"
        made = client.post(path, json={"text": "您的快递到了", "title": "快递"})
        assert made.status_code == 201, made.text
        left = client.post(f"{path}/ack", json={"ids": [made.json()["id"]]})
        assert left.json() == {"unread": 0}
        page = client.get(path).json()
        assert page["unread"] == 0
        assert [item["read"] for item in page["items"]] == [True]
    for device in devices:
        device.join(30)
    for name in ("phone", "laptop"):
        events = heard[name]
        assert [event.event for event in events] == ["unread", "message", "read"]
        assert events[1].data["text"] == "您的快递到了"
        assert events[1].data["sender"] == "admin"
        assert follow(appliance, "lin", 2, events[1].id)[1] == events[2]


def test_a_repeated_post_writes_once_and_says_so(appliance: Running) -> None:
    with appliance.client() as client:
        for status, repeated in ((201, False), (200, True)):
            answer = client.post(
                "/api/users/once/inbox", json={"text": "x"}, headers={"Idempotency-Key": "1"}
            )
            assert answer.status_code == status
            assert answer.json()["repeated"] is repeated
        other = client.post(
            "/api/users/once/inbox", json={"text": "y"}, headers={"Idempotency-Key": "1"}
        )
        assert other.status_code == 409
        assert other.json()["error"]["hint"]
    assert len(messages(appliance, "once")) == 1


def test_a_message_for_later_comes_at_its_time(appliance: Running) -> None:
    due = int(1000 * time.time()) + 700
    with appliance.client() as client:
        made = client.post("/api/users/later/inbox", json={"text": "now", "deliver_at_ms": due})
        assert made.status_code == 202
        assert made.json()["state"] == "scheduled"
        waiting = client.get("/api/users/later/inbox/scheduled").json()["items"]
        assert [(one["text"], one["deliver_at_ms"]) for one in waiting] == [("now", due)]
    (_, event) = follow(appliance, "later", 2)
    assert event.event == "message"
    assert int(event.id.partition("-")[0]) >= due


def test_who_left_is_told_that_the_answer_is_ready_and_who_stayed_is_not(
    appliance: Running,
) -> None:
    left, stayed = appliance.session("gone"), appliance.session("here")
    request_id = appliance.ask("#tokens=20 去哪里报销？", left, faq=False)
    list(appliance.follow(appliance.ask("#tokens=20 去哪里报销？", stayed, faq=False)))
    other = appliance.ask("#tokens=200 #slow=5 long", left, faq=False)
    with (
        appliance.client() as client,
        client.stream("GET", f"/api/requests/{other}/events") as stream,
    ):
        next(parse(stream.iter_lines()))  # a device that goes away in the middle
    eventually(lambda: len(messages(appliance, "gone")) == 2, "both answers are told of")
    told = {str(message["request_id"]): message for message in messages(appliance, "gone")}
    assert told[request_id]["kind"] == "answer_ready"
    assert told[request_id]["session_id"] == left
    assert "报销" in str(told[request_id]["text"])
    assert messages(appliance, "here") == []


def test_who_reads_the_turns_has_seen_the_answer(appliance: Running) -> None:
    session = appliance.session("poller")
    appliance.ask("#tokens=5 hello", session, faq=False)
    with appliance.client() as client:

        def answered() -> bool:
            (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
            return bool(turn["state"] == "done")

        eventually(answered, "the answer is there")
    later = appliance.session("marker")
    appliance.ask("#tokens=5 hello", later, faq=False)
    eventually(lambda: len(messages(appliance, "marker")) == 1, "a later answer is told of")
    assert messages(appliance, "poller") == []


def test_what_was_accepted_before_a_crash_is_told_after_it(launch: Start, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "settings.toml").write_text("[inbox]\nleft_after_s = 0.2\n")
    running = launch(tmp_path, "--engine", "fake")
    due = int(1000 * time.time()) + 100
    with running.client() as client:
        client.post("/api/users/u/inbox", json={"text": "dated", "deliver_at_ms": due + 1500})
        client.post("/api/users/u/inbox", json={"text": "delivered"})
    running.ask("#tokens=300 #slow=5 hello", running.session("u"), faq=False)
    running.process.kill()
    running.process.wait()
    again = launch(tmp_path, "--engine", "fake")
    eventually(lambda: len(messages(again, "u")) == 3, "all three are told")
    assert sorted(str(m["kind"]) for m in messages(again, "u")) == [
        "answer_ready",
        "message",
        "message",
    ]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"text": ""}, 400, "text"),
        ({"text": "x" * 4001}, 400, "text"),
        ({"text": "x", "to": "y"}, 400, "to"),
        ({"text": "x", "expires_at_ms": 1}, 400, "expire"),
        ({"text": "x", "deliver_at_ms": -1}, 400, "deliver_at_ms"),
        ({"text": "x", "deliver_at_ms": 4_000_000_000_000}, 400, "too far"),
    ],
)
def test_a_message_that_cannot_be_is_refused_in_words(
    appliance: Running, body: dict[str, object], status: int, word: str
) -> None:
    with appliance.client() as client:
        answer = client.post("/api/users/bad/inbox", json=body)
    assert answer.status_code == status, answer.text
    assert word in answer.text
    assert answer.json()["error"]["hint"]
    assert messages(appliance, "bad") == []
