"""What may be shown of an answer, however its bytes are cut into tokens."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.worker.text import TextStream

pytestmark = pytest.mark.unit

ALPHABET = "ab中é\n"
texts = st.text(ALPHABET, max_size=40)
stop_lists = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=4)


def cut(content: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return [content[a:b] for a, b in pairwise(borders)]


def expected(text: str, stops: list[str]) -> str:
    """Reads the text one character at a time until a stop string stands at its end."""
    for end in range(1, len(text) + 1):
        standing = [stop for stop in stops if text[:end].endswith(stop)]
        if standing:
            return text[: end - max(map(len, standing))]
    return text


@given(texts, stop_lists, st.lists(st.integers(0, 200), max_size=30))
def test_the_text_does_not_depend_on_how_tokens_cut_it(
    text: str, stops: list[str], places: list[int]
) -> None:
    stream = TextStream(stops)
    given_out = [stream.feed(piece) for piece in cut(text.encode(), places)]
    assert "".join([*given_out, stream.flush()]) == expected(text, stops)


@given(texts, stop_lists, st.lists(st.integers(0, 200), max_size=30))
def test_nothing_given_out_is_ever_taken_back(
    text: str, stops: list[str], places: list[int]
) -> None:
    stream = TextStream(stops)
    whole = expected(text, stops)
    shown = ""
    for piece in cut(text.encode(), places):
        shown += stream.feed(piece)
        assert whole.startswith(shown)


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=30))
def test_any_bytes_become_the_text_that_decoding_them_at_once_gives(
    content: bytes, places: list[int]
) -> None:
    stream = TextStream()
    given_out = [stream.feed(piece) for piece in cut(content, places)]
    assert "".join([*given_out, stream.flush()]) == content.decode(errors="replace")


def test_half_a_character_waits_for_its_other_half() -> None:
    stream = TextStream()
    assert [stream.feed(byte.to_bytes()) for byte in "中".encode()] == ["", "", "中"]


def test_half_a_character_at_the_end_becomes_a_replacement() -> None:
    stream = TextStream()
    assert stream.feed("a中".encode()[:2]) == "a"
    assert stream.flush() == "\ufffd"


def test_text_that_may_begin_a_stop_string_is_held_back_until_it_does_not() -> None:
    stream = TextStream(["</s>"])
    assert stream.feed(b"x</") == "x"
    assert stream.feed(b"b>") == "</b>"
    assert not stream.stopped


def test_nothing_comes_after_a_stop_string() -> None:
    stream = TextStream(["END"])
    assert stream.feed(b"oneEN") == "one"
    assert stream.feed(b"Dtwo") == ""
    assert stream.stopped
    assert stream.feed(b"three") + stream.flush() == ""


def test_the_stop_string_that_is_complete_first_wins() -> None:
    stream = TextStream(["bcde", "c"])
    assert stream.feed(b"abcdef") == "ab"
