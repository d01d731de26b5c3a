"""No orphan survives the supervisor, however it dies."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.errors import EXIT_ALREADY_RUNNING, EXIT_CANNOT_BOOT, EXIT_INTERNAL, EXIT_USAGE
from appliance.supervisor.environment import current_environment
from appliance.supervisor.guard import PARENT_VARIABLE, own_command

pytestmark = pytest.mark.integration

PREAMBLE = """
import os, signal, sys
from appliance.supervisor.guard import claim_stdout, die_with_parent
signal.signal(signal.SIGTERM, signal.SIG_IGN)
status = claim_stdout()
die_with_parent()
"""
BY_SIGNAL = PREAMBLE + "status.ready()\nsignal.pause()\n"
BY_PIPE_ONLY = PREAMBLE + (
    "import ctypes\nctypes.CDLL(None).prctl(1, 0)\nstatus.ready()\nwhile True: pass\n"
)
PARENT = """
import asyncio, json, sys
from pathlib import Path
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.milvus import embedded_milvus
from appliance.supervisor.tree import Tree
from appliance.supervisor.valkey import embedded_valkey

async def main():
    data = Path(sys.argv[1])
    specs = [
        ChildSpec(name=f"own{i}", command=(sys.executable, "-c", program), directory=data, needs=())
        for i, program in enumerate(sys.argv[2:])
    ]
    specs.append(embedded_valkey(data / "valkey", data).child)
    specs.append(embedded_milvus(data / "milvus", data).child)
    tree = Tree(specs)
    async with asyncio.TaskGroup() as group:
        group.create_task(tree.run())
        for spec in specs:
            status = await tree.wait_ready(spec.name, 60)
            assert status.state == "ready", status
        print(json.dumps([status.pid for status in tree.statuses()]), flush=True)

asyncio.run(main())
"""


def ended_before(pid: int, deadline: float) -> bool:
    """Waits on a pidfd, which tells the end of processes that are not our children too."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(deadline - time.monotonic(), 0) * 1_000))
    finally:
        os.close(descriptor)


def start_parent(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), BY_SIGNAL, BY_PIPE_ONLY],
        stdout=subprocess.PIPE,
        env=current_environment({}) | {"PYTHONWARNINGS": "error"},
    )
    assert parent.stdout is not None
    return parent, json.loads(parent.stdout.readline())


def test_no_child_outlives_a_killed_parent_and_the_next_one_starts(tmp_path: Path) -> None:
    pids: list[int] = []
    for _round in range(2):  # the second starts while the children of the first are dying
        parent, started = start_parent(tmp_path)
        assert len(started) == 4
        pids += started
        parent.kill()
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()
    deadline = time.monotonic() + 10
    orphans = [pid for pid in pids if not ended_before(pid, deadline)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    assert orphans == []


def test_a_child_whose_parent_died_before_it_asked_for_the_signal_ends(tmp_path: Path) -> None:
    command = own_command("guard", "--", "/bin/sh", "-c", "echo it ran")
    environment = current_environment({PARENT_VARIABLE: "1"})
    result = subprocess.run(command, env=environment, capture_output=True, timeout=20)
    assert result.returncode == EXIT_INTERNAL
    assert result.stdout == b""


def test_the_guard_becomes_the_program_without_the_parents_libraries(tmp_path: Path) -> None:
    command = own_command(
        "guard", "--", "/bin/sh", "-c", "echo $$ ${LD_LIBRARY_PATH:-none}; exit 7"
    )
    environment = current_environment({"LD_LIBRARY_PATH": str(tmp_path)})
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=20)
    assert output.split() == [str(process.pid).encode(), b"none"]
    assert process.returncode == 7


def test_the_guard_says_what_it_cannot_start(tmp_path: Path) -> None:
    command = own_command("guard", "--", str(tmp_path / "none"))
    result = subprocess.run(command, env=current_environment({}), capture_output=True, timeout=20)
    assert result.returncode == EXIT_CANNOT_BOOT
    assert b"No such file" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--",), ("--hold", "x"), ("ls",)])
def test_the_guard_explains_its_arguments(arguments: tuple[str, ...]) -> None:
    command = own_command("guard", *arguments)
    result = subprocess.run(command, env=current_environment({}), capture_output=True, timeout=20)
    assert result.returncode == EXIT_USAGE
    assert b"usage: guard" in result.stderr


def test_a_held_lock_lives_as_long_as_the_program_and_its_forks(tmp_path: Path) -> None:
    lock = str(tmp_path / "in-use")
    environment = current_environment({})
    holder = subprocess.Popen(
        own_command("guard", "--hold", lock, "--", "/bin/sh", "-c", "echo up; sleep 1000 & wait"),
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"up\n"
    impatient = (
        "import sys, appliance.supervisor.guard as guard\n"
        "guard.LOCK_WAIT_S = 0.2\n"
        "guard.main(sys.argv[1:])\n"
    )
    second = [sys.executable, "-c", impatient, "--hold", lock, "--", "/bin/echo", "mine"]
    result = subprocess.run(second, env=environment, capture_output=True, timeout=20)
    assert result.returncode == EXIT_ALREADY_RUNNING
    assert b"is used by an earlier process" in result.stderr
    holder.kill()
    holder.wait()
    result = subprocess.run(second, env=environment, capture_output=True, timeout=20)
    assert result.returncode == EXIT_ALREADY_RUNNING, "its fork still lives"
    os.killpg(holder.pid, signal.SIGKILL)
    holder.stdout.close()
    result = subprocess.run(
        own_command("guard", "--hold", lock, "--", "/bin/echo", "mine"),
        env=environment,
        capture_output=True,
        timeout=20,
    )
    assert result.stdout == b"mine\n"


def test_a_clean_exit_is_clean_although_a_thread_watches_the_parent() -> None:
    program = "from appliance.supervisor.guard import die_with_parent as d\nd()\nprint('ok')"
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=current_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read() == b"ok\n"
        assert process.wait(20) == 0
        process.stdin.close()
        process.stdout.close()


def test_a_command_started_by_hand_does_not_watch_for_a_parent() -> None:
    program = "from appliance.supervisor.guard import die_with_parent as d\nd()\nprint(input())"
    environment = current_environment({})
    del environment[PARENT_VARIABLE]
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        input=b"typed\n",
        capture_output=True,
        timeout=20,
    )
    assert result.stdout == b"typed\n"


def test_the_guard_imports_next_to_nothing() -> None:
    program = (
        "import sys; before = set(sys.modules); import appliance.supervisor.guard;"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        env=current_environment({}),
        capture_output=True,
        text=True,
        timeout=20,
    )
    heavy = {"asyncio", "ctypes", "json", "logging", "msgspec", "psutil", "subprocess", "threading"}
    assert not heavy & set(result.stdout.split())


async def test_spawning_from_another_thread_is_refused(tmp_path: Path) -> None:
    from appliance.supervisor.child import Child, ChildSpec

    async def run_one() -> None:
        child = Child(ChildSpec(name="x", command=("/bin/true",), directory=tmp_path))
        child.start()
        await child.run()

    with pytest.raises(AssertionError):
        await asyncio.to_thread(asyncio.run, run_one())
