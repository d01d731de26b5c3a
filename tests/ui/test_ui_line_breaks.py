"""Lines of Chinese and Latin text are filled, and broken where a reader expects it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from textual._wrap import compute_wrap_offsets
from textual.content import Content

from ui.line_breaks import install, words

pytestmark = pytest.mark.unit

MIXED = "打开 Nest 门户首页的“账户自助”，用手机短信验证后即可重设。新密码至少 14 位。"


@pytest.fixture(autouse=True)
def installed() -> None:
    install()


@pytest.mark.parametrize("width", range(8, 40))
def test_lines_are_filled_as_far_as_the_rules_allow(width: int) -> None:
    lines = Content(MIXED).wrap(width)
    assert all(line.cell_length <= width for line in lines)
    assert all(line.cell_length > width - 8 for line in lines[:-1])
    assert "".join(line.plain for line in lines).replace(" ", "") == MIXED.replace(" ", "")


@pytest.mark.parametrize("width", range(8, 40))
def test_no_line_begins_with_closing_or_ends_with_opening_punctuation(width: int) -> None:
    for line in Content(MIXED).wrap(width):
        assert line.plain[0] not in "，。”、？！）"
        assert line.plain.rstrip()[-1] not in "“（《"


def test_latin_words_stay_whole() -> None:
    lines = [line.plain for line in Content("It doesn’t (really) break here").wrap(11)]
    assert lines == ["It doesn’t", "(really)", "break here"]


def test_no_break_spaces_keep_words_together() -> None:
    lines = [line.plain for line in Content("one two · first\u00a0word\u00a0here").wrap(20)]
    assert lines == ["one two ·", "first\u00a0word\u00a0here"]


def test_rich_and_the_text_area_break_alike() -> None:
    console = Console(width=14)
    assert Text(MIXED).wrap(console, 14)[0].plain.strip() == "打开 Nest 门户"
    assert compute_wrap_offsets(MIXED, 14, 4)[0] == len("打开 Nest 门户")


@given(st.text(alphabet=st.sampled_from("ab 中文。“”()…\t\n😀 '’\u00a0"), max_size=60))
def test_nothing_is_lost_or_moved(text: str) -> None:
    parts = list(words(text))
    assert "".join(part for _, _, part in parts) == text
    assert [text[start:end] for start, end, _ in parts] == [part for _, _, part in parts]


@given(st.text(alphabet=st.sampled_from("ab 中文。“”()…😀\u00a0"), max_size=60), st.integers(2, 30))
def test_no_line_is_wider_than_asked_for(text: str, width: int) -> None:
    for line in Content(text).wrap(width):
        assert cell_len(line.plain) <= width


@pytest.mark.parametrize("width", [-1, 0, 1])
@pytest.mark.parametrize("text", [MIXED, "Unbreakable", "你好", "", " "])
def test_where_there_is_no_room_a_text_is_cut(text: str, width: int) -> None:
    content = Content(text)
    assert content.get_height({}, width) >= 0
    assert all(line.cell_length <= max(width, 0) for line in content.wrap(width))
