"""The directory of snapshots gives back what is right or nothing, whatever happens to it."""

import errno
import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.worker import snapshots as module
from appliance.worker.snapshot_format import Snapshot
from appliance.worker.snapshot_writer import WAITING_SNAPSHOTS, SnapshotWriter
from appliance.worker.snapshots import Match, Snapshots, erase

pytestmark = pytest.mark.unit

WAIT_S = 30.0
STAMP = "model-and-build"
LARGE = 10_000_000


def snapshot(
    tokens: list[int], *, session: str = "s1", scope: str = "ann", cells: bytes = b"cells"
) -> Snapshot:
    return Snapshot(
        session_id=session,
        scope=scope,
        public_tokens=0,
        tokens=np.array(tokens, dtype=np.int32),
        cells=np.frombuffer(cells, dtype=np.uint8),
    )


def store(directory: Path, *, bound_bytes: int = LARGE, stamp: str = STAMP) -> Snapshots:
    return Snapshots(directory, bound_bytes=bound_bytes, stamp=stamp)


def get(from_store: Snapshots, tokens: list[int], scope: str = "ann") -> Snapshot | None:
    match = from_store.find(scope, tokens)
    return from_store.read(match, scope, tokens) if match else None


def only_file(directory: Path) -> Path:
    [path] = directory.iterdir()
    return path


def test_what_was_written_comes_back_for_a_longer_prompt(tmp_path: Path) -> None:
    assert store(tmp_path).write(snapshot([1, 2, 3], cells=b"abc"))
    later = store(tmp_path)
    match = later.find("ann", [1, 2, 3, 4])
    assert match
    assert match.tokens == 3
    found = later.read(match, "ann", [1, 2, 3, 4])
    assert found
    assert found.cells.tobytes() == b"abc"
    assert found.tokens.tolist() == [1, 2, 3]
    assert later.dropped == 0


def test_the_longest_common_beginning_wins(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(snapshot([1, 2, 9, 9, 9], session="s1"))
    one.write(snapshot([1, 2, 3], session="s2"))
    one.write(snapshot([7], session="s3"))
    found = get(one, [1, 2, 3, 4])
    assert found
    assert found.session_id == "s2"


def test_nobody_gets_the_text_of_somebody_else(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(snapshot([1, 2, 3], scope="ann"))
    assert get(one, [1, 2, 3], scope="bob") is None
    # not even when the file is put in the other's place
    path = only_file(tmp_path)
    path.rename(tmp_path / (module.file_name("s1", "bob", STAMP) + ".kv"))
    assert get(one, [1, 2, 3], scope="bob") is None
    forged = Match(only_file(tmp_path), 3)
    assert one.read(forged, "bob", [1, 2, 3]) is None
    assert one.dropped == 1


def test_another_model_or_build_finds_nothing(tmp_path: Path) -> None:
    store(tmp_path).write(snapshot([1, 2, 3]))
    other = store(tmp_path, stamp="another build")
    assert get(other, [1, 2, 3]) is None
    assert other.read(Match(only_file(tmp_path), 3), "ann", [1, 2, 3]) is None


def test_other_tokens_are_not_taken(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(snapshot([5, 6, 7]))
    assert one.find("ann", [1, 6, 7]) is None
    match = one.find("ann", [5, 6, 7])
    assert match
    store(tmp_path).write(snapshot([5, 8]))  # replaced between the finding and the reading
    assert one.read(match, "ann", [5, 6, 7]) is None
    assert get(one, [5, 8, 9]) is not None


@given(
    tokens=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50),
    cells=st.binary(min_size=1, max_size=400),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_anywhere_is_noticed(
    tmp_path_factory: pytest.TempPathFactory,
    tokens: list[int],
    cells: bytes,
    data: st.DataObject,
) -> None:
    directory = tmp_path_factory.mktemp("snapshots")
    store(directory).write(snapshot(tokens, cells=cells))
    path = only_file(directory)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    later = store(directory)
    assert get(later, tokens) is None
    assert later.dropped == 1
    assert not path.exists()


@given(length=st.integers(0, 300), extra=st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_cut_off_or_has_a_tail_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, length: int, extra: bytes
) -> None:
    directory = tmp_path_factory.mktemp("snapshots")
    store(directory).write(snapshot([1, 2, 3], cells=bytes(200)))
    path = only_file(directory)
    content = path.read_bytes()
    path.write_bytes(content[:length])
    assert get(store(directory), [1, 2, 3]) is None
    path.write_bytes(content + extra)
    assert get(store(directory), [1, 2, 3]) is None
    path.write_bytes(content)
    assert get(store(directory), [1, 2, 3]) is not None


class Write(NamedTuple):
    session: int
    size: int


@given(
    writes=st.lists(st.builds(Write, st.integers(0, 5), st.integers(1, 900)), max_size=20),
    bound_bytes=st.integers(500, 4000),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_and_the_newest_is_kept(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write], bound_bytes: int
) -> None:
    directory = tmp_path_factory.mktemp("snapshots")
    one = store(directory, bound_bytes=bound_bytes)
    for write in writes:
        wanted = snapshot([write.session], session=f"s{write.session}", cells=bytes(write.size))
        written = one.write(wanted)
        sizes = [path.stat().st_size for path in directory.iterdir()]
        assert sum(sizes) <= bound_bytes
        assert len(sizes) <= 6, "an older snapshot of the session was kept"
        if written:
            assert get(one, [write.session]) is not None
        else:
            assert write.size + 400 > bound_bytes, "it would have had room"


def test_the_least_recently_used_leave_first(tmp_path: Path) -> None:
    one = store(tmp_path)
    for number in (1, 2, 3):
        one.write(snapshot([number], session=f"s{number}", cells=bytes(1000)))
    for path in tmp_path.iterdir():  # all of the same, earlier age, so that only use counts
        os.utime(path, (1000, 1000))
    assert get(one, [1]) is not None
    held = sum(path.stat().st_size for path in tmp_path.iterdir())
    small = store(tmp_path, bound_bytes=held)
    small.write(snapshot([4, 4], session="s4", cells=bytes(1500)))
    assert get(small, [1]) is not None
    assert get(small, [4, 4]) is not None
    assert get(small, [2]) is None
    assert get(small, [3]) is None


def test_files_and_directory_are_private_and_names_say_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "snapshots"
    store(directory).write(snapshot([1], session="secret-session", scope="../../etc"))
    path = only_file(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert "secret" not in path.name
    assert "etc" not in path.name


def test_a_forgotten_session_leaves_nothing_behind(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(snapshot([1], session="s1"))
    one.write(snapshot([2], session="s2"))
    store(tmp_path, stamp="another model").write(snapshot([1], session="s1"))
    half_written = tmp_path / (module.file_name("s1", "ann", STAMP) + ".1234.part")
    half_written.write_bytes(b"what a crash left")
    assert one.session_ids() == {"s1", "s2"}
    erase(tmp_path, "s1")
    assert one.session_ids() == {"s2"}
    assert len(list(tmp_path.iterdir())) == 1
    erase(tmp_path / "never made", "s1")


def test_a_directory_that_cannot_be_used_costs_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a directory")
    one = store(tmp_path / "file")
    for _ in range(3):
        assert not one.write(snapshot([1]))
        assert one.find("ann", [1]) is None
    assert caplog.text.count("no snapshot was written") == 1


@contextmanager
def small_files() -> Iterator[None]:
    """Writing a file beyond 10,000 bytes fails, as on a disk that is full.

    Not a fixture: the limit must be gone before the test's outcome is reported, since that
    report may go to a longer file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_half_way_leaves_the_older_snapshot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = store(tmp_path)
    assert one.write(snapshot([1, 2]))
    with small_files():
        for _ in range(2):
            assert not one.write(snapshot([1, 2, 3], cells=bytes(20_000)))
    assert caplog.text.count(os.strerror(errno.EFBIG)) == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".kv"]
    found = get(one, [1, 2, 3])
    assert found
    assert found.tokens.tolist() == [1, 2]


def test_a_disk_that_is_nearly_full_is_left_to_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FREE_BYTES_KEPT", 2**62)
    assert not store(tmp_path).write(snapshot([1]))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_vanishes_between_finding_and_reading_is_no_match(tmp_path: Path) -> None:
    one = store(tmp_path)
    one.write(snapshot([1]))
    match = one.find("ann", [1])
    assert match
    match.path.unlink()
    assert one.read(match, "ann", [1]) is None
    assert one.dropped == 0


def test_two_workers_share_a_directory(tmp_path: Path) -> None:
    """Each writes and reads the same sessions, in a directory too small for all of them."""
    problems: list[str] = []

    def work(own: int) -> None:
        one = store(tmp_path, bound_bytes=6_000)
        for round_number in range(60):
            session = round_number % 5
            cells = bytes([session]) * (200 + 10 * ((round_number + own) % 30))
            one.write(snapshot([session, 1, 2], session=f"s{session}", cells=cells))
            found = get(one, [(session + own) % 5, 1, 2, 3])
            if found is not None and set(found.cells.tobytes()) != {int(found.tokens[0])}:
                problems.append(f"cells of another session for {found.session_id}")
        if one.dropped:
            problems.append(f"{one.dropped} files were dropped")

    workers = [threading.Thread(target=work, args=(own,)) for own in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(WAIT_S)
    assert problems == []
    assert [path.suffix for path in tmp_path.iterdir() if path.suffix != ".kv"] == []


class Held(Snapshots):
    """A disk that is slow until it is let go."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, bound_bytes=LARGE, stamp=STAMP)
        self.begun = threading.Event()
        self.let_go = threading.Event()

    def write(self, snapshot: Snapshot) -> bool:
        self.begun.set()
        assert self.let_go.wait(WAIT_S)
        return super().write(snapshot)


def test_a_slow_disk_gives_up_the_oldest_and_stops_nobody(tmp_path: Path) -> None:
    disk = Held(tmp_path)
    writer = SnapshotWriter(disk)
    writer.start()
    writer.save(snapshot([0], session="first"))
    assert disk.begun.wait(WAIT_S)
    for number in range(WAITING_SNAPSHOTS + 3):
        writer.save(snapshot([number], session=f"s{number}"))
    writer.save(snapshot([99, 99], session=f"s{WAITING_SNAPSHOTS}"))
    disk.let_go.set()
    assert writer.flush(WAIT_S)
    writer.close(WAIT_S)
    assert writer.given_up == 3
    kept = {"first"} | {f"s{n}" for n in range(3, WAITING_SNAPSHOTS + 3)}
    assert store(tmp_path).session_ids() == kept
    assert get(store(tmp_path), [99, 99]) is not None


def test_a_session_erased_while_its_snapshot_waits_stays_erased(tmp_path: Path) -> None:
    disk = Held(tmp_path)
    writer = SnapshotWriter(disk)
    writer.start()
    writer.save(snapshot([1], session="s1"))
    assert disk.begun.wait(WAIT_S)
    writer.save(snapshot([2], session="s2"))
    writer.forget("s1")
    writer.forget("s2")
    writer.save(snapshot([2, 3], session="s2"))
    disk.let_go.set()
    writer.close(WAIT_S)
    assert list(tmp_path.iterdir()) == []


def test_what_is_on_its_way_to_the_disk_is_found(tmp_path: Path) -> None:
    disk = Held(tmp_path)
    writer = SnapshotWriter(disk)
    writer.start()
    writer.save(snapshot([1], session="s1"))
    assert disk.begun.wait(WAIT_S)
    writer.save(snapshot([2], session="s2"))
    writer.save(snapshot([3], session="s3", scope="bob"))
    assert [one.session_id for one in writer.unwritten("ann")] == ["s1", "s2"]
    disk.let_go.set()
    assert writer.flush(WAIT_S)
    assert writer.unwritten("ann") == []
    writer.close(WAIT_S)
