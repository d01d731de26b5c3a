"""The last lines of the log over HTTP."""

import pytest
from conftest import Running

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
