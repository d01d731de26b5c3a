"""A bundle from one machine to another: a real appliance on either side, tiny weights."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.integration

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from models_bench import Gguf  # type: ignore[import-not-found] # noqa: E402

ENTRY = {"question": "Where is the key?", "answer": "Under the mat. 在垫子下面。"}


class Machine:
    """A data directory whose weights lie in it."""

    def __init__(self, folder: Path) -> None:
        self.data = folder
        folder.mkdir(mode=0o700)
        self.models = folder / "weights"

    def settle(self, more: str = "") -> None:
        text = f"[models]\ndirectory = {json.dumps(str(self.models))}\n{more}"
        (self.data / "settings.toml").write_text(text)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "appliance", "--data", str(self.data), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    @contextmanager
    def running(self) -> Iterator[httpx.Client]:
        command = [sys.executable, "-m", "appliance", "serve", "--data", str(self.data)]
        process = subprocess.Popen(
            [*command, "--engine", "fake", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        timer = threading.Timer(90, process.kill)
        timer.start()
        url = process.stdout.readline().strip().partition(" ")[2]
        timer.cancel()
        assert url, "it did not start"
        key = (self.data / "admin.key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
            yield client
        process.terminate()
        process.communicate(timeout=60)


def test_models_settings_and_faq_reach_another_machine(tmp_path: Path) -> None:
    here, there, bundle = Machine(tmp_path / "一 here"), Machine(tmp_path / "there"), tmp_path / "b"
    here.settle()
    weights = tmp_path / "my-model.gguf"
    weights.write_bytes(Gguf().build())
    imported = here.run("models", "import", str(weights))
    assert imported.returncode == 0, imported.stderr
    refused = here.run("bundle", "export", str(bundle))
    assert (refused.returncode, "--without-faq" in refused.stderr) == (2, True)
    with here.running() as client:
        assert client.post("/api/faq", json=ENTRY).status_code == 201
        exported = here.run("bundle", "export", str(bundle))
    assert "1 models, settings, FAQ" in exported.stdout, exported.stderr

    first = there.run("bundle", "import", str(bundle))
    assert first.returncode == 69
    assert "run this command again" in first.stdout
    assert (there.data / "settings.toml").read_bytes() == (here.data / "settings.toml").read_bytes()
    there.settle("[faq]\n")  # a person's own change
    with there.running() as client:
        second = there.run("bundle", "import", str(bundle))
        assert second.returncode == 0, second.stderr
        (entry,) = client.get("/api/faq").json()["items"]
    assert entry["answer"] == ENTRY["answer"]
    assert (there.models / "my-model.gguf").read_bytes() == weights.read_bytes()
    assert (there.data / "settings.bundle.toml").exists()
    assert not list(there.models.glob(".bundle*"))


def test_a_damaged_bundle_changes_nothing(tmp_path: Path) -> None:
    here, there, bundle = Machine(tmp_path / "here"), Machine(tmp_path / "there"), tmp_path / "b"
    here.settle()
    assert here.run("bundle", "export", "--without-faq", str(bundle)).returncode == 0
    os.truncate(bundle, bundle.stat().st_size - 10)
    refused = there.run("bundle", "import", str(bundle))
    assert refused.returncode == 2
    assert "is damaged" in refused.stderr
    assert not (there.data / "settings.toml").exists()
