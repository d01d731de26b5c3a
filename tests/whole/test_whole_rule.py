"""An operator's own rule of admission, as operators and callers meet it."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Start, eventually

pytestmark = pytest.mark.integration

RULE = """
from appliance.limiter.rule import Refuse

def decide(request, view):
    if request.uid == "guest":
        return Refuse("guests come back later, 访客请稍后再来", retry_after_s=90)
    if request.uid == "trouble":
        raise RuntimeError("no idea")
"""


def prepared(folder: Path, text: str) -> Path:
    data = folder / "data"
    data.mkdir(mode=0o700)
    rule = folder / "rule.py"
    rule.write_text(text, encoding="utf-8")
    settings = f'[limiter]\nrule_file = "{rule}"\nrule_timeout_s = 5.0\n'
    (data / "settings.toml").write_text(settings, encoding="utf-8")
    return data


def test_a_rule_refuses_in_its_own_words_and_a_failing_one_raises_an_alarm(
    launch: Start, tmp_path: Path
) -> None:
    appliance = launch(prepared(tmp_path, RULE), "--engine", "fake")
    eventually(lambda: appliance.status()["queue"]["rule"] is not None, "the rule is told of")
    body = {"messages": [{"role": "user", "content": "hello"}], "faq": False}

    def refused() -> bool:
        with appliance.client() as client:
            answer = client.post("/v1/chat/completions", json=body | {"user": "guest"})
        if answer.status_code == 200:  # its process is still starting
            return False
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "90"
        error = answer.json()["error"]
        assert error["reason"] == "rule"
        assert error["message"] == "guests come back later, 访客请稍后再来"
        return True

    eventually(refused, "the rule is in force")
    assert appliance.status()["queue"]["rule"]["state"] == "in_force"
    with appliance.client() as client:
        answer = client.post("/v1/chat/completions", json=body | {"user": "trouble"})
        assert answer.status_code == 200
    status = appliance.status()
    assert status["queue"]["rule"]["state"] == "failing"
    (alarm,) = [one for one in status["alarms"] if one["code"] == "rule_failed"]
    assert "line 8: RuntimeError: no idea; the built-in rule decides" in alarm["message"]


def test_a_bad_rule_keeps_the_appliance_from_starting_and_says_why(tmp_path: Path) -> None:
    data = prepared(tmp_path, "def decide(request, view)\n    return None\n")
    command = [sys.executable, "-m", "appliance", "serve", "--engine", "fake", "--port", "0"]
    tried = subprocess.run(
        [*command, "--data", str(data)], capture_output=True, text=True, timeout=60, check=False
    )
    assert tried.returncode == 78
    assert "rule.py: line 1: expected ':'" in tried.stderr
    assert "function decide(request, view)" in tried.stderr
