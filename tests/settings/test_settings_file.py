"""Changing one value of the settings file leaves the rest of it as it was."""

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Conflict, Invalid, Unavailable
from appliance.settings import FILE_NAME, Settings, example, load
from appliance.settings.example import toml
from appliance.settings.file import change, edit, read, with_value
from appliance.settings.listing import SettingsFile, declared

pytestmark = pytest.mark.unit


def write(directory: Path, text: str) -> Path:
    path = directory / FILE_NAME
    path.write_text(text, encoding="utf-8")
    return path


def test_the_example_gets_the_value_where_it_explains_it(tmp_path: Path) -> None:
    assert change(tmp_path, "models", "chat", "big-7b") == ""
    lines, before = (tmp_path / FILE_NAME).read_text().splitlines(), example().splitlines()
    changed = [(old, new) for old, new in zip(before, lines, strict=True) if old != new]
    assert changed == [('#chat = ""', 'chat = "big-7b"')]
    assert load(tmp_path).models.chat == "big-7b"
    assert change(tmp_path, "models", "chat", "") == "big-7b"
    assert load(tmp_path).models.chat == ""
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '\n\n[models]\nchat = "m"\n'),
        ("[log]\nlevel = 'info'\n", "[log]\nlevel = 'info'\n\n[models]\nchat = \"m\"\n"),
        ("[models]\n", '[models]\nchat = "m"\n'),
        (
            "[ models ]  # mine\nmirror = ''\n[ui]\n",
            "[ models ]  # mine\nchat = \"m\"\nmirror = ''\n[ui]\n",
        ),
        ("[models]\n# words\nchat='a#b' # why\n", '[models]\n# words\nchat = "m" # why\n'),
        ("[ui]\n#chat = 1\n[models]\n", '[ui]\n#chat = 1\n[models]\nchat = "m"\n'),
    ],
)
def test_the_line_is_put_where_it_belongs(before: str, after: str) -> None:
    assert with_value(before, "models", "chat", '"m"') == after


@pytest.mark.parametrize(
    "text",
    [
        "models = { mirror = '' }\n",
        "models.mirror = ''\n",
        '[prompt]\nsystem = """\n[models]\n"""\n',
    ],
)
def test_what_cannot_be_changed_by_a_line_is_left_to_the_operator(
    tmp_path: Path, text: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(Conflict) as caught:
        change(tmp_path, "models", "chat", "m")
    assert 'chat = "m"' in caught.value.hint
    assert path.read_text(encoding="utf-8") == text


def test_a_file_that_is_wrong_is_not_touched(tmp_path: Path) -> None:
    path = write(tmp_path, "[models]\nchatt = 1\n")
    with pytest.raises(Invalid, match="chatt"):
        change(tmp_path, "models", "chat", "m")
    assert path.read_text() == "[models]\nchatt = 1\n"


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = elsewhere / "mine.toml"
    target.write_text("[models]\n")
    (tmp_path / FILE_NAME).symlink_to(target)
    change(tmp_path, "models", "chat", "m")
    assert (tmp_path / FILE_NAME).is_symlink()
    assert tomllib.loads(target.read_text()) == {"models": {"chat": "m"}}


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "[models]\n")
    (tmp_path / f"{FILE_NAME}.new").mkdir()
    with pytest.raises(Unavailable, match=FILE_NAME):
        change(tmp_path, "models", "chat", "m")
    assert path.read_text() == "[models]\n"


@given(value=st.text(st.characters(codec="utf-8"), max_size=40))
def test_any_text_is_read_back_as_it_was(value: str) -> None:
    table = tomllib.loads(with_value(example(), "models", "chat", toml(value)))
    assert table["models"] == {"chat": value}


def test_several_values_are_changed_at_once_and_words_stay(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """# mine
[server]
port = 9000  # behind nginx
allowed_hosts = [
  "a", # the old name
  "b",
]
[prompt]
system = '''
Be brief.
[server]'''
# the end
""",
    )
    changes = {
        "server.port": "9001",
        "server.allowed_hosts": '["c"]',
        "prompt.system": '"Be kind."',
        "requests.defaults.temperature": "0.5",
        "log.level": '"debug"',
    }
    assert edit(tmp_path, changes, is_rehearsal=True).settings.server.port == 9001
    assert load(tmp_path).server.port == 9000
    edit(tmp_path, changes)
    assert (
        path.read_text()
        == """# mine
[server]
port = 9001  # behind nginx
allowed_hosts = ["c"]
[prompt]
system = "Be kind."
# the end

[requests]
defaults.temperature = 0.5

[log]
level = "debug"
"""
    )


def test_going_back_to_the_default_leaves_the_line_as_a_comment(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 9000\n[log]\nlevel = 'info'\n")
    edit(tmp_path, {"server.port": None, "ui.language": None})
    assert path.read_text() == "[server]\n#port = 9000\n[log]\nlevel = 'info'\n"
    edit(tmp_path, {"server.port": "9001"})
    assert path.read_text().startswith("[server]\nport = 9001\n[log]")


@pytest.mark.parametrize(
    ("key", "literal", "said"),
    [
        ("server.port", "70000", "port"),
        ("server.port", '"x"', "port"),
        ("server.port", "", "no value for port"),
        ("server.port", "1\nhost = 'h'", "no value for port"),
        ("server.prot", "1", "server.prot"),
        ("nowhere.port", "1", "nowhere"),
        ("log.level.x", "1", "level"),
        ("limiter.tiers", "[{nam = 'x'}]", "nam"),
    ],
)
def test_what_no_start_would_take_is_not_written(
    tmp_path: Path, key: str, literal: str, said: str
) -> None:
    path = write(tmp_path, "[server]\nport = 9000\n")
    with pytest.raises(Invalid, match=said):
        edit(tmp_path, {"log.level": '"debug"', key: literal})
    assert path.read_text() == "[server]\nport = 9000\n"


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = write(tmp_path, "[server]\nport = 9000\n")
    version = read(tmp_path).version
    path.write_text("[server]\nport = 9000 # by hand\n")
    with pytest.raises(Conflict) as caught:
        edit(tmp_path, {"server.port": "9001"}, seen=version)
    assert caught.value.reason == "edited_since"
    assert edit(tmp_path, {"server.port": "9001"}, seen=read(tmp_path).version)
    assert path.read_text() == "[server]\nport = 9001 # by hand\n"


def test_every_setting_of_the_example_is_listed_with_its_words() -> None:
    named = {one.name: one for one in declared()}
    section, lines = "", set()
    for line in example().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#") and " = " in line and not line.startswith("# "):
            key, _, default = line[1:].partition(" = ")
            lines.add(f"{section}.{key}")
            assert named[f"{section}.{key}"].default == default
    assert named.keys() == lines | {"requests.defaults.seed"}  # which has no default
    assert named["log.level"].choices == ("debug", "info", "warning", "error")
    kinds = {name: named[name].kind for name in ("ui.language", "server.port", "limiter.tiers")}
    assert kinds == {"ui.language": "text", "server.port": "number", "limiter.tiers": "list"}
    assert named["server.insecure"].kind == "switch"
    assert named["server.port"].description.startswith("Port to listen on")
    assert named["requests.defaults.top_k"].description.startswith("So many of the likeliest")


def test_a_key_that_does_not_exist_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "")
    with pytest.raises(Invalid, match="no setting") as caught:
        SettingsFile(tmp_path, Settings()).change({"server.prot": None})
    assert "server.port" in caught.value.hint


def test_any_default_can_be_written_as_it_is_listed(tmp_path: Path) -> None:
    write(tmp_path, "")
    edit(tmp_path, {one.name: one.default for one in declared() if one.default})
    assert load(tmp_path) == Settings()


def test_the_page_tells_what_waits_for_a_restart_and_no_secret(tmp_path: Path) -> None:
    write(tmp_path, "[external]\nmilvus_token = 'hush'\nredis_url = 'redis://:hush@x'\n")
    page = SettingsFile(tmp_path, load(tmp_path)).change(
        {"server.port": "9000", "ui.language": '"zh"', "limiter.tiers": '[{name = "gold"}]'}
    )
    items = {one.key: one for one in page.items}
    assert page.waiting == ("server.port", "limiter.tiers")
    port = items["server.port"]
    assert (port.value, port.in_use, port.is_set, port.restart) == ("9000", "8400", True, True)
    assert items["limiter.tiers"].value.startswith('[{name = "gold", weight = 1.0')
    assert not items["ui.language"].restart
    assert not items["server.host"].is_set
    for key in ("external.milvus_token", "external.redis_url"):
        assert (items[key].secret, items[key].is_set, items[key].value) == (True, True, "")
        assert items[key].in_use == ""
