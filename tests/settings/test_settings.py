"""The settings file: its example is the manual, and what is wrong in it is said in words."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from appliance.errors import Invalid
from appliance.runtime.options import Options
from appliance.settings import FILE_NAME, Settings, example, load

pytestmark = pytest.mark.unit


def uncommented() -> str:
    lines = example().splitlines()
    return "\n".join(
        line.removeprefix("#") if line[:1] == "#" and line[1:2] != " " else line for line in lines
    )


def test_the_first_start_writes_an_example_that_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings()
    assert (tmp_path / FILE_NAME).read_text(encoding="utf-8") == example()
    assert load(tmp_path) == Settings()


def test_the_example_shows_every_key_at_its_default(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(uncommented(), encoding="utf-8")
    assert load(tmp_path) == Settings()
    table = tomllib.loads(uncommented())
    assert set(table) == set(Settings.__struct_fields__)
    for name, section in table.items():
        assert set(section) == set(getattr(Settings(), name).__struct_fields__), name


def test_a_key_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("[server]\nport = 9000\nhost = '::1'\n")
    settings = Options(port=0).applied(load(tmp_path))
    assert (settings.server.port, settings.server.host) == (0, "::1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\nprot = 1\n", "server.prot"),
        ("[sever]\nport = 1\n", "sever"),
        ("[server]\nport = 'many'\n", "port"),
        ("[server]\nport = 99999\n", "port"),
        ("[requests.defaults]\ntemprature = 1\n", "requests.defaults.temprature"),
        ("[[limiter.tiers]]\nname = 'a'\nweigth = 2\n", "limiter.tiers.weigth"),
        ("[server\n", "TOML"),
        ("[worker]\nheartbeat_s = 5\n", "lease_s must be at least 3 times heartbeat_s"),
        ("[worker]\nlost_after_s = 5\n", "lost_after_s must be at least lease_s"),
        ("[store]\nfsync = 'never'\n", "fsync"),
        ("[inbox]\nquiet_hours = '22-7'\n", "quiet_hours must be like"),
        ("[inbox]\ntimezone = 'Mars/Base'\n", "timezone must be like"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(Invalid) as refused:
        load(tmp_path)
    assert FILE_NAME in refused.value.message
    assert said in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[server]\nprot = 1\n", "server.port"),
        ("[[limiter.tiers]]\nname = 'a'\nweigth = 2\n", "limiter.tiers.weight"),
    ],
)
def test_the_nearest_known_key_is_suggested(tmp_path: Path, text: str, near: str) -> None:
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(Invalid) as refused:
        load(tmp_path)
    assert near in refused.value.hint


def test_every_key_is_explained() -> None:
    lines = example().splitlines()
    keys = [(before, line) for before, line in itertools.pairwise(lines) if re.match(r"#\S", line)]
    assert len(keys) > 100
    assert [line for before, line in keys if not before.startswith("# ")] == []
    assert "# defaults.seed is not set" in lines
