"""Builds one GPU backend of llama.cpp as a library of its own and puts it beside the others.

`gpu.py vulkan` and `gpu.py cuda` are `make vulkan` and `make cuda`; `gpu.py present` follows each
installation of the binding, and builds only where an NVIDIA GPU and its compiler are; `gpu.py dist`
precedes the executable, and builds for Vulkan where its tools are, or says that they are not.

Backends are loaded at run time, so this library is all that a GPU needs: the wheel stays the one
that every machine has. It is built from the same pinned source with the same options, and cached
like the wheel. What a distribution ships too old (Debian 12's Vulkan headers) is taken from its
next release through apt, whose signatures vouch for it, and unpacked into a scratch folder; nothing
of that release is installed.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from llama import CACHE, OPTIONS, changes, pinned, show, source

LIBRARIES = CACHE.with_name("backends")
BACKENDS = ("vulkan", "cuda")
VULKAN_TOOLS = {
    "glslc": Path("/usr/bin/glslc"),  # compiles the shaders
    "spirv-headers": Path("/usr/share/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake"),
    "mesa-vulkan-drivers": Path("/usr/share/vulkan/icd.d"),  # AMD, Intel, and one without a GPU
}
VULKAN_HEADERS = Path("/usr/include/vulkan/vulkan_structs.hpp")
NEEDED_IN_HEADERS = "LayerSettingEXT"  # what older headers lack
NEXT_RELEASE = {"bookworm": "trixie"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ONLY_THE_BACKEND = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_CPU": "OFF",
    "LLAMA_BUILD_COMMON": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_SERVER": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
    "CMAKE_INSTALL_RPATH": "$ORIGIN",  # its libggml-base is the wheel's
}


def install_present() -> None:
    """Put what is cached for this very binding beside it, and remove what another one left."""
    for backend in BACKENDS:
        (_folder() / _file(backend)).unlink(missing_ok=True)
        wanted = backend == "cuda" and shutil.which("nvcc") and Path("/dev/nvidia0").exists()
        if wanted or _cached(backend).exists():
            install(backend)


def install_for_dist() -> None:
    """Vulkan beside the binding if it can be built here without installing anything."""
    missing = _missing_for_dist()
    if missing:
        print(
            f"the executable gets no Vulkan backend, for want of {', '.join(missing)}; "
            "`make vulkan` installs that or says how, then run this again",
            flush=True,
        )
    else:
        install("vulkan")


def ready_for_dist() -> bool:
    """True where the executable gets the Vulkan backend."""
    return not _missing_for_dist()


def installed() -> list[str]:
    """The GPU backends beside the binding, which the executable must have too."""
    return [backend for backend in BACKENDS if (_folder() / _file(backend)).exists()]


def install(backend: str) -> Path:
    """The library beside the binding, built first unless it is cached."""
    made = _cached(backend)
    if not made.exists():
        LIBRARIES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=LIBRARIES) as scratch:
            library = _build(backend, Path(scratch))
            made.parent.mkdir(exist_ok=True)
            os.replace(library, made)
    target = _folder() / _file(backend)
    _place(made, target)
    return target


def _build(backend: str, scratch: Path) -> Path:
    definitions = {
        name: value for name, value in OPTIONS.items() if not name.startswith(("CMAKE", "GGML_CPU"))
    }
    definitions |= ONLY_THE_BACKEND | {f"GGML_{backend.upper()}": "ON"}
    definitions |= _vulkan(scratch) if backend == "vulkan" else _cuda()
    carried, build = source(scratch) / "vendor" / "llama.cpp", scratch / "build"
    print(f"building the {backend} backend of llama.cpp, once per machine", flush=True)
    log = LIBRARIES / f"{backend}.log"
    log.write_text("", encoding="utf-8")
    arguments = [f"-D{name}={value}" for name, value in definitions.items()]
    _logged(["cmake", "-S", str(carried), "-B", str(build), *_generator(), *arguments], log)
    jobs = str(len(os.sched_getaffinity(0)))
    target = f"ggml-{backend}"
    _logged(["cmake", "--build", str(build), "--target", target, "--parallel", jobs], log)
    return build / "bin" / _file(backend)


def _generator() -> list[str]:
    return ["-G", "Ninja"] if shutil.which("ninja") else []


def _vulkan(scratch: Path) -> dict[str, str]:
    """Checks the tools, installing them where that is allowed, and finds headers."""
    missing = [one for one in _missing_tools() if one in VULKAN_TOOLS]
    if missing:
        command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            sys.exit(
                f"the Vulkan backend needs {', '.join(missing)}; on Debian and Ubuntu:\n"
                f"  sudo {' '.join(command)}"
            )
        _output(["apt-get", "update"])
        _output(["env", "DEBIAN_FRONTEND=noninteractive", *command])
    loader = _loader()
    if loader is None:
        sys.exit("the Vulkan loader is missing: sudo apt-get install libvulkan1")
    if VULKAN_HEADERS.exists() and NEEDED_IN_HEADERS in VULKAN_HEADERS.read_text():
        return {"Vulkan_LIBRARY": str(loader)}
    return {"Vulkan_LIBRARY": str(loader), "Vulkan_INCLUDE_DIR": str(_newer_headers(scratch))}


def _missing_for_dist() -> list[str]:
    return [] if _cached("vulkan").exists() else _missing_tools()


def _missing_tools() -> list[str]:
    """Debian's names of what is needed to build for Vulkan and is not here."""
    missing = [package for package, proof in VULKAN_TOOLS.items() if not proof.exists()]
    return missing if _loader() else [*missing, "libvulkan1"]


def _loader() -> Path | None:
    return next(iter(sorted(Path("/usr/lib").glob("*/libvulkan.so.1"))), None)


def _newer_headers(scratch: Path) -> Path:
    """Vulkan headers of the next Debian release, from the mirror this machine uses already."""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    listed = _output(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"])
    mirrors = [line.split()[0] for line in listed.splitlines() if line.endswith(f" {release} main")]
    if release not in NEXT_RELEASE or not mirrors or not KEYRING.exists():
        sys.exit(
            "the Vulkan headers here are too old: install version 1.4 of the headers "
            "(package libvulkan-dev or vulkan-headers) and run this again"
        )
    apt = scratch / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    sources = apt / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {mirrors[0]} {NEXT_RELEASE[release]} main\n")
    private = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "",  # the scratch folder is ours alone
    }
    options = [part for name, value in private.items() for part in ("-o", f"{name}={value}")]
    _output(["apt-get", *options, "update"])
    _output(["apt-get", *options, "download", "libvulkan-dev"], folder=apt)
    package = next(apt.glob("libvulkan-dev_*.deb"))
    _output(["dpkg-deb", "--extract", str(package), str(apt / "unpacked")])
    return apt / "unpacked/usr/include"


def _cuda() -> dict[str, str]:
    compiler = shutil.which("nvcc")
    if compiler is None:
        sys.exit("the CUDA backend needs nvcc: install NVIDIA's CUDA toolkit and put it on PATH")
    probe = [compiler, "-E", "-x", "cu", "-"]
    text = "#include <cublas_v2.h>\n"
    if subprocess.run(probe, input=text, text=True, capture_output=True).returncode:
        sys.exit(f"{compiler} finds no cuBLAS: install the toolkit's libcublas-dev package")
    return {"CMAKE_CUDA_COMPILER": compiler} | _architectures()


def _architectures() -> dict[str, str]:
    """The GPUs of this machine alone, which makes the build several times shorter.

    Without a GPU nothing is chosen, and llama.cpp builds for all of them. The variable
    CUDA_ARCHITECTURES decides where it is set.
    """
    chosen = os.environ.get("CUDA_ARCHITECTURES", "")
    if not chosen and shutil.which("nvidia-smi") and Path("/dev/nvidia0").exists():
        said = _output(["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"])
        found = {line.strip().replace(".", "") for line in said.split()}
        chosen = ";".join(f"{one}-real" for one in sorted(found))
    return {"CMAKE_CUDA_ARCHITECTURES": chosen} if chosen else {}


def _cached(backend: str) -> Path:
    """Where a library for this source with our changes, these options and this platform is kept."""
    options = sorted(OPTIONS.items()) + sorted(ONLY_THE_BACKEND.items())
    if backend == "cuda":
        options += sorted(_architectures().items())
    machine = (sysconfig.get_platform(), platform.libc_ver())
    identity = repr((backend, pinned(), changes(), options, machine))
    return LIBRARIES / hashlib.sha256(identity.encode()).hexdigest()[:16] / _file(backend)


def _folder() -> Path:
    """Where the binding's libraries are; found without importing it."""
    found = importlib.util.find_spec("llama_cpp")
    if found is None or not found.submodule_search_locations:
        sys.exit("llama-cpp-python is not installed: run make first")
    return Path(found.submodule_search_locations[0]) / "lib"


def _file(backend: str) -> str:
    return f"libggml-{backend}.so"


def _place(made: Path, target: Path) -> None:
    """Copy beside and rename: a worker that starts meanwhile sees all of it or nothing."""
    beside = target.with_suffix(f".{os.getpid()}")
    shutil.copyfile(made, beside)
    os.replace(beside, target)


def _logged(command: list[str], log: Path) -> None:
    with (
        log.open("a", encoding="utf-8") as record,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        assert process.stdout is not None
        show(process.stdout, record)
    if process.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-30:]
        sys.exit("\n".join([*tail, f"the build failed; all of its output is in {log}"]))


def _output(command: list[str], folder: Path | None = None) -> str:
    """What a short command prints; ends the program with its complaint when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=[*BACKENDS, "present", "dist"])
    what = parser.parse_args().what
    if what == "present":
        install_present()
    elif what == "dist":
        install_for_dist()
    else:
        print(f"ready: {install(what)}")


if __name__ == "__main__":
    main()
