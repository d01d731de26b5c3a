"""The real embedded index, as a supervised child, through the client the appliance uses."""

import asyncio
import contextlib
import logging
import math
import os
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from appliance.errors import Conflict, Invalid, NotFound, Unavailable
from appliance.supervisor.directory import socket_directory
from appliance.supervisor.environment import current_environment
from appliance.supervisor.machine import Policy
from appliance.supervisor.milvus import EmbeddedMilvus, embedded_milvus
from appliance.supervisor.tree import Tree
from appliance.vectors.client import Vectors
from appliance.vectors.rows import Row, entry_of

pytestmark = pytest.mark.integration

T = TypeVar("T")

DIMENSION = 16
POLICY = Policy(
    start_timeout_s=30.0, backoff_first_s=0.01, backoff_cap_s=0.1, restarts=50, stop_timeout_s=10.0
)
NASTY = (
    'a" or category != "',
    'x") or (1 == 1',
    "it's",
    "back\\slash",
    "\\",
    'quote"',
    "密码",
    "🙂\u2028\u202e",
    "%",
    "_",
    "{category}",
    "a' or 'a' == 'a",
    "",
)


def vector_of(seed: int) -> tuple[float, ...]:
    randomness = random.Random(seed)
    return tuple(randomness.gauss(0, 1) for _ in range(DIMENSION))


def row_of(number: int, *, category: str = "", language: str = "zh", digest: str = "d") -> Row:
    return Row(
        pk=f"e{number}:0",
        entry_id=f"e{number}",
        digest=f"{digest}{number}",
        category=category,
        language=language,
        vector=vector_of(number),
    )


def index_in(tmp_path: Path, policy: Policy) -> EmbeddedMilvus:
    sockets = tmp_path / "run"
    sockets.mkdir(mode=0o700, exist_ok=True)
    return embedded_milvus(tmp_path / "milvus", sockets, policy=policy)


async def once_it_is_back(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer of a server that was killed; until it is up again it refuses."""
    while True:
        try:
            return await ask()
        except Unavailable:
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def running(index: EmbeddedMilvus) -> AsyncIterator[Tree]:
    tree = Tree([index.child])
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        group.create_task(tree.run())
        status = await tree.wait_ready("milvus", 60.0)
        assert status.state == "ready", status
        yield tree
        await tree.stop(10.0)


@contextlib.asynccontextmanager
async def serving(
    tmp_path: Path, *, policy: Policy = POLICY
) -> AsyncIterator[tuple[Tree, Vectors]]:
    index = index_in(tmp_path, policy)
    async with running(index) as tree:
        vectors = await Vectors.open(index.uri, 20.0)
        try:
            yield tree, vectors
        finally:
            await vectors.close()


def pid_of(tree: Tree) -> int:
    pid = tree.statuses()[0].pid
    assert pid is not None
    return pid


async def found(
    vectors: Vectors, number: int, *, limit: int = 5, category: str | None = None
) -> list[str]:
    nominees = await vectors.search("faq", vector_of(number), limit, category=category)
    return [entry_of(nominee.pk) for nominee in nominees]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


async def test_the_nearest_phrasings_come_first_with_their_cosine(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        rows = [row_of(number) for number in range(600)]
        await vectors.upsert("faq", rows)
        for flushed in (False, True):
            if flushed:
                await vectors.flush("faq")
            nominees = await vectors.search("faq", vector_of(7), 20)
            expected = sorted(rows, key=lambda row: -cosine(row.vector, vector_of(7)))[:20]
            assert [n.pk for n in nominees] == [row.pk for row in expected]
            assert nominees[0].score == pytest.approx(1.0, abs=1e-5)
            for nominee, row in zip(nominees, expected, strict=True):
                assert nominee.score == pytest.approx(cosine(row.vector, vector_of(7)), abs=1e-5)


async def test_an_edit_is_live_at_once_and_a_deletion_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(1), row_of(2), row_of(3)])
        moved = Row(
            pk="e1:0", entry_id="e1", digest="new", category="", language="", vector=vector_of(99)
        )
        await vectors.upsert("faq", [row_of(1), moved])
        nearest = await vectors.search("faq", vector_of(99), 1)
        assert (nearest[0].pk, round(nearest[0].score, 4)) == ("e1:0", 1.0)
        await vectors.delete_rows("faq", ["e1", "e3", "unknown"])
        await vectors.delete_rows("faq", [])
        assert await found(vectors, 99) == ["e2"]
        assert await vectors.digests("faq") == {"e2:0": "d2"}


async def test_digests_of_more_rows_than_a_page_are_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.vectors.client.PAGE_ROWS", 100)
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        assert await vectors.digests("faq") == {}
        await vectors.upsert("faq", [row_of(number) for number in range(1_050)])
        await vectors.delete_rows("faq", [f"e{number}" for number in range(0, 1_050, 2)])
        expected = {f"e{number}:0": f"d{number}" for number in range(1, 1_050, 2)}
        assert await vectors.digests("faq") == expected


async def test_no_value_breaks_out_of_a_filter(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(0, category="secret")])
        for number, category in enumerate(NASTY, start=1):
            assert await found(vectors, 0, category=category) == []
            await vectors.delete_rows("faq", [category])
            await vectors.upsert("faq", [row_of(number, category=category)])
            assert await found(vectors, 0, category=category) == [f"e{number}"]
        assert await found(vectors, 0, category="secret") == ["e0"]
        assert len(await found(vectors, 0, limit=100)) == len(NASTY) + 1
        only = await vectors.search("faq", vector_of(0), 9, category="secret", language="en")
        assert only == []


async def test_a_poisoned_vector_is_refused_before_it_reaches_the_index(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        poison = Row(
            pk="p:0",
            entry_id="p",
            digest="d",
            category="",
            language="",
            vector=(math.nan,) * DIMENSION,
        )
        with pytest.raises(Invalid):
            await vectors.upsert("faq", [row_of(1), poison])
        with pytest.raises(Invalid):
            await vectors.search("faq", (math.nan,) * DIMENSION, 3)
        with pytest.raises(Invalid):
            await vectors.search("faq", (1.0, 2.0), 3)
        with pytest.raises(Invalid):
            await vectors.search("faq", vector_of(1), 0)
        assert await vectors.digests("faq") == {}


async def test_unknown_collections_and_other_dimensions_are_told_apart(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        assert await vectors.collections() == []
        with pytest.raises(NotFound):
            await vectors.search("faq", vector_of(1), 1)
        with pytest.raises(NotFound):
            await vectors.upsert("faq", [row_of(1)])
        with pytest.raises(NotFound):
            await vectors.digests("faq")
        await vectors.ensure_collection("faq", DIMENSION)
        with pytest.raises(Conflict, match="16 numbers, not 32"):
            await vectors.ensure_collection("faq", 32)
        await vectors.drop("faq")
        await vectors.drop("faq")
        await vectors.ensure_collection("faq", 32)
        assert await vectors.collections() == ["faq"]
        with pytest.raises(Invalid):
            await vectors.drop("faq; x")


async def test_nothing_is_lost_or_doubled_by_kills_of_the_index(tmp_path: Path) -> None:
    async with serving(tmp_path) as (tree, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        written = 0
        for round_ in range(4):
            for _ in range(5):
                batch = [row_of(written + i) for i in range(20)]
                await vectors.upsert("faq", batch)
                written += len(batch)
            if round_ % 2:
                await vectors.flush("faq")
            await vectors.delete_rows("faq", [f"e{round_}"])
            os.kill(pid_of(tree), signal.SIGKILL)
            # The same connection finds the next process by itself.
            nominees = await once_it_is_back(lambda: vectors.search("faq", vector_of(50), 1_000))
            pks = [nominee.pk for nominee in nominees]
            assert len(pks) == len(set(pks)) == written - round_ - 1
        assert len(await vectors.digests("faq")) == written - 4


async def test_rows_of_a_log_that_outlived_its_flush_are_answered_once(tmp_path: Path) -> None:
    """The crash between manifest and log: Milvus Lite then answers each row twice."""
    import shutil

    log = tmp_path / "milvus" / "index" / "collections" / "faq" / "wal"
    async with serving(tmp_path) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(number) for number in range(50)])
        shutil.copytree(log, tmp_path / "saved")
        await vectors.flush("faq")
    shutil.copytree(tmp_path / "saved", log, dirs_exist_ok=True)
    assert list(log.glob("*.arrow"))
    async with running(index_in(tmp_path, POLICY)):
        assert not list(log.glob("*.arrow")), "the log is flushed before anybody asks"
    async with serving(tmp_path) as (_, vectors):
        assert len(await found(vectors, 3, limit=1_000)) == 50
        assert len(await vectors.digests("faq")) == 50


async def test_while_the_index_is_away_calls_end_in_time_and_later_ones_work(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (tree, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(1)])
        pid = pid_of(tree)
        os.kill(pid, signal.SIGSTOP)  # hung, not dead
        vectors._call_timeout_s = 0.5
        before = asyncio.get_running_loop().time()
        calls = [vectors.search("faq", vector_of(1), 1) for _ in range(20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, Unavailable) for result in results), results
        assert asyncio.get_running_loop().time() - before < 5.0
        tree.kill("milvus")
        vectors._call_timeout_s = 20.0
        assert await once_it_is_back(lambda: found(vectors, 1)) == ["e1"]


async def test_a_dead_index_is_known_without_waiting_and_comes_back_by_itself(
    tmp_path: Path,
) -> None:
    policy = Policy(start_timeout_s=30.0, backoff_first_s=600.0, backoff_cap_s=600.0)
    async with serving(tmp_path, policy=policy) as (tree, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(1)])
        vectors._call_timeout_s = 600.0  # who waited for it would not see the end of this test
        os.kill(pid_of(tree), signal.SIGKILL)
        calls = [vectors.search("faq", vector_of(1), 1) for _ in range(3)]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            assert outcome.reason == "refused"
        tree.retry("milvus")
        assert (await tree.wait_ready("milvus", 30.0)).state == "ready"
        assert await once_it_is_back(lambda: found(vectors, 1)) == ["e1"]


async def test_what_waits_ends_when_the_server_is_said_to_be_lost(tmp_path: Path) -> None:
    async with serving(tmp_path) as (tree, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(1)])
        pid = pid_of(tree)
        os.kill(pid, signal.SIGSTOP)  # it refuses nothing: only its supervisor can know
        while psutil.Process(pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        vectors._call_timeout_s = 600.0
        calls = [asyncio.ensure_future(vectors.search("faq", vector_of(1), 1)) for _ in range(3)]
        assert not (await asyncio.wait(calls, timeout=0.5))[0]
        vectors.lost()
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, Unavailable)
            assert outcome.reason == "lost"
        with pytest.raises(Unavailable):
            await vectors.flush("faq")
        os.kill(pid, signal.SIGCONT)
        vectors.found()
        assert await found(vectors, 1) == ["e1"]


async def test_a_wedged_index_is_killed_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.supervisor.child.WATCH_TIMEOUT_S", 0.2)
    policy = Policy(start_timeout_s=30.0, watch_every_s=0.05, misses=2, backoff_first_s=0.01)
    async with serving(tmp_path, policy=policy) as (tree, vectors):
        wedged = pid_of(tree)
        os.kill(wedged, signal.SIGSTOP)
        await tree._children["milvus"].settled("backing_off")
        assert (await tree.wait_ready("milvus", 30.0)).restarts == 1
        assert await vectors.collections() == []
        assert not psutil.pid_exists(wedged)


async def test_a_wrong_address_is_unavailable_in_time(tmp_path: Path) -> None:
    before = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await Vectors.open(f"unix:{tmp_path}/none.sock", 1.0)
    with pytest.raises(Unavailable):
        await Vectors.open("http://127.0.0.1:1", 1.0, token="x")
    assert asyncio.get_running_loop().time() - before < 10.0


async def test_a_closed_client_says_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, vectors):
        await vectors.close()
        await vectors.close()
        with pytest.raises(Unavailable, match="closed"):
            await vectors.collections()


async def test_a_collection_that_cannot_be_opened_is_set_aside_and_the_rest_lives(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as (_, vectors):
        for name in ("broken", "faq"):
            await vectors.ensure_collection(name, DIMENSION)
            await vectors.upsert(name, [row_of(1)])
            await vectors.flush(name)
    collections = tmp_path / "milvus" / "index" / "collections"
    files = list((collections / "broken").rglob("*.parquet"))
    assert files
    for file in files:
        file.write_bytes(b"")  # what a power cut leaves
    async with serving(tmp_path) as (_, vectors):
        assert await vectors.collections() == ["faq"]
        assert await found(vectors, 1) == ["e1"]
        await vectors.ensure_collection("broken", DIMENSION)
        assert await vectors.digests("broken") == {}
    assert (tmp_path / "milvus" / "damaged" / "broken").is_dir()


async def test_it_listens_on_its_socket_only_and_stops_when_asked(tmp_path: Path) -> None:
    async with serving(tmp_path) as (tree, _):
        process = psutil.Process(pid_of(tree))
        assert not process.net_connections("inet")
        assert (tmp_path / "run" / "milvus.sock").stat().st_mode & 0o777 == 0o600
        environment = process.environ()
        assert environment["PYTHON_DOTENV_DISABLED"] == "1"
        assert environment["TMPDIR"] == str(tmp_path / "milvus" / "tmp")
        await tree.stop(10.0)
        assert tree.statuses()[0].state == "stopped"
        assert not (tmp_path / "run" / "milvus.sock").exists(), "it was not stopped cleanly"


async def test_any_path_will_do(tmp_path: Path) -> None:
    strange = tmp_path / "数 %41#?[*&\\\"'"
    strange.mkdir()
    async with serving(strange) as (_, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        assert await vectors.collections() == ["faq"]


async def test_a_data_directory_with_a_long_path_gets_short_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = tmp_path / ("很长的 数据目录 " * 8)
    data.mkdir()
    index = embedded_milvus(data / "milvus", socket_directory(data, {}), policy=POLICY)
    async with running(index):
        vectors = await Vectors.open(index.uri, 20.0)
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.close()


async def test_a_server_on_the_network_is_used_with_the_same_code(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from milvus_lite.adapter.grpc.server import start_server_in_thread\n"
        "held = start_server_in_thread(sys.argv[1])\n"
        "print(held[2], flush=True)\n"
        "sys.stdin.read()\n"
    )
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, str(tmp_path / "data")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=current_environment({}),
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    vectors = await Vectors.open(f"http://127.0.0.1:{port}", 20.0, token="user:password")
    await vectors.ensure_collection("faq", DIMENSION)
    await vectors.upsert("faq", [row_of(number) for number in range(10)])
    assert await found(vectors, 3, limit=1) == ["e3"]
    await vectors.delete_rows("faq", ["e3"])
    assert len(await vectors.digests("faq")) == 9
    await vectors.close()
    server.kill()
    await server.wait()


async def test_nothing_reaches_the_terminal_and_everything_runs_on_one_thread(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path) as (tree, vectors):
        with pytest.raises(NotFound):
            await vectors.search("faq", vector_of(1), 1)
        os.kill(pid_of(tree), signal.SIGKILL)
        assert await vectors.collections() == []
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("vectors") for name in names) == 1
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert logging.getLogger("pymilvus").level == logging.CRITICAL


async def test_the_event_loop_is_never_blocked_by_the_import(tmp_path: Path) -> None:
    """A fresh interpreter, for here pymilvus is imported already."""
    program = (
        "import asyncio, sys\n"
        "from appliance.vectors.client import Vectors\n"
        "assert 'pymilvus' not in sys.modules\n"
        "async def main():\n"
        "    try:\n"
        "        await Vectors.open('unix:none', 0.1)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, 'pymilvus' in sys.modules)\n"
        "    print('pandas.core' in sys.modules)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", program), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert output.split() == [b"Unavailable", b"True", b"False"]


async def test_the_index_has_no_pandas_in_its_memory(tmp_path: Path) -> None:
    async with serving(tmp_path) as (tree, vectors):
        await vectors.ensure_collection("faq", DIMENSION)
        await vectors.upsert("faq", [row_of(1)])
        assert await found(vectors, 1) == ["e1"]
        mapped = [one.path for one in psutil.Process(pid_of(tree)).memory_maps()]
    assert [path for path in mapped if "pyarrow" in path]
    assert [path for path in mapped if "/pandas/" in path] == []
