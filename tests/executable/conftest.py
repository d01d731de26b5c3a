"""The launcher, compiled once, and small executables made with it."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

import onefile  # noqa: E402 # lies beside the other build scripts

SAY = '#!/bin/sh\nprintf "%s\\n" "$0" "$SLUICE_FILE" "$@"\n'
TIMEOUT_S = 60.0


@dataclass
class Bench:
    """Makes executables and starts them with a home of their own."""

    launcher: Path
    folder: Path

    def __post_init__(self) -> None:
        self.home = self.folder / "home"
        self.home.mkdir()

    @property
    def runtime(self) -> Path:
        return self.home / ".cache/sluice/runtime"

    def make(
        self, files: dict[str, bytes] | None = None, *, version: str = "1.0", program: str = SAY
    ) -> Path:
        """An executable called `sluice VERSION` whose program is a shell script."""
        tree = self.folder / f"tree-{version}"
        for name, content in {"sluice": program.encode(), **(files or {})}.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (tree / "sluice").chmod(0o755)
        target = self.folder / f"sluice {version}"
        onefile.wrap(self.launcher, tree, target, version=version)
        return target

    def environment(self, **more: str) -> dict[str, str]:
        return {"HOME": str(self.home), "PATH": os.defpath} | more

    def run(
        self, file: Path, *arguments: str, before: tuple[str, ...] = (), **more: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*before, str(file), *arguments],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )

    def start(self, file: Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(file)],
            env=self.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def left(self) -> list[str]:
        """What lies in the cache beside the lock."""
        return sorted(one.name for one in self.runtime.iterdir() if one.name != "lock")


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("launcher") / "launcher"
    onefile.compile_launcher(target)
    return target


@pytest.fixture
def bench(launcher: Path, tmp_path: Path) -> Bench:
    return Bench(launcher, tmp_path)
