"""Changing one value of the settings file leaves the rest of it as it was."""

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Conflict, Invalid, Unavailable
from appliance.settings import FILE_NAME, example, load
from appliance.settings.file import change, with_value

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
        ("[models]\n# words\nchat='old' # why\n", '[models]\n# words\nchat = "m"\n'),
        ("[ui]\n#chat = 1\n[models]\n", '[ui]\n#chat = 1\n[models]\nchat = "m"\n'),
    ],
)
def test_the_line_is_put_where_it_belongs(before: str, after: str) -> None:
    assert with_value(before, "models", "chat", "m") == after


@pytest.mark.parametrize(
    "text",
    [
        "models = { mirror = '' }\n",
        "models.mirror = ''\n",
        '[models]\nchat = """\nm"""\n',
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
    table = tomllib.loads(with_value(example(), "models", "chat", value))
    assert table["models"] == {"chat": value}
