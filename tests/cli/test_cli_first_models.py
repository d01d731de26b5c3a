"""Models of a machine without a network come from a file that is named."""

import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from appliance.backup import archive
from appliance.backup.archive import Source
from appliance.backup.layout import LAYOUT
from appliance.cli.bundle import Carried
from appliance.cli.first_models import take
from appliance.errors import Conflict, Invalid, NotFound
from appliance.settings import FILE_NAME
from models.catalogue import shipped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from models_bench import Gguf  # type: ignore[import-not-found]

pytestmark = pytest.mark.unit


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return made


def write(path: Path, gguf: Gguf) -> Path:
    path.write_bytes(gguf.build())
    return path


def bundle(path: Path, *names: str) -> Path:
    listing = [Carried(f"models/{name}.gguf", name, "chat") for name in names]
    sources = [Source(one.member, content=Gguf().build()) for one in listing]
    sources.append(Source("models.json", content=msgspec.json.encode(listing)))
    archive.write(path, sources, kind="bundle", layout=LAYOUT, now_ms=1)
    return path


def test_weights_that_are_named_are_to_be_used(data: Path, tmp_path: Path) -> None:
    named = write(tmp_path / "my model.gguf", Gguf())
    assert take(named, data) == "my-model"
    assert (tmp_path / "share/sluice/models/my-model.gguf").read_bytes() == named.read_bytes()
    assert take(named, data) == "my-model", "also when they are here already"


def test_a_model_of_a_bundle_is_to_be_used(data: Path, tmp_path: Path) -> None:
    assert take(bundle(tmp_path / "b", "a"), data) == "a"
    assert (tmp_path / "share/sluice/models/a.gguf").exists()


def test_an_embedding_model_is_put_into_the_settings(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = write(tmp_path / "finder.gguf", Gguf())
    monkeypatch.setattr("models.store.precheck", lambda path: Pooling())
    assert take(named, data) == shipped().roles.chat, "the chat model stays the one it was"
    settings = tomllib.loads((data / FILE_NAME).read_text())
    assert settings["models"] == {"embedding": "finder"}


class Pooling:
    """What is seen of the header of an embedding model."""

    pools = True


def test_what_others_are_fetching_is_refused_and_not_waited_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched_elsewhere(*_: object, **__: object) -> None:
        raise Conflict("being fetched", reason="being_fetched")

    def waited(_: float) -> None:
        raise AssertionError("nobody waits here")

    monkeypatch.setattr("models.carried.carries", lambda *_: True)
    monkeypatch.setattr("models.pull.pull", fetched_elsewhere)
    monkeypatch.setattr("appliance.cli.starters.time.sleep", waited)
    (tmp_path / "sluice").write_bytes(b"an executable with models")
    with pytest.raises(Conflict):
        take(tmp_path / "sluice", data)


def test_what_is_no_model_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file /nothing/there"):
        take(Path("/nothing/there"), data)
    (tmp_path / "words.txt").write_text("words")
    with pytest.raises(Invalid):
        take(tmp_path / "words.txt", data)
