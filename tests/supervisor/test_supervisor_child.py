"""Real children: small Python programs that behave, crash, hang or lie."""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest

from appliance.supervisor.child import Child, ChildSpec, Probe
from appliance.supervisor.machine import Policy

pytestmark = pytest.mark.integration

QUICK = Policy(
    start_timeout_s=20.0, stop_timeout_s=5.0, backoff_first_s=0.01, backoff_cap_s=0.05, restarts=5
)
PREAMBLE = """
import os, signal, subprocess, sys
from appliance.supervisor.guard import claim_stdout, die_with_parent, read_boot_line
status = claim_stdout()
"""
WELL_BEHAVED = PREAMBLE + "die_with_parent()\nstatus.ready()\nsignal.pause()\n"


def child_of(
    tmp_path: Path,
    program: str,
    *,
    policy: Policy = QUICK,
    boot_line: str = "",
    probe: Probe | None = None,
) -> Child:
    spec = ChildSpec(
        name="probe-me" if probe else "own",
        command=(sys.executable, "-c", program),
        directory=tmp_path,
        policy=policy,
        boot_line=boot_line,
        probe=probe,
    )
    return Child(spec, jitter=lambda: 0.0)


@contextlib.asynccontextmanager
async def living(child: Child) -> AsyncIterator[Child]:
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        life = group.create_task(child.run())
        child.start()
        yield child
        life.cancel()


async def gone(pid: int, timeout_s: float = 10.0) -> None:
    """Waits for the end of any process, ours or not."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def test_a_child_is_ready_when_it_says_so_and_stops_when_asked(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, WELL_BEHAVED)) as child:
        await child.settled("ready", "failed")
        status = child.status()
        assert (status.state, status.restarts, status.detail) == ("ready", 0, "")
        assert status.pid is not None
        assert status.rss_bytes > 1_000_000
        assert os.getsid(status.pid) == status.pid != os.getsid(0)
        child.stop(5.0)
        await child.settled("stopped")
        assert child.pid is None
        assert not psutil.pid_exists(status.pid)


async def test_a_killed_child_comes_back(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, WELL_BEHAVED)) as child:
        for restarts in range(3):
            await child.settled("ready", "failed")
            assert child.status().restarts == restarts
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await child.settled("backing_off")
            assert child.status().detail == "was ended by SIGKILL"
        await child.settled("ready")


async def test_a_child_that_cannot_boot_is_not_started_again_until_asked(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "with open('starts', 'a') as file: file.write('x')\n"
        "if not os.path.exists('model'):\n"
        "    status.cannot_boot('no model', 'run: sluice models get')\n"
        "    sys.exit(78)\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    async with living(child_of(tmp_path, program)) as child:
        assert await child.settled("failed", "backing_off", "ready") == "failed"
        assert "no model (run: sluice models get)" in child.status().detail
        assert (tmp_path / "starts").read_text() == "x"
        (tmp_path / "model").touch()
        child.retry()
        assert await child.settled("failed", "ready") == "ready"
        assert child.status().restarts == 0


async def test_the_exit_status_alone_says_cannot_boot_with_the_last_words(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, "import sys; print('bad cfg'); sys.exit(78)")) as child:
        assert await child.settled("failed", "backing_off") == "failed"
        assert child.status().detail == "cannot start as configured: bad cfg"
    program = "import sys; sys.stderr.write('bad cfg'); sys.exit(78)"
    async with living(child_of(tmp_path, program)) as child:
        assert await child.settled("failed", "backing_off") == "failed"
        assert child.status().detail == "cannot start as configured: bad cfg"


async def test_a_crash_loop_is_given_up(tmp_path: Path) -> None:
    program = "import sys; open('starts', 'a').write('x'); sys.exit('boom')"
    async with living(child_of(tmp_path, program)) as child:
        await child.settled("failed")
        assert "5 restarts in 60 s did not help" in child.status().detail
        assert "boom" in child.status().detail
        assert (tmp_path / "starts").read_text() == "x" * 6


async def test_a_program_that_does_not_exist_fails_at_once(tmp_path: Path) -> None:
    spec = ChildSpec(name="no", command=(str(tmp_path / "no"),), directory=tmp_path)
    async with living(Child(spec)) as child:
        assert await child.settled("failed", "backing_off") == "failed"
        assert "could not be started" in child.status().detail


async def test_a_child_that_ignores_sigterm_is_killed_with_all_it_started(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "helper = subprocess.Popen(['sleep', '1000'])\n"
        "status.progress(f'helper {helper.pid}')\n"
        "open('helper', 'w').write(str(helper.pid))\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    async with living(child_of(tmp_path, program)) as child:
        await child.settled("ready")
        helper, pid = int((tmp_path / "helper").read_text()), child.pid
        child.stop(0.2)
        assert child.state == "stopping"
        await child.settled("stopped")
        assert pid is not None
        await gone(pid)
        await gone(helper)


async def test_a_crash_takes_what_the_child_had_started_with_it(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "helper = subprocess.Popen(['sleep', '1000'])\n"
        "open('helper', 'w').write(str(helper.pid))\n"
        "sys.exit('dead')\n"
    )
    async with living(child_of(tmp_path, program, policy=Policy(restarts=0))) as child:
        await child.settled("failed")
        await gone(int((tmp_path / "helper").read_text()))


async def test_a_helper_that_keeps_the_pipes_open_does_not_hide_the_death(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "helper = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "open('helper', 'w').write(str(helper.pid))\n"
        "sys.exit('dead')\n"
    )
    async with living(child_of(tmp_path, program, policy=Policy(restarts=0))) as child:
        await child.settled("failed")
        assert "dead" in child.status().detail
        os.kill(int((tmp_path / "helper").read_text()), signal.SIGKILL)


async def test_a_child_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    policy = Policy(start_timeout_s=0.3, restarts=1, backoff_first_s=0.01)
    async with living(child_of(tmp_path, "import time; time.sleep(1000)", policy=policy)) as child:
        await child.settled("failed")
        assert "not ready after 0.3 s" in child.status().detail


async def test_a_foreign_program_is_probed_until_it_answers(tmp_path: Path) -> None:
    asked = 0

    async def answers_the_third_time() -> bool:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise ConnectionRefusedError
        return asked == 3

    program = 'import time; print(\'{"event":"cannot_boot"}\', flush=True); time.sleep(1000)'
    child = child_of(tmp_path, program, probe=answers_the_third_time)
    async with living(child):
        assert await child.settled("ready", "failed") == "ready"
        assert asked == 3


async def test_cancelling_leaves_no_process(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nstatus.ready()\nsignal.pause()\n"
    )
    async with living(child_of(tmp_path, program)) as child:
        await child.settled("ready")
        pid = child.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_a_stop_that_comes_during_the_spawn_is_not_lost(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, WELL_BEHAVED)) as child:
        child.stop(50.0)
        async with asyncio.timeout(20.0):
            assert await child.settled("stopped", "ready") == "stopped"


async def test_a_restart_gives_a_new_process_and_no_crash(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, WELL_BEHAVED)) as child:
        await child.settled("ready")
        first = child.pid
        child.restart()
        await child.settled("starting")
        await child.settled("ready")
        assert child.pid != first
        assert child.status().restarts == 0


async def test_the_boot_line_reaches_the_child_and_not_the_process_list(tmp_path: Path) -> None:
    program = PREAMBLE + (
        "line = read_boot_line()\n"
        "die_with_parent()\n"
        "open('got', 'wb').write(line)\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    secret = msgspec.json.encode({"url": "unix://sluice:s3cret@/sock", "text": "密码" * 20_000})
    child = child_of(tmp_path, program, boot_line=secret.decode())
    async with living(child):
        await child.settled("ready", "failed")
        assert (tmp_path / "got").read_bytes() == secret + b"\n"
        process = psutil.Process(child.pid)
        assert "s3cret" not in str(process.cmdline())
        assert "s3cret" not in str(process.environ())
        assert "s3cret" not in repr(child.spec)


async def once_ready_stopped(made: Child) -> None:
    async with living(made) as child:
        assert await child.settled("ready", "failed") == "ready"
        child.stop(5.0)
        await child.settled("stopped")


async def test_what_a_child_prints_is_a_log_line_and_never_a_status(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = PREAMBLE + (
        'print(\'{"event":"cannot_boot"}\', flush=True)\n'
        "os.write(1, b'from C \\x1b[2J\\n')\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    await once_ready_stopped(child_of(tmp_path, program))
    lines = [r.message for r in caplog.records if r.name == "sluice.child.own"]
    assert '{"event":"cannot_boot"}' in lines
    assert "from C \\x1b[2J" in lines


async def test_garbage_on_the_status_channel_is_a_log_line(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "os.write(1, b'\\xff{\\n[]\\n{\"event\":\"dance\"}\\n' + b'z' * 100_000 + b'\\n')\n"
        'os.write(1, b\'{"event":"ready","more":1}\\n\')\n'
        "signal.pause()\n"
    )
    async with living(child_of(tmp_path, program)) as child:
        assert await child.settled("ready", "failed") == "ready"


async def test_a_flood_of_output_is_bounded_and_its_end_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = (
        "import sys\n"
        "for i in range(50_000): sys.stderr.write(f'line {i} of a flood\\n')\n"
        "sys.exit('the real reason')\n"
    )
    async with living(child_of(tmp_path, program, policy=Policy(restarts=0))) as child:
        await child.settled("failed")
        assert "the real reason" in child.status().detail
    assert len(caplog.records) < 5_000


async def test_the_environment_of_a_child_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SLUICE_KEY", "secret")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    (tmp_path / ".env").write_text("FROM_DOTENV=evil\n")
    program = PREAMBLE + (
        "import dotenv\n"
        "dotenv.load_dotenv('.env')\n"
        "import json\n"
        "open('environment', 'w').write(json.dumps(dict(os.environ)))\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    async with living(child_of(tmp_path, program)) as child:
        assert await child.settled("ready", "failed") == "ready"
    got = msgspec.json.decode((tmp_path / "environment").read_bytes(), type=dict[str, str])
    assert not {"LD_PRELOAD", "SLUICE_KEY", "PYTHONINSPECT", "FROM_DOTENV"} & got.keys()


async def test_a_child_creates_private_files(tmp_path: Path) -> None:
    async with living(child_of(tmp_path, "open('x', 'w'); " + WELL_BEHAVED.strip())) as child:
        assert await child.settled("ready", "failed") == "ready"
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


RECORDS = PREAMBLE + (
    "import logging\n"
    "from appliance.supervisor.records import log_to_supervisor\n"
    "log_to_supervisor('info')\n"
)


async def test_what_a_child_logs_keeps_its_level_and_its_traceback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = RECORDS + (
        "logging.warning('the store is away')\n"
        "try: {}['x']\n"
        "except KeyError: logging.exception('a step failed \\x1b[2J')\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    await once_ready_stopped(child_of(tmp_path, program))
    warning, error = (r for r in caplog.records if r.name == "sluice.child.own")
    assert (warning.levelno, warning.message) == (logging.WARNING, "the store is away")
    assert (error.levelno, error.message) == (logging.ERROR, "a step failed \\x1b[2J")
    assert (error.exc_text or "").endswith("KeyError: 'x'")


async def test_a_crash_is_told_once_with_its_reason_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    program = RECORDS + (
        "status.progress('half', 50)\n"
        "logging.warning('few cells')\n"
        "logging.info('the store answers again')\n"
        "sys.exit(1)\n"
    )
    once = Policy(start_timeout_s=20.0, backoff_first_s=0.0, restarts=1)
    async with living(child_of(tmp_path, program, policy=once)) as child:
        await child.settled("failed")
    told = [(r.levelno, r.message) for r in caplog.records if r.name == "sluice.supervisor"]
    reason = "ended by itself with status 1: few cells"
    assert told == [
        (logging.INFO, "own is starting"),
        (logging.WARNING, f"own {reason}; it is started again in 0.0 s"),
        (logging.INFO, "own is starting"),
        (
            logging.ERROR,
            f"own is given up: 1 restarts in 60 s did not help; last time it {reason}",
        ),
    ]


async def test_what_nobody_catches_is_one_record_and_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    program = RECORDS + "raise ValueError('out of cells')\n"
    async with living(child_of(tmp_path, program, policy=Policy(restarts=0))) as child:
        await child.settled("failed")
        assert child.status().detail.endswith("with status 1: ValueError: out of cells")
    (said,) = (r for r in caplog.records if r.name == "sluice.child.own")
    assert said.levelno == logging.CRITICAL
    assert (said.exc_text or "").startswith("Traceback")
