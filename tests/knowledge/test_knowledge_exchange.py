"""FAQ files: what goes out comes back, and every bad line is named with its number."""

import csv
import io
import json
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.knowledge.entries import first_version
from appliance.knowledge.exchange import Format, parse, workbook, written
from appliance.knowledge.files.rows import COLUMNS, LINE_ERRORS, ImportRefused, Row
from appliance.knowledge.text import canonical, tidied
from appliance.schema.faq import Entry, EntryPut, LineError

pytestmark = pytest.mark.unit

FORMATS: tuple[Format, ...] = ("csv", "jsonl", "markdown", "xlsx")
LINES: tuple[Format, ...] = ("csv", "jsonl")
"""Forms that tests can write by hand, one entry a line."""
HEADER = (",".join(COLUMNS) + "\r\n").encode()


def refused(data: bytes | str, form: Format, bound: int = 1000) -> list[tuple[int, str]]:
    with pytest.raises(ImportRefused) as caught:
        parse(data.encode() if isinstance(data, str) else data, form, rows_bound=bound)
    assert caught.value.hint
    assert "nothing was imported" in caught.value.message
    return [(error.line, error.message) for error in caught.value.lines]


def read(data: bytes | str, form: Format) -> list[Row]:
    return parse(data.encode() if isinstance(data, str) else data, form, rows_bound=1000)


# -- round trip

nasty = st.text("#`~<!>_x0D=+-@'\"\n\t,;| aé密码？|\\＝\u2028\ufeff{}[]", min_size=1, max_size=20)
words = st.text(min_size=1, max_size=20) | nasty
marks = st.sampled_from(
    [
        "# a",
        "## b",
        "##",
        "### c",
        "\\# d",
        "```",
        "~~~~",
        "  ```sh",
        "```a`",
        "<!--",
        "-->",
        "\\-->",
    ]
)
ids = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,10}", fullmatch=True)


@st.composite
def entry_lists(draw: st.DrawFn) -> list[Entry]:
    """Entries as they may be stored: tidied, with distinct ids; questions may repeat."""
    found = []
    for entry_id in draw(st.lists(ids, unique=True, max_size=5)):
        put = EntryPut(
            question=draw(words),
            answer="\n".join(draw(st.lists(words | marks, min_size=1, max_size=4))),
            phrasings=tuple(draw(st.lists(words, max_size=4))),
            category=draw(st.just("") | words),
            language=draw(st.sampled_from(["", "zh", "en", "pt-BR"])),
            state=draw(st.sampled_from(["published", "draft"])),
            valid_until=draw(st.sampled_from(["", "2026-12-31", "2026-12-31T18:00+08:00"])),
        )
        try:
            found.append(first_version(tidied(put), at_ms=1000, entry_id=entry_id))
        except Invalid:
            assume(False)
    return found


@settings(deadline=None)
@given(entry_lists())
def test_csv_comes_back_exactly(entries: list[Entry]) -> None:
    assert_same(entries, read(HEADER + written(entries, "csv"), "csv"))


@settings(deadline=None)
@given(entry_lists())
def test_json_lines_come_back_exactly(entries: list[Entry]) -> None:
    assert_same(entries, read(written(entries, "jsonl"), "jsonl"))


@settings(deadline=None)
@given(entry_lists())
def test_markdown_comes_back_exactly(entries: list[Entry]) -> None:
    assert_same(entries, read(written(entries, "markdown"), "markdown"))


@settings(deadline=None)
@given(entry_lists())
def test_a_workbook_comes_back_exactly(entries: list[Entry]) -> None:
    assert_same(entries, read(as_workbook(entries), "xlsx"))


def as_workbook(entries: list[Entry]) -> bytes:
    target = io.BytesIO()
    workbook(entries, target)
    return target.getvalue()


def assert_same(entries: list[Entry], rows: list[Row]) -> None:
    """Compared field by field: `content` of the product is not asked."""
    assert len(entries) == len(rows)
    for entry, row in zip(entries, rows, strict=True):
        assert (row.entry_id, row.version) == (entry.id, entry.version)
        for name in EntryPut.__struct_fields__:
            assert getattr(row.put, name) == getattr(entry, name)


@settings(deadline=None)
@given(entry_lists())
def test_no_cell_of_a_written_file_is_a_formula(entries: list[Entry]) -> None:
    text = written(entries, "csv").decode()
    for record in csv.reader(io.StringIO(text, newline=""), strict=True):
        assert len(record) == len(COLUMNS)
        assert not [cell for cell in record if cell.startswith(tuple("=+-@＝＋－＠\t\r"))]


@settings(deadline=None)
@given(st.binary(max_size=200) | words.map(str.encode), st.sampled_from(FORMATS))
def test_any_bytes_are_taken_or_refused_and_never_anything_else(data: bytes, form: Format) -> None:
    for content in (data, HEADER + data):
        rows: list[Row] = []
        errors: Sequence[LineError] = ()
        try:
            rows = parse(content, form, rows_bound=3)
        except ImportRefused as error:
            errors = error.lines
        assert len(rows) <= 3
        assert len(errors) <= LINE_ERRORS
        assert all(tidied(row.put) == row.put for row in rows)


# -- what a file may look like


def test_a_spreadsheet_file_with_byte_order_mark_and_other_column_order_is_read() -> None:
    data = (
        '\ufeffAnswer , question,Phrasings\r\n在 7 号,钥匙在哪？,"key?\r\n钥匙放哪\n"\r\n,,\r\n\r\n'
    )
    (row,) = read(data, "csv")
    assert (row.line, row.entry_id) == (2, "")
    assert row.put == EntryPut(
        question="钥匙在哪？", answer="在 7 号", phrasings=("key?", "钥匙放哪"), language="zh"
    )


def test_a_bar_is_part_of_a_phrasing() -> None:
    (row,) = read("question,answer,phrasings\na,b,x | y\n", "csv")
    assert row.put.phrasings == ("x | y",)


@pytest.mark.parametrize(
    ("cell", "text"),
    [("'=1+1", "=1+1"), ("''=1+1", "'=1+1"), ("=1+1", "=1+1"), ("'quoted'", "'quoted'")],
)
def test_the_apostrophe_before_a_formula_is_taken_off_and_no_other(cell: str, text: str) -> None:
    (row,) = read(f"question,answer\n{cell},b\n", "csv")
    assert row.put.question == text


def test_json_lines_may_have_a_byte_order_mark_blank_lines_and_defaults_left_out() -> None:
    line = json.dumps({"question": "q", "answer": "a\u2028b"}, ensure_ascii=False)
    rows = read("\ufeff" + line + "\r\n\r\n" + line.replace('"q"', '"r"'), "jsonl")
    assert [(row.line, row.put.question, row.put.answer) for row in rows] == [
        (1, "q", "a\u2028b"),
        (3, "r", "a\u2028b"),
    ]


def test_an_empty_selection_is_an_empty_file() -> None:
    assert read(HEADER + written([], "csv"), "csv") == []
    assert read(written([], "jsonl"), "jsonl") == []
    assert read(written([], "markdown"), "markdown") == []
    assert read(as_workbook([]), "xlsx") == []


# -- bad lines

CSV_BEFORE = 'question,answer,phrasings,language,state,id\n"a\nb","c\n\nd",,,,\n'
"""A header and a good record which ends on line 5."""


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (",b,,,,", "question: "),
        ("\x07,b,,,,", "question: "),
        ("q, ,,,,", "answer: "),
        (f"{'x' * 2001},b,,,,", "question: "),
        (f"q,{'x' * 16001},,,,", "answer: "),
        ('q,b,"' + "\n".join(f"p{n}" for n in range(65)) + '",,,', "phrasings: "),
        ("q,b,,English,,", "language: expected a code such as zh"),
        ("q,b,,,hidden,", "state: expected published or draft"),
        ("q,b,,,,No Spaces", "id: "),
        ("q,b,,,,unindexed", "id: "),
        ("q,b,,,", "5 cells where the header names 6"),
        ("q,b,,,,,", "7 cells"),
        ("A B,b,,,,", "question: the same as in line 2"),
        ('"q"x,b,,,,', "not valid CSV"),
        ('"q,b,,,,\nmore\n', "not valid CSV"),
        ("q,b," + "x" * 140_000 + ",,,", "not valid CSV"),
    ],
)
def test_a_bad_csv_record_is_named_by_its_first_line(record: str, message: str) -> None:
    ((line, said),) = refused(f"{CSV_BEFORE}{record}\n", "csv")
    assert (line, said[: len(message)]) == (6, message)


@pytest.mark.parametrize(
    ("header", "messages"),
    [
        (
            "question;answer",
            ["unknown column 'question;answer'", "no column question", "no column"],
        ),
        ("question,reply", ["unknown column 'reply'", "no column answer"]),
        ("question,answer,catgory", ["unknown column 'catgory'; did you mean category?"]),
        ("question,answer,answer", ["column answer is named twice"]),
        ("question,answer,", ["unknown column ''"]),
    ],
)
def test_a_bad_header_is_said_once_and_not_for_every_row(header: str, messages: list[str]) -> None:
    found = refused(f"{header}\nq,a\nr,b\n", "csv")
    assert [said[: len(m)] for (_, said), m in zip(found, messages, strict=False)] == messages
    assert {line for line, _ in found} == {1}


@pytest.mark.parametrize("data", ["", "\r\n", " \n,,\n"])
def test_a_csv_file_without_a_header_is_refused(data: str) -> None:
    ((line, said),) = refused(data, "csv")
    assert (line, said[:9]) == (1, "no header")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Input data was truncated"),
        ("[1]", "Expected `object`, got `array`"),
        ('{"question":"q"}', "Object missing required field `answer`"),
        ('{"question":"q","answer":"a","colour":1}', "Object contains unknown field `colour`"),
        ('{"question":"q","answer":7}', "answer: Expected `str`, got `int`"),
        ('{"question":"q","answer":"a","phrasings":[""]}', "phrasings: must not be empty"),
        ('{"question":"q","answer":"a","language":"?"}', "language: expected a code"),
        ('{"question":"q","answer":" \\u0000"}', "answer: nothing but white space"),
        ('{"question":"q","answer":"a","id":"X"}', "id: "),
        ('{"question":"q","answer":"\\ud800 and more"}', "JSON is malformed"),
        ("[" * 100_000, ""),
    ],
)
def test_a_bad_json_line_is_named(line: str, message: str) -> None:
    good = '{"question":"%s","answer":"a"}\n'
    ((number, said),) = refused(good % "x" + "\n" + line + "\n" + good % "y", "jsonl")
    assert (number, said[: len(message)]) == (3, message)


@pytest.mark.parametrize("form", LINES)
def test_rows_that_mean_the_same_entry_are_bad_lines(form: Format) -> None:
    rows = [("a", "One?"), ("a", "Two?"), ("b", "one"), ("", "ONE?"), ("", "Three?")]
    if form == "csv":
        data = "id,question,answer\n" + "".join(f"{i},{q},x\n" for i, q in rows)
    else:
        data = "\n" + "\n".join(
            json.dumps({"id": i, "question": q, "answer": "x"}) for i, q in rows
        )
    assert refused(data, form) == [
        (3, "id: the same as in line 2"),
        (5, "question: the same as in line 2"),
    ]


@pytest.mark.parametrize("form", LINES)
def test_a_file_that_is_not_utf8_is_refused_at_its_first_bad_line(form: Format) -> None:
    data = "question,answer\n好,b\n密码,c\n".encode().replace("密码".encode(), "密码".encode("gbk"))
    ((line, said),) = refused(data, form)
    assert line == 3
    assert "UTF-8" in said


@pytest.mark.parametrize("form", LINES)
def test_more_rows_than_the_bound_are_refused_at_the_first_too_many(form: Format) -> None:
    if form == "csv":
        data = "question,answer\n" + "".join(f"q{n},a\n" for n in range(4))
    else:
        data = "\n" + "".join(f'{{"question":"q{n}","answer":"a"}}\n' for n in range(4))
    ((line, said),) = refused(data, form, bound=3)
    assert (line, said[:29]) == (5, "the file holds more than 3 en")
    assert len(parse(data.rsplit("q3", 1)[0].rsplit("\n", 1)[0].encode(), form, rows_bound=3)) == 3


def test_the_list_of_bad_lines_is_bounded() -> None:
    found = refused("question,answer\n" + "only one\n" * 1000, "csv")
    assert [line for line, _ in found] == list(range(2, 2 + LINE_ERRORS))


def test_canonical_repeats_are_found_whatever_their_writing() -> None:
    assert canonical("Ａ　b？") == canonical("a B")
    assert refused("question,answer\nＡ　b？,x\na B,x\n", "csv")[0][0] == 3
    assert refused("question,answer\nWiFi 密码是多少,x\nWiFi密码是多少？,x\n", "csv")[0][0] == 3
