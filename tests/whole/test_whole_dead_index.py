"""While the index is dead a question finds its entry by words; the index comes back by itself."""

import os
import signal
from pathlib import Path

import pytest
from conftest import Event, Running, Start, eventually

pytestmark = pytest.mark.integration

SETTINGS = """
[faq]
retrieval_timeout_s = 600
[supervision]
restart_window_s = 1
"""
ENTRIES = [
    {"question": "Who has the loft key?", "answer": "The caretaker keeps it."},
    {"question": "Where do bicycles park?", "answer": "Behind the gym."},
    {"question": "打印机坏了找谁？", "answer": "请联系 IT 服务台。"},
]
REWORDED = [
    "Who is having the key of the loft?",
    "Where can bicycles park here?",
    "打印机坏了应该找谁",
]


def retrieved(appliance: Running, text: str) -> Event:
    heard = list(appliance.follow(appliance.ask(text)))
    assert heard[-1].event == "done", heard[-1]
    return next(event for event in heard if event.event == "retrieved")


def test_a_question_asked_while_the_index_is_dead_finds_its_entry_by_words(
    launch: Start, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    appliance = launch(tmp_path, "--engine", "fake")
    with appliance.client() as client:
        made = [client.post("/api/faq", json=entry).json()["id"] for entry in ENTRIES]
        for text, entry_id in zip(REWORDED, made, strict=True):
            assert retrieved(appliance, text).data["matches"][0]["id"] == entry_id
        without_index = 0
        for _ in range(4):
            pid = int(appliance.child("milvus")["pid"])
            os.kill(pid, signal.SIGKILL)
            for text, entry_id in zip(REWORDED, made, strict=True):
                found = retrieved(appliance, text).data
                assert [match["id"] for match in found["matches"]][:1] == [entry_id], found
                without_index += bool(found["degraded"])

            def back(pid: int = pid) -> bool:
                status = client.get("/api/status").json()
                (child,) = [one for one in status["children"] if one["name"] == "milvus"]
                return bool(
                    child["state"] == "ready" and child["pid"] != pid and status["faq"]["indexed"]
                )

            eventually(back, "the index is back", within_s=60.0)
            for text, entry_id in zip(REWORDED, made, strict=True):
                found = retrieved(appliance, text).data
                assert (found["matches"][0]["id"], found["degraded"]) == (entry_id, "")
        assert without_index > 0, "no question met a dead index"
