"""How a child's output is cut into lines and made harmless."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.supervisor.process import Lines, printable

pytestmark = pytest.mark.unit


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(1, 40), max_size=30))
def test_lines_do_not_depend_on_how_the_stream_was_cut(stream: bytes, cuts: list[int]) -> None:
    lines, got, rest = Lines(limit_bytes=1_000), [], stream
    for cut in cuts:
        got += lines.feed(rest[:cut])
        rest = rest[cut:]
    got += lines.feed(rest) + lines.close()
    expected = stream.split(b"\n")
    assert got == (expected if expected[-1] else expected[:-1])


def test_an_overlong_line_is_cut_once_and_the_next_line_is_whole() -> None:
    lines = Lines(limit_bytes=10)
    assert lines.feed(b"x" * 25) == [b"x" * 10]
    assert lines.feed(b"y" * 25) == []
    assert lines.feed(b"end\nnext\n") == [b"next"]
    assert lines.close() == []


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_nothing_that_moves_a_cursor_survives(line: bytes) -> None:
    assert all(c.isprintable() or c == "\t" for c in printable(line))


def test_text_of_any_language_survives() -> None:
    assert printable("密码重置 – naïve ✓".encode()) == "密码重置 – naïve ✓"
    assert printable(b"\x1b]52;c;AAAA\x07") == "\\x1b]52;c;AAAA\\x07"
    assert printable(b"\xff broken") == "\\xff broken"
