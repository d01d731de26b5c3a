"""A bundle from one machine to another: a real appliance on either side, tiny weights."""

import json
import os
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from appliance.backup import archive
from appliance.backup.archive import Source
from appliance.backup.layout import LAYOUT
from appliance.cli.bundle import _bring_settings
from appliance.cli.portable import portable
from appliance.errors import Invalid
from appliance.supervisor.lock import DataLock, Running

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
        own = os.environ | {"XDG_DATA_HOME": str(self.data / "share")}
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=own)

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
    assert first.returncode == 69, first.stderr
    assert "run this command again" in first.stdout
    brought = (there.data / "settings.toml").read_text()
    assert brought == (here.data / "settings.toml").read_text().replace("directory", "# directory")
    assert (there.data / "share/sluice/models/my-model.gguf").exists(), "its own store"
    there.settle("[faq]\n")  # a person's own change
    with there.running() as client:
        second = there.run("bundle", "import", str(bundle))
        assert second.returncode == 0, second.stderr
        (entry,) = client.get("/api/faq").json()["items"]
        assert entry["answer"] == ENTRY["answer"]
        edited = client.put(f"/api/faq/{entry['id']}", json=ENTRY | {"answer": "Gone."})
        assert edited.status_code == 200
        refused = there.run("bundle", "import", str(bundle))
        assert refused.returncode == 2, "what was edited here since stays"
        assert "was edited since" in refused.stderr
        assert "--overwrite" in refused.stderr
        assert not {"{", "?"} & set(refused.stderr), "words, not the API's"
        assert there.run("bundle", "import", "--overwrite", str(bundle)).returncode == 0
        (entry,) = client.get("/api/faq").json()["items"]
    assert entry["answer"] == ENTRY["answer"]
    assert (there.models / "my-model.gguf").read_bytes() == weights.read_bytes()
    assert (there.data / "settings.bundle.toml").exists()
    assert not list(there.models.glob(".bundle*"))


def test_models_named_by_their_files_travel_and_are_named_as_there(tmp_path: Path) -> None:
    here, there, bundle = Machine(tmp_path / "here"), Machine(tmp_path / "there"), tmp_path / "b"
    weights = tmp_path / "My Model.gguf"
    weights.write_bytes(Gguf().build())
    here.settle(f"chat = {json.dumps(str(weights))} # mine\n[ui]\nlanguage = 'zh'\n")
    exported = here.run("bundle", "export", "--without-faq", str(bundle))
    assert "1 models" in exported.stdout, exported.stderr
    brought = there.run("bundle", "import", str(bundle))
    assert brought.returncode == 0, brought.stderr
    settings = tomllib.loads((there.data / "settings.toml").read_text())
    assert settings == {"models": {"chat": "my-model"}, "ui": {"language": "zh"}}
    store = there.data / "share/sluice/models"
    assert (store / "my-model.gguf").read_bytes() == weights.read_bytes()
    weights.unlink()
    refused = here.run("bundle", "export", "--without-faq", str(tmp_path / "c"))
    assert (refused.returncode, str(weights) in refused.stderr) == (2, True)


def test_an_appliance_that_runs_is_to_be_restarted_for_settings_of_a_bundle(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert "restart" not in _bring_settings(tmp_path, b"[ui]\n")
    (tmp_path / "settings.toml").unlink()
    lock = DataLock.take(tmp_path)
    try:
        lock.announce(Running(pid=1, url="http://127.0.0.1:9", started_at_ms=1))
        assert "restart" in _bring_settings(tmp_path, b"[ui]\n")
        assert "restart" not in _bring_settings(tmp_path, b"[ui]\n"), "nothing new"
    finally:
        lock.release()


def test_settings_that_are_unsound_here_change_nothing(tmp_path: Path) -> None:
    there, bundle = Machine(tmp_path / "there"), tmp_path / "b"
    files = {"settings.toml": b"[ui]\nshiny = true\n", "models.json": b"[]"}
    sources = [Source(name, content=content) for name, content in files.items()]
    archive.write(bundle, sources, kind="bundle", layout=LAYOUT, now_ms=1)
    refused = there.run("bundle", "import", str(bundle))
    assert refused.returncode == 2
    assert "ui.shiny" in refused.stderr
    assert not (there.data / "settings.toml").exists()
    bundle.unlink()
    archive.write(bundle, sources, kind="bundle", layout=LAYOUT + 1, now_ms=1)
    assert there.run("bundle", "import", str(bundle)).returncode == 78


def test_what_names_files_of_the_other_machine_is_commented_out() -> None:
    lora = "lora = [\n  { path = '/a.gguf', scale = 1.0 }, # one\n]"
    text = f"[models]\nembedding = '/e.gguf'\n{lora}\nmore = ['/m.gguf']\nchat = 'name'\n"
    made = portable(text + "[limiter]\nrule_file = '/r.py' # ours\nqueue_bound = 7\n", {})
    assert tomllib.loads(made) == {"models": {"chat": "name"}, "limiter": {"queue_bound": 7}}
    assert "# one" in made
    with pytest.raises(Invalid, match=r"models\.directory"):
        portable("models = { directory = '/x' }\n", {})


def test_a_damaged_bundle_changes_nothing(tmp_path: Path) -> None:
    here, there, bundle = Machine(tmp_path / "here"), Machine(tmp_path / "there"), tmp_path / "b"
    here.settle()
    assert here.run("bundle", "export", "--without-faq", str(bundle)).returncode == 0
    os.truncate(bundle, bundle.stat().st_size - 10)
    refused = there.run("bundle", "import", str(bundle))
    assert refused.returncode == 2
    assert "is damaged" in refused.stderr
    assert not (there.data / "settings.toml").exists()
