"""Builds the llama.cpp binding once per version, options and platform, and installs it.

Run by `make` with the virtual environment's Python. The source distribution is pinned by hash in
requirements.txt and changed by `patches`: files of ours are put beside its own, and patches
applied, each of which says why. The wheel is cached in the user's cache directory, so a second
clone installs it in seconds. One build serves every CPU of its kind: each instruction-set variant
is a library of its own, chosen when the worker starts. GPU backends are libraries too: see
`gpu.py`.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "llama-cpp-python"
REQUIREMENTS = Path(__file__).with_name("requirements.txt")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice" / "wheels"
CHANGES = Path(__file__).with_name("patches")
PATCHES = sorted(CHANGES.glob("*.patch"))
ADDED = sorted(one for one in (CHANGES / "vendor").rglob("*") if one.is_file())
LIBRARIES = "llama_cpp/lib"
OPTIONS = {
    "GGML_BACKEND_DL": "ON",  # backends are libraries, loaded at run time
    "GGML_CPU_ALL_VARIANTS": "ON" if platform.machine() in ("x86_64", "AMD64") else "OFF",
    "GGML_NATIVE": "OFF",
    "LLAVA_BUILD": "OFF",  # no image models
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_BUILD_TOOLS": "OFF",
    "CMAKE_INSTALL_BINDIR": LIBRARIES,  # the variants beside the library that loads them
    "CMAKE_INSTALL_LIBDIR": LIBRARIES,
    "CMAKE_INSTALL_INCLUDEDIR": "llama_cpp/include",
}
PROGRESS = re.compile(r"\[(\d+)/(\d+)\]")


def pinned() -> str:
    """The binding's block in requirements.txt: version and hashes."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    found = re.search(rf"^{PACKAGE}==.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"{REQUIREMENTS} does not pin {PACKAGE}")
    return found.group()


def changes() -> list[str]:
    """What is changed in the source: the texts of all patches and added files."""
    return [one.read_text(encoding="utf-8") for one in (*PATCHES, *ADDED)]


def wheel(chosen: dict[str, str]) -> Path:
    """The cached wheel, built if it is not there yet."""
    machine = (sysconfig.get_platform(), platform.libc_ver())
    identity = repr((pinned(), changes(), sorted(chosen.items()), machine))
    directory = CACHE / hashlib.sha256(identity.encode()).hexdigest()[:16]
    ready = sorted(directory.glob("*.whl"))
    if ready:
        return ready[0]
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        build(Path(scratch), chosen)
        directory.mkdir(exist_ok=True)
        for made in Path(scratch, "wheels").glob("*.whl"):
            os.replace(made, directory / made.name)
    return next(directory.glob("*.whl"))


def source(scratch: Path) -> Path:
    """The pinned source distribution, unpacked and patched. Ends the program when that fails."""
    requirement = scratch / "requirement.txt"
    requirement.write_text(pinned(), encoding="utf-8")
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"),
        *("--no-build-isolation", "--no-binary", PACKAGE, "--dest", str(scratch)),
        *("--requirement", str(requirement)),
    ]
    subprocess.run(command, check=True)
    with tarfile.open(next(scratch.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(scratch, filter="data")
    unpacked = next(one for one in scratch.glob("llama_cpp_python-*") if one.is_dir())
    for one in ADDED:
        shutil.copy(one, unpacked / one.relative_to(CHANGES))
    for one in PATCHES:
        apply(one, unpacked)
    return unpacked


def apply(change: Path, folder: Path) -> None:
    """Patches a folder's files. Ends the program when a hunk does not fit."""
    tool = ("patch", "-p1", "-i") if shutil.which("patch") else ("git", "apply", "-p1")
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}  # in no repository
    try:
        subprocess.run([*tool, str(change)], cwd=folder, env=environment, check=True)
    except FileNotFoundError:
        sys.exit("building llama.cpp needs `patch` or `git`: install one of them")
    except subprocess.CalledProcessError:
        sys.exit(f"{change} does not fit {folder.name}: make it anew, or remove it")


def build(scratch: Path, chosen: dict[str, str]) -> None:
    environment = os.environ | {
        "CMAKE_ARGS": " ".join(f"-D{name}={value}" for name, value in chosen.items()),
        "CMAKE_BUILD_PARALLEL_LEVEL": str(len(os.sched_getaffinity(0))),
    }
    print(f"building {PACKAGE} from source, 5 to 15 minutes, once per machine", flush=True)
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps"),
        *("--no-build-isolation", "--no-cache-dir"),
        *("--wheel-dir", str(scratch / "wheels"), str(source(scratch))),
    ]
    log = CACHE / "build.log"
    with (
        log.open("w", encoding="utf-8") as record,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        show(process.stdout, record)
    if process.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-30:]
        sys.exit("\n".join([*tail, f"the build failed; all of its output is in {log}"]))


def show(lines: object, record: object) -> None:
    """Keeps the whole output in the log and shows how far the compiler is."""
    shown = -1
    for line in lines:  # type: ignore[attr-defined]
        record.write(line)  # type: ignore[attr-defined]
        found = PROGRESS.search(line)
        if not found:
            continue
        percent = 100 * int(found[1]) // int(found[2])
        step = 1 if sys.stdout.isatty() else 10
        if percent // step > shown:
            shown = percent // step
            print(f"  compiling llama.cpp: {percent} %", flush=True)


def main() -> None:
    made = wheel(OPTIONS)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", made],
        check=True,
    )


if __name__ == "__main__":
    main()
