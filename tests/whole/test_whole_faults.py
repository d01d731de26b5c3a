"""Any one process may be killed at any time: it comes back, and each accepted request ends once."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from conftest import Running, Start, eventually, family, text_of

from appliance.errors import EXIT_ALREADY_RUNNING, EXIT_CANNOT_BOOT

pytestmark = pytest.mark.integration

BACK_TIMEOUT_S = 30.0
TERMINAL = {"done", "failed", "refused", "cancelled"}


def kill_child(appliance: Running, name: str, number: int = signal.SIGKILL) -> int:
    pid = int(appliance.child(name)["pid"])
    os.kill(pid, number)
    return pid


def test_a_worker_is_recognised_by_its_command_line(appliance: Running) -> None:
    lines = [" ".join(process.cmdline()) for process in family(appliance.process.pid)]
    assert any("worker" in line for line in lines)


@pytest.mark.parametrize("name", ["worker-0", "valkey", "milvus"])
def test_a_child_killed_while_idle_comes_back_and_serves(appliance: Running, name: str) -> None:
    entry = {"question": f"What does {name} say?", "answer": f"It says {name}-back."}
    with appliance.client() as client:
        client.post("/api/faq", json=entry)
    session = appliance.session()
    appliance.answer("before", session)
    pid = kill_child(appliance, name)

    def back() -> bool:
        with appliance.client() as client:
            answer = client.get("/api/status")
        if answer.status_code != 200:
            return False
        status = answer.json()
        (child,) = [c for c in status["children"] if c["name"] == name]
        indexed = status["faq"]["indexed"] and not status["faq"]["detail"]
        return bool(
            child["state"] == "ready" and child["pid"] != pid and status["ready"] and indexed
        )

    eventually(back, f"{name} is back")
    assert f"{name}-back" in appliance.answer(f"What does {name} say?", session)
    with appliance.client() as client:
        turns = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert [turn["question"] for turn in turns] == ["before", f"What does {name} say?"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_worker_killed_in_an_answer_is_continued_without_a_repeat_or_a_gap(
    appliance: Running, number: int
) -> None:
    text = "#tokens=200 #slow=60 go on and on"
    expected = appliance.answer(text, faq=False)
    request_id = appliance.ask(text, faq=False)
    events = []
    for event in appliance.follow(request_id):
        events.append(event)
        if len(events) == 6:  # a step may bring many tokens: it guesses what repeats
            kill_child(appliance, "worker-0", number)
    (mark,) = (appliance.data / "aborts").glob("worker-0-*")
    assert mark.stat().st_size > 0 or number != signal.SIGABRT
    assert events[-1].event == "done"
    assert sum(event.event in TERMINAL for event in events) == 1
    heard = text_of(events)
    assert heard == expected
    with appliance.client() as client:
        assert client.get(f"/api/requests/{request_id}").json()["attempt"] == 2
        session = client.get(f"/api/requests/{request_id}").json()["session_id"]
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert turn["answer"] == heard


def test_valkey_killed_in_an_answer_costs_a_pause(appliance: Running) -> None:
    request_id = appliance.ask("#tokens=200 #slow=60 keep talking", faq=False)
    events = []
    for event in appliance.follow(request_id):
        events.append(event)
        if len(events) == 6:
            kill_child(appliance, "valkey")
    assert events[-1].event == "done"
    with appliance.client() as client:
        session = client.get(f"/api/requests/{request_id}").json()["session_id"]
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert turn["answer"] == text_of(events)


def test_a_request_that_kills_two_workers_is_given_up_with_its_reason(appliance: Running) -> None:
    events = list(appliance.follow(appliance.ask("please #die=3 now", faq=False)))
    assert events[-1].event == "failed"
    assert events[-1].data["reason"] == "worker_lost"
    assert appliance.answer("and you?", faq=False)


def test_a_killed_parent_leaves_no_process_and_loses_nothing(launch: Start, tmp_path: Path) -> None:
    running = launch(tmp_path, "--engine", "fake")
    session = running.session()
    running.answer("remember this", session)
    unfinished = running.ask("#tokens=200 #slow=100 unfinished", session, faq=False)
    follower = running.follow(unfinished)
    while next(follower).event != "delta":
        pass
    others = family(running.process.pid)
    running.process.kill()
    running.process.wait()
    _, alive = psutil.wait_procs(others, timeout=BACK_TIMEOUT_S)
    assert not alive
    with pytest.raises(Exception):  # noqa: B017, PT011 # however httpx names a broken stream
        list(follower)
    again = launch(tmp_path, "--engine", "fake")
    events = list(again.follow(unfinished))
    assert events[-1].event == "done"
    with again.client() as client:
        turns = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert turns[0]["question"] == "remember this"
    assert turns[1]["answer"] == text_of(events)


def test_a_stop_in_order_ends_everything_and_prints_one_line(launch: Start, tmp_path: Path) -> None:
    running = launch(tmp_path, "--engine", "fake")
    others = family(running.process.pid)
    request_id = running.ask("#tokens=40 #slow=10 last words", faq=False)
    follower = running.follow(request_id)
    assert next(follower).event == "received"
    running.process.send_signal(signal.SIGTERM)
    assert [event.event for event in follower][-1] == "done"
    assert running.process.wait(60) == 0
    _, alive = psutil.wait_procs(others, timeout=BACK_TIMEOUT_S)
    assert not alive
    assert len(running.output) == 1
    assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+\n", running.output[0])
    assert not (tmp_path / "running.json").exists()


def test_a_second_signal_stops_at_once(launch: Start, tmp_path: Path) -> None:
    running = launch(tmp_path, "--engine", "fake")
    others = family(running.process.pid)
    request_id = running.ask("#tokens=8000 #slow=50 long", faq=False, max_tokens=8000)
    follower = running.follow(request_id)
    while next(follower).event != "delta":
        pass
    running.process.send_signal(signal.SIGTERM)
    eventually(lambda: any("draining" in line for line in running.errors), "draining")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 143
    _, alive = psutil.wait_procs(others, timeout=BACK_TIMEOUT_S)
    assert not alive


def run(*arguments: str, timeout_s: float = 60.0) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def test_a_second_appliance_on_the_same_directory_is_refused(appliance: Running) -> None:
    second = run("serve", "--engine", "fake", "--port", "0", "--data", str(appliance.data))
    assert second.returncode == EXIT_ALREADY_RUNNING
    assert str(appliance.process.pid) in second.stderr
    assert second.stdout == ""
    assert appliance.answer("still there?")


def test_what_keeps_it_from_starting_is_said_with_what_to_do(tmp_path: Path) -> None:
    port_taken = run("serve", "--engine", "fake", "--host", "203.0.113.1", "--data", str(tmp_path))
    assert port_taken.returncode == EXIT_CANNOT_BOOT
    assert "insecure" in port_taken.stderr
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\xff" * 100)
    for model in (str(broken), str(tmp_path / "missing.gguf")):
        failed = run("serve", "--port", "0", "--model", model, "--data", str(tmp_path / "data"))
        assert failed.returncode == EXIT_CANNOT_BOOT, failed.stderr
        assert "Traceback" not in failed.stderr
        assert failed.stdout == ""
    (tmp_path / "data" / "settings.toml").write_text("[server]\nprot = 1\n")
    unknown = run("serve", "--engine", "fake", "--data", str(tmp_path / "data"))
    assert unknown.returncode == 2
    assert "server.port" in unknown.stderr


def test_the_doctor_names_what_it_found(appliance: Running, tmp_path: Path) -> None:
    healthy = run("doctor", "--engine", "fake", "--data", str(appliance.data))
    assert healthy.returncode == 0, healthy.stdout
    for word in ("cores", "memory", "GPU", "models", "disk", "valkey", "running at"):
        assert word in healthy.stdout
    missing = run("doctor", "--model", str(tmp_path / "no.gguf"), "--data", str(tmp_path))
    assert missing.returncode == 69
    assert "no.gguf" in missing.stdout


def test_what_it_keeps_is_its_owners_alone(appliance: Running) -> None:
    appliance.answer("what do you keep?")
    kept = [appliance.data, *appliance.data.rglob("*")]
    assert len(kept) > 20
    assert [path for path in kept if path.lstat().st_mode & 0o077 and not path.is_symlink()] == []


def test_the_admin_key_is_in_its_file_and_nowhere_else(appliance: Running) -> None:
    key = appliance.key
    assert (appliance.data / "admin.key").stat().st_mode & 0o777 == 0o600
    assert appliance.data.stat().st_mode & 0o777 == 0o700
    holders = [
        path
        for path in appliance.data.rglob("*")
        if path.is_file() and key.encode() in path.read_bytes()
    ]
    assert holders == [appliance.data / "admin.key"]
    assert not any(key in line for line in [*appliance.errors, *appliance.output])
    for process in family(appliance.process.pid):
        assert key not in " ".join(process.cmdline())


def test_no_process_leaves_a_core_and_no_child_gains_privileges(appliance: Running) -> None:
    for process in family(appliance.process.pid):
        assert process.rlimit(psutil.RLIMIT_CORE) == (0, 0), process
        if process.pid != appliance.process.pid:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            assert "NoNewPrivs:\t1" in status, process


def test_only_loopback_is_listened_on_and_talked_to(appliance: Running) -> None:
    for process in family(appliance.process.pid):
        connections = process.net_connections("inet")
        assert all(c.raddr.ip == "127.0.0.1" for c in connections if c.raddr)
        listening = [c for c in connections if c.status == "LISTEN"]
        assert all(connection.laddr.ip == "127.0.0.1" for connection in listening)
        assert not listening or process.pid == appliance.process.pid
