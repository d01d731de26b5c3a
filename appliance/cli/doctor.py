"""`sluice doctor`: what was found, what is wrong, and how to mend it.

It changes nothing and starts nothing; when an appliance runs on the data directory it is asked
for its own view. Exit status 0 when nothing stands in the way, 69 otherwise.
"""

import importlib.util
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import httpx
import msgspec
import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from appliance.backup.layout import settings_of
from appliance.errors import EXIT_OK, EXIT_UNAVAILABLE, CannotBoot, SluiceError
from appliance.fleet.devices import devices
from appliance.fleet.workers import physical_cores
from appliance.limiter.rule_process import check_rule
from appliance.runtime.children import model_paths
from appliance.runtime.keyfile import FILE_NAME as KEY_NAME
from appliance.runtime.options import Options
from appliance.schema.status import Status
from appliance.settings import FILE_NAME, Settings, models_directory
from appliance.settings.inference import Worker
from appliance.supervisor.directory import prepare_data_directory
from appliance.supervisor.lock import sight
from appliance.supervisor.valkey import find_binary

GIB = 1 << 30
LEAST_FREE_DISK = 2 * GIB
SPARE_MEMORY = GIB
ASK_TIMEOUT_S = 3.0

Verdict = Literal["ok", "note", "wrong"]
STYLES: dict[Verdict, str] = {"ok": "green", "note": "yellow", "wrong": "bold red"}


@dataclass(frozen=True)
class Finding:
    """One line of the report; `mend` says what to do when the verdict is not ok."""

    subject: str
    verdict: Verdict
    found: str
    mend: str = ""


def examine(options: Options) -> int:
    """Prints every finding; returns the exit status."""
    findings = list(_findings(options))
    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in findings:
        said = Text(finding.found)
        if finding.mend and finding.verdict != "ok":
            said.append(f"\n→ {finding.mend}", style=STYLES[finding.verdict])
        table.add_row(
            Text(finding.subject), Text(finding.verdict, style=STYLES[finding.verdict]), said
        )
    # Into a file or a pipe nothing is wrapped, so that words can be searched for.
    Console(width=None if sys.stdout.isatty() else 400).print(table)
    wrong = sum(finding.verdict == "wrong" for finding in findings)
    sys.stdout.write(f"\n{wrong} wrong\n" if wrong else "\nnothing is wrong\n")
    return EXIT_UNAVAILABLE if wrong else EXIT_OK


def _findings(options: Options) -> Iterator[Finding]:
    yield _system()
    yield _cores()
    yield _memory()
    try:
        data = prepare_data_directory(options.data_directory)
        settings = options.applied(settings_of(data))
    except SluiceError as error:
        yield from _devices(Worker())
        yield _wrong("data directory", error)
        return
    yield from _devices(settings.worker)
    yield Finding("data directory", "ok", str(data))
    yield _guarded("settings", lambda: Finding("settings", "ok", str(data / FILE_NAME)))
    yield _disk(data)
    if settings.limiter.rule_file:
        yield _guarded("admission rule", lambda: _rule(settings))
    yield _guarded("valkey", lambda: _valkey(settings))
    yield _guarded("llama.cpp", lambda: _llama(settings))
    yield _guarded("models", lambda: _models(settings))
    yield from _appliance(settings, data)


def _guarded(subject: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except SluiceError as error:
        return _wrong(subject, error)


def _wrong(subject: str, error: SluiceError) -> Finding:
    return Finding(subject, "wrong", error.message, error.hint)


def _system() -> Finding:
    found = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return Finding("system", "ok", found)


def _cores() -> Finding:
    return Finding("cores", "ok", f"{physical_cores()} for inference, {os.cpu_count()} in all")


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB available"
    if memory.available < 2 * SPARE_MEMORY:
        return Finding("memory", "note", found, "close other programs, or use a smaller model")
    return Finding("memory", "ok", found)


def _devices(worker: Worker) -> Iterator[Finding]:
    """What the inference library computes with, and GPUs that it does not see or may not use."""
    try:
        found = devices()
    except SluiceError as error:
        yield _wrong("devices", error)
        return
    for device in found:
        memory = f"{device.free_bytes / GIB:.1f} of {device.total_bytes / GIB:.1f} GiB free"
        said = f"{device.description}, {device.kind}, {device.backend} backend, {memory}"
        yield Finding(device.name, "ok", said)
    gpus = [device.name for device in found if device.kind != "cpu"]
    if worker.engine != "fake" and worker.device not in ("", *gpus):
        said = f"worker.device is {worker.device}, which is not there"
        mend = f"name one of these: {', '.join(gpus)}" if gpus else 'set it to ""'
        yield Finding("GPU", "wrong", said, mend)
    if gpus and worker.gpu_layers == 0:
        said = "not used: worker.gpu_layers is 0"
        yield Finding("GPU", "note", said, "set it to -1 for all layers that fit")
        return
    backends = {device.backend.lower() for device in found if device.kind != "cpu"}
    nodes = sorted(Path("/dev").glob("nvidia[0-9]*")) + sorted(Path("/dev/dri").glob("render*"))
    silent = sorted(_gpu_backends() - backends)
    if silent:
        said = f"the backend for {' and '.join(silent)} is installed and sees no GPU"
        yield Finding("GPU", "note", said, "install the GPU's driver, if there is a GPU")
    elif nodes and not backends:
        names = ", ".join(node.name for node in nodes)
        mend = "add a backend with `make vulkan`, or `make cuda` for NVIDIA"
        yield Finding("GPU", "note", f"{names} is not used; inference runs on the CPU", mend)
    elif not backends:
        yield Finding("GPU", "ok", "none; inference runs on the CPU")


def _gpu_backends() -> set[str]:
    """GPU backends whose library lies beside the binding; which one starts is another question."""
    found = importlib.util.find_spec("llama_cpp")
    folders = found.submodule_search_locations or [] if found else []
    installed = {path.stem for folder in folders for path in Path(folder, "lib").glob("*ggml-*")}
    return {name for name in ("cuda", "vulkan") if f"libggml-{name}" in installed}


def _disk(data: Path) -> Finding:
    free = shutil.disk_usage(data).free
    found = f"{free / GIB:.1f} GiB free"
    if free < LEAST_FREE_DISK:
        return Finding("disk", "wrong", found, "free some space: a full disk stops all writes")
    return Finding("disk", "ok", found)


def _valkey(settings: Settings) -> Finding:
    if settings.external.redis_url:
        return Finding("valkey", "ok", "external, set by external.redis_url")
    return Finding("valkey", "ok", f"embedded, {find_binary()}")


def _rule(settings: Settings) -> Finding:
    check_rule(settings.limiter)
    return Finding("admission rule", "ok", settings.limiter.rule_file)


def _llama(settings: Settings) -> Finding:
    if settings.worker.engine == "fake":
        return Finding("llama.cpp", "note", "not used: worker.engine is fake", "set it to llama")
    try:
        version = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        raise CannotBoot("llama-cpp-python is not installed", hint="run `make run`") from None
    return Finding("llama.cpp", "ok", f"llama-cpp-python {version}")


def _models(settings: Settings) -> Finding:
    if settings.worker.engine == "fake":
        return Finding("models", "ok", "none needed")
    paths = [Path(path) for path in model_paths(settings)]
    size = sum(path.stat().st_size for path in paths)
    found = f"{', '.join(path.name for path in paths)} in {models_directory(settings)}"
    if size + SPARE_MEMORY > psutil.virtual_memory().total:
        return Finding("models", "wrong", f"{found}: larger than memory", "use smaller models")
    return Finding("models", "ok", found)


def _appliance(settings: Settings, data: Path) -> Iterator[Finding]:
    seen = sight(data)
    if seen.state != "running" or seen.running is None:
        yield Finding("appliance", "ok", "not running")
        yield _port(settings)
        return
    yield Finding("appliance", "ok", f"running at {seen.running.url}, pid {seen.running.pid}")
    try:
        key = (data / KEY_NAME).read_text(encoding="ascii").strip()
        answer = httpx.get(
            f"{seen.running.url}/api/status",
            headers={"Authorization": f"Bearer {key}"},
            timeout=ASK_TIMEOUT_S,
            trust_env=False,  # a proxy of the environment would be told the key
        )
        answer.raise_for_status()
        status = msgspec.json.decode(answer.content, type=Status)
    except (OSError, httpx.HTTPError, msgspec.MsgspecError) as error:
        yield Finding(
            "status", "wrong", f"it does not answer: {error}", "see logs/ in the data directory"
        )
        return
    for child in status.children:
        verdict: Verdict = "ok" if child.state == "ready" else "wrong"
        said = f"{child.state}, {child.restarts} restarts, {child.rss_bytes >> 20} MiB"
        yield Finding(child.name, verdict, f"{said} {child.detail}", "see logs/")
    for worker in status.workers:
        yield Finding(worker.id, "ok", f"{worker.model} on {worker.device}")
    for alarm in status.alarms:
        yield Finding("alarm", "wrong", alarm.message, alarm.hint)
    indexed: Verdict = "ok" if status.faq.indexed else "note"
    said = f"{status.faq.entries} entries, {status.faq.phrasings} phrasings {status.faq.detail}"
    yield Finding("FAQ", indexed, said, "indexing goes on by itself")


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            mend = "choose another with --port or server.port"
            return Finding("port", "wrong", f"{host}:{port}: {error.strerror}", mend)
    return Finding("port", "ok", f"{host}:{port} is free")
