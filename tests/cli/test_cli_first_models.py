"""A first start without a network: models come from a file that is named."""

import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from appliance.backup import archive
from appliance.backup.archive import Source
from appliance.backup.layout import LAYOUT
from appliance.cli import first_models
from appliance.cli.bundle import Carried
from appliance.cli.first_models import await_models
from appliance.errors import Unavailable
from appliance.runtime.options import Options
from appliance.settings import Settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from models_bench import Gguf  # type: ignore[import-not-found]

pytestmark = pytest.mark.unit


class Person:
    """Answers one line after another, and then nothing more."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def __call__(self) -> str:
        return f"{self._lines.pop(0)}\n" if self._lines else ""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a network, which is content once a model was chosen or is in the store."""
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))

    def fetch(settings: Settings) -> None:
        if not settings.models.chat and not list(tmp_path.glob("share/sluice/models/*.gguf")):
            raise Unavailable("no network")

    monkeypatch.setattr(first_models, "fetch_starters", fetch)
    return made


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "my model.gguf"
    path.write_bytes(Gguf().build())
    return path


def test_weights_that_are_named_are_taken_into_use(
    data: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = Person("", "/nothing/there", f"'{weights}'")
    await_models(Options(data=data), data, person)
    settings = tomllib.loads((data / "settings.toml").read_text())
    assert settings["models"] == {"chat": "my-model"}
    said = capsys.readouterr().err
    assert "there is no file /nothing/there" in said
    assert said.count("Enter tries again") == 3


def test_a_bundle_that_is_named_is_taken_in(data: Path, weights: Path, tmp_path: Path) -> None:
    listing = msgspec.json.encode([Carried("models/a.gguf", "a", "chat")])
    files = {"models/a.gguf": weights.read_bytes(), "models.json": listing}
    sources = [Source(name, content=content) for name, content in files.items()]
    archive.write(tmp_path / "b", sources, kind="bundle", layout=LAYOUT, now_ms=1)
    await_models(Options(data=data), data, Person(str(tmp_path / "b")))
    assert (tmp_path / "share/sluice/models/a.gguf").read_bytes() == weights.read_bytes()


def test_when_nobody_answers_the_reason_is_raised(data: Path) -> None:
    with pytest.raises(Unavailable, match="no network"):
        await_models(Options(data=data), data, Person())
