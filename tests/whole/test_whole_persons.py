"""With `faq.no_answer = "person"`: from a question nobody foresaw to a person's answer."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Running, Start, eventually, text_of

pytestmark = pytest.mark.integration

SETTINGS = """
[faq]
no_answer = "person"
persons = ["chief", "deputy"]
[store]
fsync = "always"
"""
QUESTION = "xylophone quartz vortex jigsaw?"
CHINESE = "夜间的天文台可以参观吗？"


def inbox(appliance: Running, uid: str, kind: str) -> list[dict[str, Any]]:
    with appliance.client() as client:
        items = client.get(f"/api/users/{uid}/inbox").json()["items"]
    return [message for message in items if message["kind"] == kind]


def turns(appliance: Running, session: str) -> list[dict[str, Any]]:
    with appliance.client() as client:
        return list(client.get(f"/api/sessions/{session}/turns").json()["items"])


def asked(appliance: Running, text: str, session: str) -> str:
    heard = list(appliance.follow(appliance.ask(text, session)))
    assert heard[-1].event == "done"
    assert heard[-1].data["decision"] == "person_asked", heard[-1]
    assert heard[-1].data["usage"]["total_tokens"] == 0
    return text_of(heard)


def test_a_person_is_asked_and_the_answer_comes_to_inbox_and_conversation(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    appliance = launch(tmp_path, "--engine", "fake")
    assert "\nappendfsync always\n" in (tmp_path / "valkey" / "valkey.conf").read_text()
    session, other = appliance.session("ada"), appliance.session("bo")
    assert "A person has been asked" in asked(appliance, QUESTION, session)
    assert "已转交工作人员" in asked(appliance, CHINESE, other)
    asked(appliance, QUESTION, other)
    for uid in ("chief", "deputy"):
        waiting = [message["text"] for message in inbox(appliance, uid, "question_waiting")]
        assert sorted(waiting) == [QUESTION, CHINESE], "once for each group"
    with appliance.client() as client:
        stateless = client.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": QUESTION}]}
        )
        assert "A person has been asked" in stateless.text
        tried = client.post("/api/faq/test", json={"question": "glacier fjord?"}).json()
        assert "A person has been asked" in tried["answer"]
        found = client.get("/api/faq/misses").json()["items"]
        assert {m["question"] for m in found} == {QUESTION, CHINESE}, "trying asks nobody"
        (miss,) = [m for m in found if m["question"] == QUESTION]
        draft = client.post(f"/api/faq/misses/{miss['id']}/draft").json()
        drafted = list(appliance.follow(draft["request_id"]))
        assert drafted[-1].data["usage"]["completion_tokens"] > 0, "the model drafts the answer"

        path = f"/api/faq/misses/{miss['id']}"
        assert client.post(f"{path}/answer", json={"answer": ""}).status_code == 400
        # The appliance dies with the answer acknowledged and perhaps nobody told.
        sent = client.post(f"{path}/answer", json={"answer": "In the attic."})
        assert (sent.status_code, sent.json()["state"]) == (200, "answered")
    os.kill(appliance.process.pid, signal.SIGKILL)
    appliance.process.wait()
    appliance = launch(tmp_path, "--engine", "fake")
    for uid, where in (("ada", session), ("bo", other)):

        def told(uid: str = uid) -> bool:
            return len(inbox(appliance, uid, "answer_found")) == 1

        eventually(told, f"{uid} hears of the answer")
        (message,) = inbox(appliance, uid, "answer_found")
        assert (message["title"], message["text"]) == (QUESTION, "In the attic.")
        last = turns(appliance, where)[-1]
        assert (last["question"], last["answer"]) == (QUESTION, "In the attic.")
        assert (last["decision"], last["state"]) == ("person", "done")
        assert (message["session_id"], message["request_id"]) == (where, last["id"])
        assert text_of(list(appliance.follow(last["id"]))) == "In the attic."
    with appliance.client() as client:
        eventually(lambda: client.get(path).json()["told"], "all are told")
        again = client.post(f"{path}/answer", json={"answer": "In the attic."})
        assert again.status_code == 200
        assert client.post(f"{path}/answer", json={"answer": "No."}).status_code == 409
        (chinese,) = client.get("/api/faq/misses").json()["items"]
        body = {"answer": "周六 20:00 起可以参观。"}
        made = client.post(f"/api/faq/misses/{chinese['id']}/promote", json=body)
        assert made.status_code == 201, made.text
        eventually(lambda: len(inbox(appliance, "bo", "answer_found")) == 2, "bo hears again")
    assert turns(appliance, other)[-1]["answer"] == body["answer"]
    assert len(turns(appliance, session)) == 2
    heard = list(appliance.follow(appliance.ask(CHINESE, session)))
    assert heard[-1].data["decision"] == "direct"
