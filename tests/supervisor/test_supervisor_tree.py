"""Several children: the order of starts and stops, and one deadline for all."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from appliance.errors import Conflict, NotFound
from appliance.schema.status import ChildStatus
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.machine import Policy
from appliance.supervisor.tree import OnChange, Tree

pytestmark = pytest.mark.integration

QUICK = Policy(start_timeout_s=20.0, backoff_first_s=0.01, backoff_cap_s=0.05, restarts=3)
PREAMBLE = """
import os, signal, sys
from appliance.supervisor.guard import claim_stdout, die_with_parent
def note(what):
    with open('events', 'a') as file: file.write(what + '\\n')
def stop(*_):
    note('-' + sys.argv[1])
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
status = claim_stdout()
die_with_parent()
note('+' + sys.argv[1])
"""
GOOD = PREAMBLE + "status.ready()\nsignal.pause()\n"
NEVER_READY = PREAMBLE + "signal.pause()\n"
DEAF = PREAMBLE + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nstatus.ready()\nsignal.pause()\n"
UNBOOTABLE = PREAMBLE + "status.cannot_boot('no')\nsys.exit(78)\n"


def spec_of(
    tmp_path: Path, name: str, program: str = GOOD, *, needs: tuple[str, ...] | None = None
) -> ChildSpec:
    command = (sys.executable, "-c", program, name)
    return ChildSpec(name=name, command=command, directory=tmp_path, needs=needs, policy=QUICK)


def events(tmp_path: Path) -> list[str]:
    return (tmp_path / "events").read_text().split()


@contextlib.asynccontextmanager
async def running(*specs: ChildSpec, on_change: OnChange | None = None) -> AsyncIterator[Tree]:
    tree = Tree(specs, on_change=on_change)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(tree.run())
        yield tree
        await tree.stop(10.0)


async def test_children_start_in_order_and_stop_in_the_opposite_order(tmp_path: Path) -> None:
    specs = [spec_of(tmp_path, name) for name in ("store", "index", "worker")]
    async with running(*specs) as tree:
        assert (await tree.wait_ready("worker", 20.0)).state == "ready"
        assert [status.name for status in tree.statuses()] == ["store", "index", "worker"]
        assert {status.state for status in tree.statuses()} == {"ready"}
        pids = [status.pid for status in tree.statuses()]
    assert events(tmp_path) == ["+store", "+index", "+worker", "-worker", "-index", "-store"]
    assert {status.state for status in tree.statuses()} == {"stopped"}
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_child_waits_for_those_it_needs_and_for_no_other(tmp_path: Path) -> None:
    specs = [
        spec_of(tmp_path, "store", NEVER_READY),
        spec_of(tmp_path, "index", needs=()),
        spec_of(tmp_path, "worker", needs=("store",)),
    ]
    async with running(*specs) as tree:
        assert (await tree.wait_ready("index", 20.0)).state == "ready"
        assert tree.statuses()[2].state == "stopped"


async def test_a_failed_child_stops_nobody_and_its_retry_lets_the_others_go_on(
    tmp_path: Path,
) -> None:
    fixable = PREAMBLE + (
        "if not os.path.exists('fixed'):\n"
        "    status.cannot_boot('no')\n"
        "    sys.exit(78)\n"
        "status.ready()\n"
        "signal.pause()\n"
    )
    specs = [
        spec_of(tmp_path, "index"),
        spec_of(tmp_path, "store", fixable, needs=()),
        spec_of(tmp_path, "worker"),
    ]
    async with running(*specs) as tree:
        assert (await tree.wait_ready("store", 20.0)).state == "failed"
        assert (await tree.wait_ready("index", 20.0)).state == "ready"
        assert tree.statuses()[2].state == "stopped"
        (tmp_path / "fixed").touch()
        tree.retry("store")
        assert (await tree.wait_ready("worker", 20.0)).state == "ready"


async def test_a_crash_later_leaves_the_others_running(tmp_path: Path) -> None:
    async with running(spec_of(tmp_path, "store"), spec_of(tmp_path, "worker")) as tree:
        await tree.wait_ready("worker", 20.0)
        store, worker = tree.statuses()
        assert store.pid is not None
        os.kill(store.pid, signal.SIGKILL)
        await tree._children["store"].settled("backing_off")
        assert (await tree.wait_ready("store", 20.0)).restarts == 1
        assert tree.statuses()[1].pid == worker.pid


async def test_one_deadline_holds_although_every_child_is_deaf(tmp_path: Path) -> None:
    specs = [spec_of(tmp_path, name, DEAF) for name in ("a", "b", "c")]
    async with running(*specs) as tree:
        await tree.wait_ready("c", 20.0)
        pids = [status.pid for status in tree.statuses()]
        before = asyncio.get_running_loop().time()
        await tree.stop(1.5)
        assert asyncio.get_running_loop().time() - before < 3.0
        assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_deaf_child_does_not_cost_the_store_its_clean_stop(tmp_path: Path) -> None:
    async with running(spec_of(tmp_path, "store"), spec_of(tmp_path, "worker", DEAF)) as tree:
        await tree.wait_ready("worker", 20.0)
        await tree.stop(2.0)
    assert events(tmp_path) == ["+store", "+worker", "-store"]


async def test_a_stop_before_everything_started_starts_nothing_more(tmp_path: Path) -> None:
    specs = [spec_of(tmp_path, "store", NEVER_READY), spec_of(tmp_path, "worker")]
    async with running(*specs) as tree:
        await tree._children["store"].settled("starting")
        await tree.stop(5.0)
        assert {status.state for status in tree.statuses()} == {"stopped"}
    assert "+worker" not in (events(tmp_path) if (tmp_path / "events").exists() else [])


async def test_changes_are_told_once_each_in_order(tmp_path: Path) -> None:
    heard: list[ChildStatus] = []
    async with running(spec_of(tmp_path, "store"), on_change=heard.append) as tree:
        await tree.wait_ready("store", 20.0)
        tree.restart("store")
        await tree._children["store"].settled("starting")
        await tree.wait_ready("store", 20.0)
    assert [status.state for status in heard] == [
        *("starting", "ready", "stopping", "starting", "ready", "stopping", "stopped"),
    ]


async def test_wait_ready_says_what_a_late_child_is_doing(tmp_path: Path) -> None:
    slow = PREAMBLE + "status.progress('loading 40 %')\nsignal.pause()\n"
    heard: asyncio.Queue[ChildStatus] = asyncio.Queue()
    async with running(spec_of(tmp_path, "worker", slow), on_change=heard.put_nowait) as tree:
        assert (await heard.get()).detail == ""
        assert (await heard.get()).detail == "loading 40 %"
        status = await tree.wait_ready("worker", 0.01)
        assert (status.state, status.detail) == ("starting", "loading 40 %")


async def test_cancelling_the_tree_kills_everything(tmp_path: Path) -> None:
    tree = Tree([spec_of(tmp_path, "a", DEAF), spec_of(tmp_path, "b", DEAF)])
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        life = group.create_task(tree.run())
        await tree.wait_ready("b", 20.0)
        pids = [status.pid for status in tree.statuses()]
        life.cancel()
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_commands_name_an_existing_child_of_a_running_tree(tmp_path: Path) -> None:
    async with running(spec_of(tmp_path, "store")) as tree:
        await tree.wait_ready("store", 20.0)
        with pytest.raises(NotFound) as caught:
            tree.restart("stoer")
        assert "there are: store" in caught.value.hint
        await tree.stop(5.0)
        with pytest.raises(Conflict):
            tree.retry("store")


async def test_a_tree_without_children_runs_and_stops() -> None:
    async with running() as tree:
        assert tree.statuses() == ()


async def test_a_child_may_be_added_and_removed_while_the_others_run(tmp_path: Path) -> None:
    async with running(spec_of(tmp_path, "store")) as tree:
        await tree.wait_ready("store", 20.0)
        tree.add(spec_of(tmp_path, "extra", needs=("store",)))
        with pytest.raises(Conflict):
            tree.add(spec_of(tmp_path, "extra"))
        with pytest.raises(NotFound):
            tree.add(spec_of(tmp_path, "lost", needs=("nobody",)))
        assert (await tree.wait_ready("extra", 20.0)).state == "ready"
        with pytest.raises(Conflict):
            await tree.remove("store", 5.0)
        await tree.remove("extra", 5.0)
        assert [status.name for status in tree.statuses()] == ["store"]
        tree.add(spec_of(tmp_path, "extra", needs=("store",)))
        await tree.wait_ready("extra", 20.0)
    assert events(tmp_path) == ["+store", "+extra", "-extra", "+extra", "-extra", "-store"]


async def test_a_child_that_failed_can_be_removed(tmp_path: Path) -> None:
    async with running(spec_of(tmp_path, "store")) as tree:
        await tree.wait_ready("store", 20.0)
        tree.add(spec_of(tmp_path, "extra", UNBOOTABLE))
        assert (await tree.wait_ready("extra", 20.0)).state == "failed"
        await tree.remove("extra", 5.0)
        with pytest.raises(NotFound):
            await tree.wait_ready("extra", 1.0)
