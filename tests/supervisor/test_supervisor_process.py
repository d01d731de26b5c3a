"""How a child's output is cut into lines and made harmless."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.supervisor.process import LINE_LIMIT_BYTES, Lines, printable
from appliance.supervisor.records import RecordLines, read_record

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
    shown = printable(read_record(line).message)
    assert all(c.isprintable() or c == "\t" for c in shown)


def test_text_of_any_language_survives() -> None:
    for line, shown in (
        ("密码重置 – naïve ✓".encode(), "密码重置 – naïve ✓"),
        (b"\x1b]52;c;AAAA\x07", "\\x1b]52;c;AAAA\\x07"),
        (b"\xff broken", "\\xff broken"),
    ):
        assert printable(read_record(line).message) == shown


def formatted(message: str, error: Exception | None = None, *, name: str = "sluice.worker") -> str:
    logged = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord(name, logging.ERROR, "f.py", 1, "%s", (message,), logged)
    return RecordLines().format(record)


def test_a_record_arrives_as_it_was_logged() -> None:
    try:
        raise ValueError("zu groß\n密码")
    except ValueError as error:
        read = read_record(formatted("a step failed", error).encode())
    assert (read.level, read.message) == (logging.ERROR, "a step failed")
    assert read.traceback.startswith("Traceback (most recent call last):\n  File ")
    assert read.traceback.endswith("ValueError: zu groß\n密码")


def test_a_record_of_a_library_names_it() -> None:
    assert (
        read_record(formatted("call failed", name="grpc").encode()).message == "grpc: call failed"
    )


@settings(deadline=None)
@given(st.characters(codec=None), st.integers(0, 20_000))
def test_whatever_is_logged_fits_a_line_and_can_be_read(character: str, length: int) -> None:
    text = character * length
    line = formatted(text, ValueError(text)).encode()
    assert len(line) < LINE_LIMIT_BYTES
    assert b"\n" not in line
    assert read_record(line).level == logging.ERROR
