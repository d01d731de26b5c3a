"""Downloads against a real server on loopback that breaks off, lies and changes its mind."""

import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models_bench import FileServer, serving, sha256

from appliance.errors import Invalid, NotFound, Unavailable
from models import files
from models.download import MAX_FRUITLESS, Wanted, client, download, mirrored

pytestmark = pytest.mark.integration

BODY = Random(7).randbytes(10_000)


class Puller:
    """One file to fetch, with everything that can be observed of the fetching."""

    def __init__(self, directory: Path, server: FileServer, body: bytes = BODY) -> None:
        self.target = directory / "tiny.gguf"
        self.wanted = Wanted(f"{server.url}/tiny.gguf", self.target, len(body), sha256(body))
        self.pauses: list[float] = []
        self.reports: list[tuple[int, int]] = []

    def pull(self) -> None:
        with client() as http:
            download(
                self.wanted,
                progress=lambda done, total: self.reports.append((done, total)),
                http=http,
                pause=self.pauses.append,
            )

    def left(self) -> list[str]:
        return sorted(one.name for one in self.target.parent.iterdir())


@contextmanager
def puller(
    directory: Path, *script: str, body: bytes = BODY
) -> Iterator[tuple[Puller, FileServer]]:
    with serving(FileServer(body, script=list(script))) as server:
        yield Puller(directory, server), server


def test_a_file_arrives_whole_and_private_with_nothing_beside_it(tmp_path: Path) -> None:
    with puller(tmp_path) as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert stat.S_IMODE(one.target.stat().st_mode) == 0o600
    assert one.left() == ["tiny.gguf"]
    assert one.reports[0] == (0, len(BODY))
    assert one.reports[-1] == (len(BODY), len(BODY))
    assert server.ranges() == [""]


def test_a_broken_connection_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", "cut:2500") as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == ["", "bytes=3000-", "bytes=5500-"]
    assert [headers.get("If-Range") for headers in server.asked] == [None, '"one"', '"one"']
    assert one.pauses == []


def test_a_later_run_goes_on_from_what_an_earlier_one_left(tmp_path: Path) -> None:
    broken = ["cut:4000"] + ["503"] * MAX_FRUITLESS
    with puller(tmp_path, *broken) as (one, server):
        with pytest.raises(Unavailable, match="503"):
            one.pull()
        assert one.left() == ["tiny.gguf.part", "tiny.gguf.part.etag"]
        server.asked.clear()
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == ["bytes=4000-"]
    assert one.left() == ["tiny.gguf"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", "whole") as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert len(server.asked) == 2


def test_a_range_other_than_the_one_asked_is_thrown_away(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", "shifted") as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == ["", "bytes=3000-", ""]


def test_a_file_that_changed_meanwhile_is_fetched_anew(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", *["503"] * MAX_FRUITLESS) as (one, server):
        with pytest.raises(Unavailable):
            one.pull()
        one.wanted.part.write_bytes(bytes(3000))  # what an older edition of the file held
        server.tag = '"two"'
        one.pull()
    assert one.target.read_bytes() == BODY


def test_a_range_from_a_file_with_another_tag_is_thrown_away(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", "retagged") as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == ["", "bytes=3000-", ""]


def test_a_stale_part_is_dropped_when_the_server_cannot_satisfy_the_range(tmp_path: Path) -> None:
    with puller(tmp_path, "cut:3000", "416") as (one, server):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == ["", "bytes=3000-", ""]


def test_a_server_that_never_continues_its_own_file_is_given_up(tmp_path: Path) -> None:
    script = ["cut:3000", "416"] * 20
    with puller(tmp_path, *script) as (one, server), pytest.raises(Unavailable, match="416"):
        one.pull()
    assert len(server.asked) == 4


def test_new_bytes_give_new_patience(tmp_path: Path) -> None:
    busy = ["503"] * (MAX_FRUITLESS - 1)
    with puller(tmp_path, *busy, "cut:3000", *busy, "cut:1", *busy) as (one, _):
        one.pull()
    assert one.target.read_bytes() == BODY


def test_a_server_that_refuses_the_whole_as_a_range_is_given_up(tmp_path: Path) -> None:
    with puller(tmp_path, "416") as (one, server), pytest.raises(Unavailable, match="416"):
        one.pull()
    assert len(server.asked) == 1


def test_a_complete_part_is_checked_without_asking_the_server(tmp_path: Path) -> None:
    with puller(tmp_path) as (one, server):
        one.wanted.part.write_bytes(BODY)
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.asked == []


def test_a_part_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    with puller(tmp_path) as (one, server):
        one.wanted.part.write_bytes(BODY + b"x")
        one.pull()
    assert one.target.read_bytes() == BODY
    assert server.ranges() == [""]


@pytest.mark.parametrize("status", ["404", "410"])
def test_a_file_the_server_does_not_have_is_not_found(tmp_path: Path, status: str) -> None:
    with puller(tmp_path, status) as (one, server), pytest.raises(NotFound) as caught:
        one.pull()
    assert "sluice models import" in caught.value.hint
    assert len(server.asked) == 1
    assert one.left() == []


@pytest.mark.parametrize("status", ["401", "403", "451"])
def test_a_refusal_is_not_asked_for_twice(tmp_path: Path, status: str) -> None:
    with puller(tmp_path, status) as (one, server), pytest.raises(Unavailable, match=status):
        one.pull()
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again_after_the_pause_it_names(tmp_path: Path) -> None:
    with puller(tmp_path, "503:7", "429") as (one, _):
        one.pull()
    assert one.target.read_bytes() == BODY
    assert one.pauses == [7.0, 2.0]


def test_pauses_grow_and_tries_without_a_byte_are_bounded(tmp_path: Path) -> None:
    with puller(tmp_path, *["500:999999"] * 50) as (one, server):
        with pytest.raises(Unavailable, match="500"):
            one.pull()
        assert len(server.asked) == MAX_FRUITLESS
        assert one.pauses == [30.0] * (MAX_FRUITLESS - 1)
        server.script[:] = ["500"] * 50
        one.pauses.clear()
        with pytest.raises(Unavailable):
            one.pull()
        assert one.pauses == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_a_server_that_always_breaks_off_at_the_same_byte_is_given_up(tmp_path: Path) -> None:
    with puller(tmp_path, *["whole:3000"] * 50) as (one, server), pytest.raises(Unavailable):
        one.pull()
    assert len(server.asked) == 1 + MAX_FRUITLESS


def test_a_server_that_is_not_there_is_unavailable_and_named(tmp_path: Path) -> None:
    with puller(tmp_path) as (one, _):
        pass
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1: the connection failed"):
        one.pull()
    assert len(one.pauses) == MAX_FRUITLESS - 1


def test_another_file_of_the_same_size_never_gets_the_name(tmp_path: Path) -> None:
    wrong = bytes(len(BODY))
    with serving(FileServer(wrong)) as server:
        one = Puller(tmp_path, server)
        with pytest.raises(Unavailable, match="checksum") as caught:
            one.pull()
    assert caught.value.reason == "checksum"
    assert one.left() == []


@pytest.mark.parametrize("act", ["long:1", "long:-1", "blind:1", "blind:100000"])
def test_a_body_of_another_length_is_deleted_and_never_overruns(tmp_path: Path, act: str) -> None:
    with puller(tmp_path, act) as (one, _), pytest.raises(Unavailable) as caught:
        one.pull()
    assert caught.value.reason == "checksum"
    assert one.left() == []
    assert all(done <= len(BODY) for done, _ in one.reports)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.one_of(
            st.integers(1, 4000).map("cut:{}".format),
            st.sampled_from(["503", "416", "shifted", "retagged", "whole:5000", "whole"]),
        ),
        max_size=12,
    )
)
def test_whatever_the_server_does_only_the_right_file_gets_the_name(
    tmp_path_factory: pytest.TempPathFactory, script: list[str]
) -> None:
    with puller(tmp_path_factory.mktemp("any"), *script) as (one, _):
        try:
            one.pull()
        except Unavailable:
            assert not one.target.exists()
            assert not all(act.startswith("cut") for act in script), "breaks alone must not end it"
        else:
            assert one.target.read_bytes() == BODY
            assert one.left() == ["tiny.gguf"]
        assert all(0 <= done <= len(BODY) for done, _ in one.reports)


def test_a_killed_pull_keeps_what_it_had(tmp_path: Path) -> None:
    body = Random(8).randbytes(4 << 20)
    child = (
        "import sys, pathlib\n"
        "from models.download import *\n"
        "w = Wanted(sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])\n"
        "with client() as http:\n"
        "    download(w, progress=lambda done, total: print(done, flush=True), http=http)\n"
    )
    with serving(FileServer(body, script=[f"stall:{3 << 20}"])) as server:
        one = Puller(tmp_path, server, body)
        arguments = [one.wanted.url, str(one.target), str(len(body)), sha256(body)]
        with subprocess.Popen(
            [sys.executable, "-c", child, *arguments], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            while int(process.stdout.readline()) < 3 << 20:
                pass
            process.kill()
        server.go_on.set()
        kept = one.wanted.here_bytes()
        assert 2 << 20 <= kept <= 3 << 20
        one.pull()
        assert server.ranges()[-1] == f"bytes={kept}-"
    assert one.target.read_bytes() == body


def test_a_download_that_cannot_fit_is_refused_before_it_starts(tmp_path: Path) -> None:
    with puller(tmp_path) as (one, server):
        huge = Wanted(one.wanted.url, one.target, 1 << 60, one.wanted.sha256)
        with client() as http, pytest.raises(Unavailable, match="free") as caught:
            download(huge, progress=lambda *_: None, http=http)
    assert caught.value.reason == "disk"
    assert f"{1 << 60:,} bytes are needed" in caught.value.message
    assert server.asked == []


def test_a_disk_that_fills_while_writing_is_told_with_its_figures(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with puller(tmp_path) as (one, _):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a real write that really fails
        try:
            with pytest.raises(Unavailable, match=r"10,000 bytes are needed, [\d,]+ are free"):
                one.pull()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert not one.target.exists()
        one.pull()
    assert one.target.read_bytes() == BODY


def test_a_mirror_replaces_scheme_and_host_and_keeps_the_rest() -> None:
    url = "https://hub.example/a/b.gguf?download=true"
    assert mirrored(url, "") == url
    assert mirrored(url, "http://near:8080/hub/") == "http://near:8080/hub/a/b.gguf?download=true"


@pytest.mark.parametrize(
    "mirror", ["near", "ftp://near", "http://", "http://near:port", "/srv/mirror"]
)
def test_a_mirror_that_is_no_address_is_invalid(mirror: str) -> None:
    with pytest.raises(Invalid, match="mirror"):
        mirrored("https://hub.example/a", mirror)


def test_a_redirect_in_a_circle_ends(tmp_path: Path) -> None:
    def circle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": str(request.url)})

    wanted = Wanted("http://hub.example/a", tmp_path / "a.gguf", 10, "0" * 64)
    with (
        httpx.Client(transport=httpx.MockTransport(circle), follow_redirects=True) as http,
        pytest.raises(Unavailable, match="circle"),
    ):
        download(wanted, progress=lambda *_: None, http=http)


def test_room_is_asked_for_what_is_missing_not_for_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(files, "require_room", lambda _, needed_bytes: asked.append(needed_bytes))
    with puller(tmp_path) as (one, _):
        one.wanted.part.write_bytes(BODY[:4000])
        one.pull()
    assert asked == [6000]
