"""`safe_text` against an oracle of its own: one regular expression in place of a state machine."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.safe_text import MAX_LINE_CHARS, MAX_SEQUENCE_CHARS, SafeStream, safe_line, safe_text

pytestmark = pytest.mark.unit

INVISIBLE = "\u00ad\u180e\u200b\u2060\u2061\u2062\u2063\u2064\u2065\u206a\u206f\ufeff\ufff9"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
HOSTILE = [
    "\x1b",
    "\x1b[",
    "\x1b]",
    "\x1bP",
    "\x1b_",
    "\x1b^",
    "\x1bX",
    "\x1b\\",
    "\x9b",
    "\x9d",
    "\x90",
    "\x9c",
    "\x98",
    "\x9e",
    "\x9f",
    "\x85",
    "\x07",
    "\x18",
    "\x1a",
    "\x7f",
    "\x00",
    "\r",
    "\x0b",
    "\n",
    "\t",
    "31m",
    "2J",
    "?25l",
    "52;c;aGk=",
    "0;title",
    "(B",
    " F",
    "\u2028",
    "\U000e0041",
    "\ud800",
    "a",
    "中文",
    "[/]",
    "😀",
    *BIDI,
    *INVISIBLE,
    "\u200d",
]
texts = st.lists(st.sampled_from(HOSTILE) | st.characters(), max_size=40).map("".join)

BOUND = MAX_SEQUENCE_CHARS
SEQUENCES = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])"  # OSC, DCS, SOS, PM, APC ...
    rf"(?:[^\x07\x18\x1a\x1b\x9c\n]{{{BOUND}}}|[^\x07\x18\x1a\x1b\x9c\n]*"
    r"(?:[\x07\x18\x1a\x9c]|\x1b\\|(?=\x1b)|(?=\n)|\Z))"  # ... to their end, or the line's
    rf"|(?:\x1b\[|\x9b)[ -?]{{0,{BOUND}}}[@-~]?"  # CSI
    rf"|\x1b[ -/]{{1,{BOUND}}}[0-~]?"  # with intermediates
    r"|\x1b[0-~]?",  # two characters
)
CONTROLS = re.compile(
    rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{BIDI}\U000e0000-\U000e007f\ud800-\udfff]"
    r"|[\xad\u180e\u200b\u2060-\u206f\ufeff\ufff9-\ufffb]"
)


def oracle(text: str) -> str:
    """Line folding aside, what is left of a text."""
    return CONTROLS.sub("", SEQUENCES.sub("", text)).replace("\u2028", "\n").replace("\u2029", "\n")


@given(texts)
def test_it_agrees_with_the_oracle(text: str) -> None:
    assert safe_text(text) == oracle(text)


@given(texts)
def test_nothing_a_terminal_obeys_survives(text: str) -> None:
    for character in safe_text(text):
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")
        assert character not in BIDI + INVISIBLE
        assert not 0xE0000 <= ord(character) <= 0xE007F
    safe_text(text).encode("utf-8")


@given(st.lists(texts, max_size=8))
def test_how_a_text_is_cut_into_chunks_makes_no_difference(chunks: list[str]) -> None:
    stream = SafeStream()
    assert "".join(stream.feed(chunk) for chunk in chunks) == safe_text("".join(chunks))


@given(st.integers(1, 5), st.integers(0, 3))
def test_lines_are_folded_at_the_cap_in_any_cutting(times: int, extra: int) -> None:
    text = "x" * (MAX_LINE_CHARS * times + extra) + "\ny"
    folded = safe_text(text)
    assert max(len(line) for line in folded.split("\n")) <= MAX_LINE_CHARS
    assert folded.replace("\n", "") == text.replace("\n", "")
    stream = SafeStream()
    assert "".join(stream.feed(character) for character in text) == folded


@given(texts)
def test_a_safe_text_stays_as_it_is(text: str) -> None:
    assert safe_text(safe_text(text)) == safe_text(text)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a\x1b]52;c;aGVsbG8=\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x9d52;c;x\x9cb", "ab"),
        ("a\x9b2Jb", "ab"),
        ("a\x1b[38;2;1;2;3mb\x1b[0m", "ab"),
        ("a\x1bPq#0\x1b\\b", "ab"),
        ("a\x1b(Bb", "ab"),
        ("evil\u202etxt.exe", "eviltxt.exe"),
        ("one\r\ntwo", "one\ntwo"),
        ("plain [/] [red] 中文 \t ok", "plain [/] [red] 中文 \t ok"),
        ("a\x1b]0;never ended\nnext line", "a\nnext line"),
    ],
)
def test_known_attacks_leave_only_their_plain_text(text: str, left: str) -> None:
    assert safe_text(text) == left


def test_an_endless_sequence_costs_a_bounded_part_of_the_text() -> None:
    text = "\x1b[" + "1" * (2 * MAX_SEQUENCE_CHARS)
    assert len(safe_text(text).replace("\n", "")) == MAX_SEQUENCE_CHARS


@given(texts, st.integers(1, 50))
def test_a_safe_line_is_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = safe_line(text, limit)
    assert "\n" not in line
    assert len(line) <= limit
