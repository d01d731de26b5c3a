"""The last lines of the log over HTTP."""

import datetime
import json
import logging

import pytest
from conftest import Running

from appliance.runtime.logs import JsonLines

pytestmark = pytest.mark.integration


def test_the_operator_reads_the_log_and_bad_wishes_are_refused(appliance: Running) -> None:
    with appliance.client() as client:
        page = client.get("/api/logs", params={"limit": 5}).json()
        assert 1 <= len(page["items"]) <= 5
        assert page["last"] >= page["items"][-1]["number"]
        assert set(page["items"][0]) == {"number", "at_ms", "level", "logger", "message"}
        none = client.get("/api/logs", params={"q": "no line has these words"}).json()
        assert none["items"] == []
        for wish in ({"level": "loud"}, {"limit": 0}, {"after": -1}, {"q": "x" * 300}):
            answer = client.get("/api/logs", params=wish)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


def test_a_start_is_told_event_by_event_and_warns_of_nothing(appliance: Running) -> None:
    with appliance.client() as client:
        page = client.get("/api/logs", params={"limit": 500}).json()["items"]
    told = [line["message"] for line in page if line["logger"] in ("sluice", "sluice.supervisor")]
    for child in ("valkey", "milvus", "worker-0"):
        of_child = [message for message in told if message.startswith(f"{child} ")]
        assert of_child == [f"{child} is starting", f"{child} is ready"]
    assert sum(message.startswith("ready at ") for message in told) == 1
    warned = [line for line in page if line["level"] in ("warning", "error")]
    machines = [line for line in warned if "overcommit" in line["message"]]
    assert warned == machines  # of the machine's own settings Valkey tells


def test_a_defect_in_a_child_is_one_line_of_the_file_with_its_traceback() -> None:
    record = logging.LogRecord("sluice.child.worker-0", logging.ERROR, "", 0, "%s", ("x",), None)
    record.exc_text = "Traceback\nValueError: y"
    line = json.loads(JsonLines().format(record))
    assert (line["level"], line["message"]) == ("error", "x")
    assert line["traceback"] == "Traceback\nValueError: y"
    assert datetime.datetime.fromisoformat(line["time"]).timestamp() == pytest.approx(
        record.created, abs=0.001
    )
