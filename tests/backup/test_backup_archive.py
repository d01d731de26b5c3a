"""Archives: what is written comes back, and nothing that was damaged or forged gets in."""

import json
import os
import resource
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup import archive
from appliance.backup.archive import Member, Source
from appliance.errors import Conflict, Invalid, NotFound, Unavailable

pytestmark = pytest.mark.unit

CONTENT = b"some content that compresses " * 100


def written(path: Path, files: dict[str, bytes]) -> Path:
    sources = [Source(name, content=content) for name, content in files.items()]
    archive.write(path, sources, kind="backup", layout=1, now_ms=5)
    return path


def forged(path: Path, name: str, content: bytes, *, told: dict[str, object]) -> Path:
    """An archive whose manifest says of its one member what it is told to say."""
    manifest = {"format": 1, "kind": "backup", "version": "1", "layout": 1, "created_at_ms": 1}
    members = [{"name": name, "size_bytes": len(content), "sha256": "0" * 64} | told]
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(name, content)
        made.writestr(archive.MANIFEST, json.dumps(manifest | {"members": members}))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(Invalid) as caught, archive.opened(path, "backup"):
        pytest.fail("it was taken")
    return caught.value.message


@given(st.dictionaries(st.sampled_from(["a", "b/c", "中文/文件"]), st.binary(max_size=3_000)))
def test_what_is_written_comes_back(files: dict[str, bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder, "x"), files)
        with archive.opened(path, "backup") as (opened, manifest):
            for member in manifest.members:
                archive.copy(opened, member, Path(folder, "out", member.name))
        found = {name: Path(folder, "out", name).read_bytes() for name in files}
    assert found == files
    assert manifest.layout == 1


def test_it_is_private_and_nothing_is_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {"a": CONTENT})
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict):
        written(path, {"a": b""})
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


def test_a_stream_gives_exactly_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "growing").write_bytes(CONTENT)
    with (tmp_path / "growing").open("rb") as stream:
        source = Source("log", stream=stream, size_bytes=100)
        archive.write(tmp_path / "x", [source], kind="backup", layout=1, now_ms=5)
    with archive.opened(tmp_path / "x", "backup") as (opened, _):
        assert opened.read("log") == CONTENT[:100]


def test_every_flipped_bit_of_a_member_is_seen(tmp_path: Path) -> None:
    content = os.urandom(200)
    path, source = tmp_path / "x", Source("a", content=content, packed=False)
    archive.write(path, [source], kind="backup", layout=1, now_ms=5)
    whole = path.read_bytes()
    start = whole.index(content)
    for offset in range(start, start + 200, 7):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        assert "is damaged" in refusal(path)


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_file_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path / "x", {"a": CONTENT})
    os.truncate(path, path.stat().st_size - cut)
    assert refusal(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a\\b", "./a"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    assert "no plain path" in refusal(forged(tmp_path / "x", name, b"1", told={}))


def test_a_member_longer_than_told_is_refused(tmp_path: Path) -> None:
    assert "damaged" in refusal(forged(tmp_path / "x", "a", b"123", told={"size_bytes": 2}))


def test_a_member_too_many_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {"a": b"1"})
    with zipfile.ZipFile(path, "a") as more:
        more.writestr("b", b"2")
    assert "does not hold what its manifest lists" in refusal(path)


def test_another_kind_and_no_file_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {})
    with pytest.raises(Invalid, match="is a backup, not a bundle"), archive.opened(path, "bundle"):
        pass
    with pytest.raises(NotFound), archive.opened(tmp_path / "y", "backup"):
        pass
    (tmp_path / "z").write_bytes(b"hello")
    assert "is damaged" in refusal(tmp_path / "z")
    assert Member("a", 1, "x").name == "a"


def test_a_folder_is_no_archive(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_a_file_that_is_missing_later_is_not_taken_for_the_archive(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {})
    with pytest.raises(FileNotFoundError), archive.opened(path, "backup"):
        (tmp_path / "another").read_bytes()


def test_a_disk_that_takes_no_more_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "x", {"a": CONTENT})
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    with archive.opened(path, "backup") as (opened, manifest):
        (member,) = manifest.members
        with pytest.raises(Unavailable, match="cannot be written: File exists"):
            archive.copy(opened, member, path / "below a file")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, bounds[1]))
        try:
            with pytest.raises(Unavailable, match="cannot be written: File too large"):
                archive.copy(opened, member, tmp_path / "full")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
