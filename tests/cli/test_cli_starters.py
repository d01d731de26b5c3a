"""Fetching the starter models before the UI opens: from where, and while another window does."""

from pathlib import Path

import msgspec
import pytest

from appliance.cli.starters import fetch_starters
from appliance.errors import Conflict
from appliance.settings import Settings
from models import pull
from models.catalogue import shipped
from models.files import only_writer
from models.store import Store

pytestmark = pytest.mark.unit


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings()
    models = msgspec.structs.replace(
        made.models, directory=str(tmp_path), mirror="http://mirror.example"
    )
    return msgspec.structs.replace(made, models=models)


def test_they_come_from_the_mirror_of_the_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def fake(store: Store, name: str, *, report: pull.Report, ways: pull.Ways) -> None:
        asked.append((name, ways.mirror))

    monkeypatch.setattr(pull, "pull", fake)
    fetch_starters(settings)
    assert asked == [("chat", "http://mirror.example"), ("embedding", "http://mirror.example")]
    assert "正在获取模型" in capsys.readouterr().err


def test_a_window_that_fetches_them_already_is_waited_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = only_writer(tmp_path, "weights")
    other.__enter__()
    refused: list[Conflict] = []

    def fake(store: Store, name: str, *, report: pull.Report, ways: pull.Ways) -> None:
        with only_writer(tmp_path, "weights"):
            pass

    def look(seconds: float) -> None:
        refused.append(Conflict("being fetched"))
        if len(refused) == 3:
            other.__exit__(None, None, None)

    monkeypatch.setattr(pull, "pull", fake)
    monkeypatch.setattr("time.sleep", look)
    fetch_starters(settings)
    assert len(refused) == 3


def test_nothing_is_fetched_or_said_where_they_are_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {shipped().require(role).name for role in ("chat", "embedding")}
    monkeypatch.setattr(Store, "has", lambda self, name: name in here)
    fetch_starters(settings)
    assert capsys.readouterr().err == ""
