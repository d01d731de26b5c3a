"""Starts and stops the two servers, one at a time, fresh for each workload.

Sluice is started as its users start it; llama-server with as many slots, as much context, the
same threads and otherwise its own defaults. It is built without our changes to llama.cpp; to see
what the engine around them does, it can be given the installed binding's libraries. A server that
does not become ready says why with the end of its log.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from appliance.fleet.workers import physical_cores
from engine_bench.load import Door
from engine_bench.workloads import Workload
from models.store import Store

ROOT = Path(__file__).resolve().parents[3]
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
LOG_TAIL_LINES = 30
SLUICE = "sluice"
DEFAULT = "llama-server"
BOUNDED = "llama-server, bounded spin"
PASSIVE = "llama-server, passive"
# How threads of the compute pool wait for each other: as built, or tuned for other processes.
ENVIRONMENTS = {
    DEFAULT: {},
    BOUNDED: {"GOMP_SPINCOUNT": "1000"},
    PASSIVE: {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"},
}
PEERS = tuple(ENVIRONMENTS)


class StartError(Exception):
    """A server did not start; the text has the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What both servers are given; `shares_libraries` is whether both load the binding's."""

    llama_server: Path
    shares_libraries: bool = False
    models: Path
    threads: int
    logs: Path

    @property
    def chat_model(self) -> Path:
        return Store(self.models).starter("chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that is ready; `command` is what started it."""

    door: Door
    pid: int
    command: str


def default_threads() -> int:
    """Threads of the appliance when its settings do not say."""
    return physical_cores()


@contextlib.contextmanager
def running(side: str, workload: Workload, machine: Machine) -> Iterator[Running]:
    """A fresh server of one side, stopped on exit with everything it started.

    Raises StartError.
    """
    with contextlib.ExitStack() as stack:
        if workload.busy_neighbour:
            stack.enter_context(busy_core())
        start = _sluice if side == SLUICE else _llama_server
        yield stack.enter_context(start(side, workload, machine))


@contextlib.contextmanager
def _sluice(side: str, workload: Workload, machine: Machine) -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data = Path(folder)
        (data / "settings.toml").write_text(sluice_settings(workload, machine), encoding="utf-8")
        command = [sys.executable, "-m", "appliance", "serve", "--port", "0", "--data", folder]
        with _process(side, command, machine, stdout=subprocess.PIPE) as process:
            word, _, url = _first_line(process).strip().partition(" ")
            if word != "ready":
                raise StartError(f"Sluice did not become ready:\n{_tail(side, machine)}")
            address = urlsplit(url)
            door = Door(
                host=address.hostname or "",
                port=address.port or 0,
                key=(data / "admin.key").read_text().strip(),
            )
            yield Running(door=door, pid=process.pid, command="python -m appliance serve")


def _first_line(process: "subprocess.Popen[str]") -> str:
    """What a server says first; nothing when it says nothing in time."""
    assert process.stdout is not None
    timer = threading.Timer(START_TIMEOUT_S, process.kill)
    timer.start()
    try:
        return process.stdout.readline()
    finally:
        timer.cancel()


def sluice_settings(workload: Workload, machine: Machine) -> str:
    """The appliance's settings file: sizes as the peer has them, everything else by default."""
    return (
        f'[models]\ndirectory = "{machine.models}"\n'
        f"[worker]\nslots = {workload.slots}\ncache_tokens = {workload.cache_tokens}\n"
        f"context_tokens = {workload.cache_tokens // 2}\nthreads = {machine.threads}\n"
    )


@contextlib.contextmanager
def _llama_server(side: str, workload: Workload, machine: Machine) -> Iterator[Running]:
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="llama-server-bench-") as folder:
        yield from _serving(side, workload, machine, port, Path(folder))


def _serving(
    side: str, workload: Workload, machine: Machine, port: int, folder: Path
) -> Iterator[Running]:
    """CPU libraries are looked for beside the program and in the current folder, the others by the
    loader: with shared ones a copy of the program runs in an empty `folder`."""
    server, libraries = machine.llama_server, machine.llama_server.parent
    environment = dict(ENVIRONMENTS[side])
    if machine.shares_libraries:
        server, libraries = Path(shutil.copy2(server, folder)), binding_libraries()
        environment["LD_LIBRARY_PATH"] = f"{libraries}:{machine.llama_server.parent}"
    command = [
        *(str(server), "--model", str(machine.chat_model)),
        *("--host", "127.0.0.1", "--port", str(port), "--no-webui"),
        *("--parallel", str(workload.slots), "--ctx-size", str(workload.cache_tokens)),
        *("--threads", str(machine.threads)),
    ]
    with _process(side, command, machine, folder=libraries, extras=environment) as process:
        _await_health(port, process, side, machine)
        shown = [Path(word).name if "/" in word else word for word in command]
        prefix = [f"{name}={value}" for name, value in ENVIRONMENTS[side].items()]
        door = Door(host="127.0.0.1", port=port)
        yield Running(door=door, pid=process.pid, command=" ".join(prefix + shown))


def binding_libraries() -> Path:
    """Where the installed binding keeps llama.cpp's shared libraries."""
    found = find_spec("llama_cpp")
    if found is None or not found.origin:
        raise StartError("llama-cpp-python is not installed: run `make` first")
    return Path(found.origin).parent / "lib"


@contextlib.contextmanager
def _process(
    side: str,
    command: list[str],
    machine: Machine,
    *,
    folder: Path = ROOT,
    extras: dict[str, str] | None = None,
    stdout: int | None = None,
) -> Iterator["subprocess.Popen[str]"]:
    """A process in a group of its own, its output in a log; ended with everything below it."""
    with _log(side, machine).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | (extras or {}),
            stdout=stdout or log,
            stderr=log,
            text=True,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    """Asks once, then kills what is left of the family."""
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    if process.stdout is not None:
        process.stdout.close()


def _await_health(port: int, process: "subprocess.Popen[str]", side: str, machine: Machine) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5),
        ):
            return
        time.sleep(0.1)  # llama-server tells its readiness to nobody
    raise StartError(f"llama-server did not become ready:\n{_tail(side, machine)}")


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """A process that keeps the first core busy."""
    core = min(os.sched_getaffinity(0))
    burn = f"import os\nos.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", burn]) as burner:
        try:
            yield
        finally:
            burner.kill()


def _log(side: str, machine: Machine) -> Path:
    machine.logs.mkdir(parents=True, exist_ok=True)
    return machine.logs / f"{side.replace(', ', '-').replace(' ', '-')}.log"


def _tail(side: str, machine: Machine) -> str:
    lines = _log(side, machine).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LOG_TAIL_LINES:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
