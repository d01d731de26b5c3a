"""Builds llama-server once from the source that the installed binding was built from, unchanged.

The source distribution is pinned by hash in packaging/requirements.txt; llama.cpp lies in it
whole, the server included. Like the binding it gets a CPU library for each set of instructions,
but without the changes of packaging/patches: it is what others get. The result is kept in the
user's cache by version and options. About 15 minutes on two cores.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from engine_bench.peers import ROOT

PACKAGE = "llama-cpp-python"
REQUIREMENTS = ROOT / "packaging" / "requirements.txt"
TARGET = "llama-server"
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "CMAKE_BUILD_RPATH_USE_ORIGIN": "ON",  # the result is moved
    "GGML_BACKEND_DL": "ON",  # as the binding: backends are loaded at run time
    "GGML_CPU_ALL_VARIANTS": "ON" if platform.machine() in ("x86_64", "AMD64") else "OFF",
    "GGML_NATIVE": "OFF",
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
}
PROGRESS = re.compile(r"^\[\s*(?:(\d+)%|(\d+)/(\d+))\]")


class BuildError(Exception):
    """llama-server cannot be built; the text says why and what to do."""


def llama_server(say: Callable[[str], None]) -> Path:
    """The server's path, built where it is not there yet. Raises BuildError."""
    block = pinned(REQUIREMENTS.read_text(encoding="utf-8"))
    cache = platformdirs.user_cache_path("sluice", appauthor=False) / "llama-server"
    identity = hashlib.sha256(repr((block, sorted(OPTIONS.items()))).encode()).hexdigest()[:16]
    ready = cache / identity / TARGET
    if ready.exists():
        return ready
    if shutil.which("cmake") is None:
        raise BuildError("building llama-server needs cmake and a C++ compiler: install them")
    say("building llama-server from source, about 15 minutes, once per version")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        source = _source(Path(scratch), block)
        made = _compiled(source, Path(scratch, "build"), log=cache / "build.log", say=say)
        staged = Path(scratch, "ready")
        shutil.copytree(made, staged, ignore=shutil.ignore_patterns("*.a"))
        if not ready.parent.exists():
            os.replace(staged, ready.parent)
    return ready


def pinned(requirements: str) -> str:
    """The package's block of a requirements file: version and hashes. Raises BuildError."""
    found = re.search(rf"^{PACKAGE}==.*?(?=^\S|\Z)", requirements, re.MULTILINE | re.DOTALL)
    if found is None:
        raise BuildError(f"{REQUIREMENTS} does not pin {PACKAGE}: run `make lock`")
    return found.group()


def percent(line: str) -> int | None:
    """How far a build is, from a line of make or ninja; None for any other line."""
    found = PROGRESS.match(line)
    if found is None:
        return None
    return int(found[1]) if found[1] else 100 * int(found[2]) // int(found[3])


def _source(scratch: Path, block: str) -> Path:
    """llama.cpp, unpacked from the source distribution."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(block, encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-binary", PACKAGE, "--no-build-isolation", "--require-hashes"),
        *("--dest", str(scratch), "--requirement", str(requirement)),
    ]
    got = subprocess.run(command, capture_output=True, text=True, check=False)
    if got.returncode:
        raise BuildError(f"the source of {PACKAGE} cannot be fetched:\n{got.stderr.strip()}")
    archive = next(scratch.glob("*.tar.gz"))
    with tarfile.open(archive) as packed:
        packed.extractall(scratch, filter="data")
    return next(scratch.glob("*/vendor/llama.cpp"))


def _compiled(source: Path, folder: Path, *, log: Path, say: Callable[[str], None]) -> Path:
    """The folder with the server and its libraries."""
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    configure = ["cmake", "-S", str(source), "-B", str(folder), *generator]
    configure += [f"-D{name}={value}" for name, value in OPTIONS.items()]
    cores = str(len(os.sched_getaffinity(0)))
    compile_ = ["cmake", "--build", str(folder), "--target", TARGET, "--parallel", cores]
    with log.open("w", encoding="utf-8") as record:
        for command in (configure, compile_):
            told = -1
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    record.write(line)
                    done = percent(line)
                    if done is not None and done // 10 > told:
                        told = done // 10
                        say(f"  compiling llama-server: {done} %")
            if process.returncode:
                record.flush()
                tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-30:])
                raise BuildError(f"{tail}\nthe build failed; all of its output is in {log}")
    return folder / "bin"
