"""What happens after an answer, over the API of a running appliance with the fake engine."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Event, Running, Start, eventually, parse, start, text_of

from appliance.supervisor.directory import prepare_data_directory

pytestmark = pytest.mark.integration

SETTINGS = """
[sessions]
titles = "model"
[people]
tagging = true
tagging_after = 1
[[people.vocabulary]]
tag = "cyclist"
meaning = "asks about bicycles"
"""


@pytest.fixture(scope="module")
def appliance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = prepare_data_directory(tmp_path_factory.mktemp("data") / "d")
    (data / "settings.toml").write_text(SETTINGS, encoding="utf-8")
    running = start(data, "--engine", "fake")
    yield running
    assert running.stop() == 0
    for stream in (running.process.stdout, running.process.stderr):
        if stream is not None:
            stream.close()


def title(running: Running, session: str) -> str:
    with running.client() as client:
        return str(client.get(f"/api/sessions/{session}").json()["title"])


def test_a_session_is_named_in_the_background_but_never_against_a_person(
    appliance: Running,
) -> None:
    session, named = appliance.session("ann"), appliance.session("ann")
    with appliance.client() as client:
        client.patch(f"/api/sessions/{named}", json={"title": "my own"})
    for one in (named, session):
        appliance.answer("Where do I park my bicycle?", one, faq=False)
    eventually(lambda: title(appliance, session).startswith("You said"), "the model's title")
    assert "bicycle" in title(appliance, session)
    assert title(appliance, named) == "my own"


def test_the_background_job_finds_tags_which_stay_off_once_taken_off(appliance: Running) -> None:
    session = appliance.session("cyc")
    appliance.answer("How do I mend my bicycle?", session, faq=False)
    with appliance.client() as client:

        def sources() -> list[tuple[str, str]]:
            found = client.get("/api/users/cyc")
            details = found.json()["details"] if found.status_code == 200 else []
            return [(one["name"], one["source"]) for one in details]

        # The fake engine says the shortest that the grammar allows, which may be no tag.
        eventually(lambda: title(appliance, session) != "", "the aftermath")
        client.put("/api/users/cyc/tags/cyclist", json={}).raise_for_status()
        client.delete("/api/users/cyc/tags/cyclist").raise_for_status()
        appliance.answer("And my other bicycle?", session, faq=False)
        assert ("cyclist", "job") not in sources()


def test_related_questions_come_after_an_answer_and_are_not_what_was_asked(
    appliance: Running,
) -> None:
    questions = {
        "Where can I park my bicycle at the harbour office?": "In the yard.",
        "Where can I park my bicycle at the airport office?": "Level 2.",
        "Where can I park my bicycle at the river office?": "By the gate.",
    }
    with appliance.client() as client:
        for question, answer in questions.items():
            made = client.post("/api/faq", json={"question": question, "answer": answer})
            assert made.status_code == 201
    session = appliance.session("rel")
    heard: list[Event] = []

    def listen() -> None:
        with (
            appliance.client() as client,
            client.stream("GET", "/api/users/rel/inbox/events") as stream,
        ):
            for event in parse(stream.iter_lines()):
                heard.append(event)
                if event.event == "related":
                    return

    device = threading.Thread(target=listen)
    device.start()
    first = next(iter(questions))
    request_id = appliance.ask(first, session)
    events = list(appliance.follow(request_id))
    (retrieved,) = [event.data for event in events if event.event == "retrieved"]
    hit = {match["question"] for match in retrieved["matches"]}
    device.join(60)
    (related,) = [event.data for event in heard if event.event == "related"]
    offered = {one["question"] for one in related["questions"]}
    assert related["request_id"] == request_id
    assert offered
    assert offered <= set(questions) - hit
    with appliance.client() as client:
        again = client.get(f"/api/requests/{request_id}/related").json()
        assert {one["question"] for one in again["questions"]} == offered
        assert client.get("/api/users/rel/inbox").json()["unread"] == 0


def test_another_device_goes_on_in_the_middle_of_an_answer(appliance: Running) -> None:
    session = appliance.session("two")
    request_id = appliance.ask("#tokens=300 #slow=5 a long one", session, faq=False)
    phone: list[Event] = []
    with (
        appliance.client() as client,
        client.stream("GET", f"/api/requests/{request_id}/events") as stream,
    ):
        for event in parse(stream.iter_lines()):
            phone.append(event)
            if len(phone) == 8:
                break
    with appliance.client() as client:  # the laptop knows the person only
        (listed,) = client.get("/api/sessions", params={"uid": "two"}).json()["items"]
        (turn,) = client.get(f"/api/sessions/{listed['id']}/turns").json()["items"]
    laptop = list(appliance.follow(turn["id"]))
    assert laptop[: len(phone)] == phone
    assert laptop[-1].event == "done"
    rest = list(appliance.follow(request_id, phone[-1].id))
    assert text_of(phone) + text_of(rest) == text_of(laptop)


def test_conversations_end_by_age_and_younger_ones_stay(launch: Start, tmp_path: Path) -> None:
    data = prepare_data_directory(tmp_path / "d")
    running = launch(data, "--engine", "fake")
    session = running.session("old")
    running.answer("one", session, faq=False)
    assert running.stop() == 0
    (data / "settings.toml").write_text("[sessions]\nkept_days = 30\n", encoding="utf-8")
    running = launch(data, "--engine", "fake")
    with running.client() as client:
        assert client.get(f"/api/sessions/{session}").status_code == 200
    assert running.stop() == 0
    (data / "settings.toml").write_text("[sessions]\nkept_days = 1e-9\n", encoding="utf-8")
    running = launch(data, "--engine", "fake")
    with running.client() as client:
        eventually(
            lambda: client.get(f"/api/sessions/{session}").status_code == 404, "the session ends"
        )
        assert client.get("/api/sessions", params={"uid": "old"}).json()["items"] == []


def test_a_conversation_is_found_and_kept_as_a_file(appliance: Running) -> None:
    session = appliance.session("arc")
    appliance.answer("Wo steht das Harmonium?", session, faq=False)
    appliance.answer("风琴在哪里？", session, faq=False)
    with appliance.client() as client:
        found = client.get("/api/search", params={"q": "风琴", "uid": "arc"}).json()
        assert {hit["place"] for hit in found["items"]} >= {"question"}
        assert {hit["session_id"] for hit in found["items"]} == {session}
        text = client.get(f"/api/sessions/{session}/export", params={"format": "markdown"})
        assert text.headers["content-type"].startswith("text/markdown")
        assert "> Wo steht das Harmonium?" in text.text
        kept = json.loads(client.get(f"/api/sessions/{session}/export").content)
        assert [turn["question"] for turn in kept["turns"]] == [
            "Wo steht das Harmonium?",
            "风琴在哪里？",
        ]
        bad = client.get(f"/api/sessions/{session}/export", params={"format": "pdf"})
        assert bad.status_code == 400
        assert client.get("/api/search", params={"q": ""}).status_code == 400
