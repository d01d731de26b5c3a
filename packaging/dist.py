"""`make dist`: builds the one file that is handed to people.

    PyInstaller     a folder with Python, every module, library and data file (sluice.spec)
    licences        the text of every part, into the folder, and the bill of materials (sbom.py)
    glibc floor     from the symbols of all objects, into `about.json`
    launcher        compiled, with the folder behind it as one executable file (onefile.py)

`--flavour full` adds the starter models, which the product moves into its store at first start.
What was built, with sizes and floor, is told in `dist/sluice.json`, its parts in
`dist/sluice.cdx.json`, its checksum in `dist/sluice.sha256`.
"""

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT)]

import glibc  # noqa: E402 # siblings of this script, which is run by its path
import gpu  # noqa: E402
import licences  # noqa: E402
import onefile  # noqa: E402
import sbom  # noqa: E402

from appliance import __version__  # noqa: E402
from models.catalogue import shipped  # noqa: E402
from models.store import Store  # noqa: E402

BUILD, TARGET = ROOT / "build", ROOT / "dist"
FOLDER = BUILD / "folder/sluice"
STARTERS = ("chat", "embedding")
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flavour", choices=["slim", "full"], default="slim")
    parser.add_argument(
        "--again", action="store_true", help="wrap the folder of the last build, without a new one"
    )
    arguments = parser.parse_args()
    flavour = arguments.flavour
    weights = starters() if flavour == "full" else []
    tree = FOLDER if arguments.again else collect()
    backends = gpu_backends(tree)
    launcher = BUILD / "launcher"
    is_static = onefile.compile_launcher(launcher, os.environ.get("CC", "cc"))
    others = [*licences.launcher_parts(is_static=is_static), *weight_parts()]
    parts = licences.gather(BUILD / "sluice/collected.json", tree / "licences", others)
    bill = sbom.document(parts)
    (tree / "licences" / sbom.NAME).write_text(bill, encoding="utf-8")
    floor = glibc.floor(tree)
    oldest = next(iter(floor), "")
    about = {"version": __version__, "glibc": oldest, "machine": platform.machine()}
    (tree / "about.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
    TARGET.mkdir(exist_ok=True)
    target = TARGET / ("sluice" if flavour == "slim" else "sluice-full")
    print(f"compressing into {target.relative_to(ROOT)}", flush=True)
    onefile.wrap(launcher, tree, target, version=__version__, weights=weights)
    files = [one for one in tree.rglob("*") if one.is_file() and not one.is_symlink()]
    size_bytes, unpacked_bytes = target.stat().st_size, sum(one.stat().st_size for one in files)
    figures = about | {
        "bytes": size_bytes,
        "unpacked_bytes": unpacked_bytes,
        "gpu_backends": backends,
        "needs_highest_glibc": floor.get(oldest, []),
        "parts": [one.name for one in parts],
    }
    target.with_suffix(".json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".cdx.json").write_text(bill, encoding="utf-8")
    target.with_suffix(".sha256").write_text(checksum(target), encoding="utf-8")
    print(
        f"{target.relative_to(ROOT)}: {size_bytes / MIB:.0f} MiB, unpacked "
        f"{unpacked_bytes / MIB:.0f} MiB, {len(parts)} parts; "
        f"needs glibc {oldest or 'none'}; GPU backends: {', '.join(backends) or 'none'}"
    )


def collect() -> Path:
    """Runs PyInstaller; the folder it made."""
    log = BUILD / "pyinstaller.log"
    BUILD.mkdir(exist_ok=True)
    print("collecting with PyInstaller, about a minute", flush=True)
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "INFO"]
    command += [
        "--workpath",
        str(BUILD),
        "--distpath",
        str(BUILD / "folder"),
        str(HERE / "sluice.spec"),
    ]
    with log.open("w", encoding="utf-8") as record:
        done = subprocess.run(command, stdout=record, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode:
        tail = log.read_text(encoding="utf-8").splitlines()[-30:]
        sys.exit("\n".join([*tail, f"PyInstaller failed; all of its output is in {log}"]))
    for folder in FOLDER.rglob("__pycache__"):
        shutil.rmtree(folder)
    return FOLDER


def checksum(file: Path) -> str:
    """A line as `sha256sum --check` reads it."""
    with file.open("rb") as stream:
        return f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {file.name}\n"


def gpu_backends(tree: Path) -> list[str]:
    """Those in the folder; ends the build when one that lies beside the binding is not."""
    found = [one for one in gpu.BACKENDS if any(tree.rglob(f"libggml-{one}.so"))]
    lost = sorted(set(gpu.installed()) - set(found))
    if lost:
        sys.exit(f"the backend for {' and '.join(lost)} was not collected: see sluice.spec")
    return found


def starters() -> list[Path]:
    """The checked starter models, as `make` has fetched them into the user's cache."""
    store = Store(platformdirs.user_cache_path("sluice") / "models")
    return [store.checked(store.catalogue.require(role).name) for role in STARTERS]


def weight_parts() -> list[licences.Part]:
    """The starter models; their texts travel in both flavours, for they are fetched by both."""
    parts = []
    for role in STARTERS:
        entry = shipped().require(role)
        text = licences.OWN_TEXTS / f"{entry.name}.txt"
        texts = {text.name: text} if text.is_file() else {}
        kind = "machine-learning-model"
        parts.append(licences.Part(entry.name, "", entry.licence, texts, kind=kind))
    return parts


if __name__ == "__main__":
    main()
