"""A fresh appliance for a benchmark, in a folder that goes away with it."""

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

READY_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running appliance: where it is, who asks as its operator, and its process."""

    url: str
    headers: dict[str, str]
    pid: int


@contextlib.contextmanager
def served(settings: str, *, engine: str = "llama") -> Iterator[Served]:
    """Starts one with this settings file and stops it on exit. Raises SystemExit if it cannot."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        data = Path(folder)
        data.chmod(0o700)
        (data / "settings.toml").write_text(settings, encoding="utf-8")
        command = [sys.executable, "-m", "appliance", "serve", "--port", "0", "--data", folder]
        with subprocess.Popen(
            [*command, "--engine", engine],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                timer = threading.Timer(READY_TIMEOUT_S, process.kill)
                timer.start()
                word, _, url = process.stdout.readline().strip().partition(" ")
                timer.cancel()
                if word != "ready":
                    raise SystemExit("the appliance did not become ready")
                key = (data / "admin.key").read_text().strip()
                headers = {"Authorization": f"Bearer {key}"}
                yield Served(url=url, headers=headers, pid=process.pid)
            finally:
                process.terminate()
                process.wait()


def many_asking(served: Served) -> httpx.AsyncClient:
    """A client that may have a thousand requests open."""
    return httpx.AsyncClient(
        base_url=served.url,
        headers=served.headers,
        timeout=600.0,
        limits=httpx.Limits(max_connections=1000),
    )
