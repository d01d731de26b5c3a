"""The launcher: unpacked once, whole or not at all, with words for whatever prevents it."""

import os
import shutil
import signal
import subprocess
import zipfile
from pathlib import Path

import pytest
from conftest import Bench

pytestmark = pytest.mark.integration

WAIT = "#!/bin/sh\necho up\nread line\nexit 0\n"
NOBODY = 65534
MIB = 1 << 20


def text_after(run: "subprocess.CompletedProcess[str]", status: int) -> str:
    assert (run.returncode, run.stdout) == (status, ""), run.stderr
    return run.stderr


def mounted(folder: Path, options: str) -> tuple[str, ...]:
    """The beginning of a command that sees an empty file system on `folder`."""
    folder.mkdir(parents=True)
    own = ("unshare", "--map-root-user", "--mount", "sh", "-c")
    mount = f"mount -t tmpfs -o {options} none '{folder}'"
    if subprocess.run([*own, mount], capture_output=True).returncode:
        pytest.skip("this system lets nobody mount a file system of their own")
    return (*own, f'{mount} && exec "$@"', "sh")


def test_the_first_start_unpacks_and_later_ones_only_run(bench: Bench) -> None:
    file = bench.make({"data/einträge.txt": b"x" * 100_000, "empty": b""})
    first = bench.run(file, "a b", "", "中")
    program, named, *arguments = first.stdout.split("\n")[:-1]
    assert (named, arguments) == (str(file), ["a b", "", "中"])
    tree = Path(program).parent
    assert bench.left() == [tree.name]
    assert (tree / "data/einträge.txt").read_bytes() == b"x" * 100_000
    assert (tree / "empty").read_bytes() == b""
    written = [(one, one.stat().st_mtime_ns, one.stat().st_ino) for one in tree.rglob("*")]
    assert bench.run(file).stdout.startswith(program)
    assert [(one, one.stat().st_mtime_ns, one.stat().st_ino) for one in tree.rglob("*")] == written


def test_modes_and_links_are_kept_and_all_is_private(bench: Bench) -> None:
    tree = bench.folder / "tree-1.0"
    tree.mkdir()
    (tree / "real.so").write_bytes(b"library")
    (tree / "name.so").symlink_to("real.so")
    program = bench.run(bench.make()).stdout.split("\n")[0]
    unpacked = Path(program).parent
    assert os.readlink(unpacked / "name.so") == "real.so"
    assert (unpacked / "real.so").stat().st_mode & 0o777 == 0o600
    assert Path(program).stat().st_mode & 0o777 == 0o700
    assert bench.runtime.stat().st_mode & 0o777 == 0o700


def test_the_file_is_an_ordinary_archive_too(bench: Bench) -> None:
    with zipfile.ZipFile(bench.make({"a": b"1"})) as archive:
        assert archive.namelist() == ["tree/a", "tree/sluice"]
        assert archive.testzip() is None


def test_starts_at_the_same_time_share_one_tree(bench: Bench) -> None:
    file = bench.make({str(number): os.urandom(200_000) for number in range(50)})
    started = [bench.start(file) for _ in range(6)]
    programs = {process.communicate(timeout=60)[0].split("\n")[0] for process in started}
    assert [process.returncode for process in started] == [0] * 6
    assert {Path(one).parent.name for one in programs} == set(bench.left())
    assert len(programs) == 1


def test_an_interrupted_first_start_is_begun_anew(bench: Bench) -> None:
    file = bench.make({f"{number}": bytes(20 * MIB) for number in range(8)})
    process = bench.start(file)
    while not any(bench.runtime.glob(".partial-*/*")):
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert bench.left()[0].startswith(".partial-")
    program = bench.run(file).stdout.split("\n")[0]
    assert bench.left() == [Path(program).parent.name]
    assert len(list(Path(program).parent.iterdir())) == 10


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 0.99])
def test_a_damaged_file_is_told_and_nothing_of_it_runs(bench: Bench, part: float) -> None:
    file = bench.make({"noise": os.urandom(MIB)})
    content = bytearray(file.read_bytes())
    start = content.index(b"tree/noise") + 10
    end = content.index(b"PK", start + MIB)
    content[start + int(part * (end - start))] ^= 4
    file.write_bytes(content)
    assert "is damaged" in text_after(bench.run(file), 69)
    assert bench.left() == []


@pytest.mark.parametrize("missing", [1, 500, 100_000])
def test_a_file_cut_short_is_told(bench: Bench, missing: int) -> None:
    file = bench.make({"noise": os.urandom(MIB)})
    os.truncate(file, file.stat().st_size - missing)
    said = text_after(bench.run(file), 69)
    assert "not copied whole" in said
    assert "Copy it again" in said


def test_too_little_room_is_told_before_anything_is_written(bench: Bench) -> None:
    file = bench.make({"a": bytes(MIB)})
    before = mounted(bench.home / ".cache", "size=16m")
    said = text_after(bench.run(file, before=before), 74)
    assert "68 MB are needed" in said
    assert "XDG_CACHE_HOME" in said


def test_a_disk_that_fills_up_meanwhile_is_told_once(bench: Bench) -> None:
    file = bench.make({f"{number}": bytes(20 * MIB) for number in range(6)})
    with zipfile.ZipFile(file, "a") as archive:
        words = archive.comment.split()
        archive.comment = b" ".join([*words[:4], b"0"]).ljust(len(archive.comment))
    cache = bench.home / ".cache"
    before = mounted(cache, "size=90m")
    listing = ("sh", "-c", f'"$1"; said=$?; ls -A "{cache}/sluice/runtime" >&2; exit $said', "sh")
    said = text_after(bench.run(file, before=(*before, *listing)), 74)
    assert said.count("the disk is full") == 1
    assert said.splitlines()[-1] == "lock"  # the unfinished tree gives its room back


def test_a_disk_that_forbids_programs_is_told(bench: Bench) -> None:
    before = mounted(bench.home / ".cache", "size=100m,noexec")
    assert "noexec" in text_after(bench.run(bench.make(), before=before), 78)


def test_a_home_that_cannot_be_written_is_told_with_a_way_out(bench: Bench) -> None:
    file = bench.make()
    shutil.copy(file, "/dev/shm/sluice-read-only") if os.geteuid() == 0 else None
    before: tuple[str, ...] = ()
    if os.geteuid() == 0:
        file = Path("/dev/shm/sluice-read-only")
        before = ("setpriv", f"--reuid={NOBODY}", "--clear-groups")
    bench.home.chmod(0o500)
    try:
        said = text_after(bench.run(file, before=before, HOME="/proc/1"), 78)
    finally:
        Path("/dev/shm/sluice-read-only").unlink(missing_ok=True)
    assert "cannot be written" in said
    assert "set XDG_CACHE_HOME to a folder of yours" in said
    elsewhere = bench.run(bench.make(), HOME="/proc/1", XDG_CACHE_HOME=str(bench.folder / "else"))
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_a_cache_that_others_may_write_to_is_refused(bench: Bench) -> None:
    file = bench.make()
    assert bench.run(file).returncode == 0
    bench.runtime.chmod(0o777)
    assert "chmod 700" in text_after(bench.run(file), 78)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_another_user_is_refused(bench: Bench) -> None:
    bench.runtime.mkdir(parents=True)
    os.chown(bench.runtime, NOBODY, NOBODY)
    assert "belongs to another user" in text_after(bench.run(bench.make()), 78)


def test_without_a_home_it_says_what_to_set(bench: Bench) -> None:
    run = subprocess.run(
        [bench.make()], env={"PATH": os.defpath}, capture_output=True, text=True, timeout=60
    )
    assert "neither HOME nor XDG_CACHE_HOME" in text_after(run, 78)


def test_old_versions_leave_when_nobody_uses_them(bench: Bench) -> None:
    old, middle, new = (bench.make(version=one, program=WAIT) for one in ("1.0", "1.1", "1.2"))
    running = bench.start(old)
    assert running.stdout is not None
    assert running.stdout.readline() == "up\n"
    bench.run(middle)
    assert [one.partition("-")[0] for one in bench.left()] == ["1.0", "1.1"]
    running.communicate("end\n")
    bench.run(new)
    assert [one.partition("-")[0] for one in bench.left()] == ["1.2"]
    assert bench.run(old).returncode == 0


def test_a_tree_that_lost_its_mark_is_unpacked_again(bench: Bench) -> None:
    file = bench.make()
    tree = Path(bench.run(file).stdout.split("\n")[0]).parent
    (tree / ".complete").unlink()
    (tree / "sluice").write_text("#!/bin/sh\nexit 9\n")
    assert bench.run(file).returncode == 0


def test_words_are_chinese_where_the_locale_is(bench: Bench) -> None:
    file = bench.make()
    os.truncate(file, file.stat().st_size - 1)
    assert "已损坏" in bench.run(file, LANG="zh_CN.UTF-8").stderr
    assert "is damaged" in bench.run(file, LANG="zh_CN.UTF-8", LC_ALL="C").stderr


def test_a_path_with_spaces_and_chinese_characters_works(bench: Bench) -> None:
    folder = bench.folder / "我的 程序"
    folder.mkdir()
    file = Path(shutil.copy(bench.make(), folder / "水闸 sluice"))
    run = bench.run(file, "x", XDG_CACHE_HOME=str(folder / "缓存 cache"))
    assert run.stdout.split("\n")[1:] == [str(file), "x", ""]
