"""Files that go with a question."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.attachments import (
    MAX_FILE_BYTES,
    Asked,
    Attachment,
    AttachmentError,
    decoded,
    joined,
    read,
    split,
)

pytestmark = pytest.mark.unit

PIECES = st.sampled_from(["a", "`", "```", "\n", "\n\nFile: b\n", "中", " ", "~", "#"])
LINES = st.lists(PIECES, min_size=1, max_size=12).map("".join).filter(str.strip)
FILES = st.lists(
    st.builds(
        Attachment,
        name=st.from_regex(r"[a-z][a-z .]{0,8}[a-z]\.txt", fullmatch=True),
        text=LINES.map(lambda text: text.strip("\n")).filter(str.strip),
    ),
    max_size=4,
).map(tuple)


@given(question=st.sampled_from(["Why?", "Two\nlines", "```\ncode\n```", "问"]), files=FILES)
def test_what_was_joined_is_split_again(question: str, files: tuple[Attachment, ...]) -> None:
    assert split(joined(Asked(question, files))) == Asked(question, files)


@given(st.text())
def test_a_text_without_files_is_all_question(text: str) -> None:
    if "\n\nFile: " not in text:
        assert split(text) == Asked(text)


def test_a_block_that_is_not_at_the_end_belongs_to_the_question() -> None:
    text = joined(Asked("Why?", (Attachment("a.txt", "x"),))) + "\nand then?"
    assert split(text) == Asked(text)


def test_a_fence_is_longer_than_any_inside() -> None:
    whole = joined(Asked("q", (Attachment("a.md", "````\nx\n````"),)))
    assert whole == "q\n\nFile: a.md\n`````\n````\nx\n````\n`````"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Grüße\r\n二".encode(), "Grüße\n二"),
        ("\ufeffmark".encode(), "mark"),
        ("你好，世界".encode("gb18030"), "你好，世界"),
    ],
)
def test_texts_in_the_usual_encodings_are_read(content: bytes, text: str) -> None:
    assert decoded("a.txt", content).text == text


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x7fELF\0\0", "not_text"),
        (b"\xff\xff\xff", "not_text"),
        (b" \n\n", "empty"),
        (b"x" * (MAX_FILE_BYTES + 1), "too_large"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(AttachmentError) as refused:
        decoded("a", content)
    assert refused.value.problem == problem


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "笔记.txt").write_text("内容\n", encoding="utf-8")
    assert read(tmp_path / "笔记.txt") == Attachment("笔记.txt", "内容")


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, problem in (
        (tmp_path / "pipe", "not_a_file"),
        (tmp_path, "not_a_file"),
        (tmp_path / "missing", "missing"),
        (tmp_path / ("x" * 300), "unreadable"),
        (Path("\0"), "unreadable"),
    ):
        with pytest.raises(AttachmentError) as refused:
            read(path)
        assert refused.value.problem == problem
