"""Markdown pages and workbooks as people and other programs write them, and hostile ones."""

import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.knowledge.entries import first_version
from appliance.knowledge.exchange import parse, read, workbook
from appliance.knowledge.files import xlsx
from appliance.knowledge.files.rows import ImportRefused
from appliance.knowledge.files.serials import shown_number, temporal_styles
from appliance.knowledge.files.xlsx import NotAWorkbook, SheetRow, read_rows, write_workbook
from appliance.knowledge.text import tidied
from appliance.schema.faq import EntryPut

pytestmark = pytest.mark.unit

PAGE = """# 帮助

Words that introduce the page.

## Where is the key?
In room 7.

- not a phrasing

```sh
# not a heading
## neither
```

## 怎么退款？
<!--
id: refund
language: zh
also: 如何退货？
also: Can I send it back?
-->

15 天内。
"""


def markdown(text: str) -> list[tuple[int, EntryPut, str]]:
    rows = parse(text.encode(), "markdown", rows_bound=100)
    return [(row.line, row.put, row.entry_id) for row in rows]


def markdown_problems(text: str) -> list[tuple[int, str]]:
    return [(p.line, p.message) for p in read(text.encode(), "markdown", rows_bound=100).problems]


def test_a_page_as_people_write_it_is_read() -> None:
    (line, key, _), (_, refund, entry_id) = markdown(PAGE)
    assert (line, key.question, key.category) == (5, "Where is the key?", "")
    assert key.answer.startswith("In room 7.\n\n- not a phrasing\n\n```sh\n# not a heading")
    assert key.answer.endswith("```")
    assert (entry_id, refund.language, refund.answer) == ("refund", "zh", "15 天内。")
    assert refund.phrasings == ("如何退货？", "Can I send it back?")


def test_several_titles_are_categories() -> None:
    page = "# Orders\n\n## A?\nx\n\n# HR\n\n## B?\n<!--\ncategory: IT\n-->\ny\n\n## C?\nz\n"
    assert [put.category for _, put, _ in markdown(page)] == ["Orders", "IT", "HR"]


@pytest.mark.parametrize(
    ("page", "problems"),
    [
        ("stray\n\n## A?\nx\n", [(1, "text outside any question")]),
        ("## A?\n\n## B?\nx\n", [(1, "answer: ")]),
        ("##\nx\n", [(1, "question: ")]),
        ("## A?\n<!--\nid: a\n\nx\n", [(2, "the comment <!-- has no line -->")]),
        ("## A?\n<!--\ncolour: red\nwords\n-->\nx\n", [(3, "expected one of"), (4, "expected")]),
        ("## A?\n<!--\nversion: x\n-->\nx\n", [(1, "version: ")]),
        ("## A?\n<!--\nstate: gone\n-->\nx\n## a\ny\n", [(1, "state: ")]),
        ("## A?\nx\n## a\ny\n", [(3, "question: the same as in line 1")]),
    ],
)
def test_what_is_wrong_with_a_page_is_named_by_line(
    page: str, problems: list[tuple[int, str]]
) -> None:
    found = markdown_problems(page)
    assert len(found) == len(problems)
    for (line, said), (where, start) in zip(found, problems, strict=True):
        assert (line, said[: len(start)]) == (where, start)


def test_an_empty_page_holds_nothing() -> None:
    assert markdown("") == markdown("\n# only a title\n") == []


# -- workbooks


def book(sheet: str, **parts: str) -> bytes:
    """A workbook of one sheet, written by hand; `parts` are shared strings and styles."""
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    names = {"sharedStrings": "sharedStrings.xml", "styles": "styles.xml"}
    relations = "".join(
        f'<Relationship Id="{kind}" Type="{office}/{kind}" Target="/xl/{names[kind]}"/>'
        for kind in parts
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{office}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        out.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{package}"><Relationship Id="h" Type="{office}/worksheet" '
            f'Target="worksheets/hidden.xml"/><Relationship Id="s" Type="{office}/worksheet" '
            f'Target="worksheets/first.xml"/>{relations}</Relationships>',
        )
        out.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{main}" xmlns:r="{office}"><workbookPr/><sheets>'
            '<sheet name="h" state="hidden" r:id="h"/><sheet name="s" r:id="s"/>'
            "</sheets></workbook>",
        )
        out.writestr(
            "xl/worksheets/first.xml",
            sheet
            if sheet.startswith("<!DOCTYPE")
            else f'<worksheet xmlns="{main}"><sheetData>{sheet}</sheetData></worksheet>',
        )
        for kind, content in parts.items():
            out.writestr(f"xl/{names[kind]}", content)
    return target.getvalue()


def rows(data: bytes) -> list[SheetRow]:
    return list(read_rows(data))


def test_every_kind_of_cell_is_read_as_it_is_shown() -> None:
    strings = (
        "<sst><si><t>plain</t></si><si><r><t>rich </t></r><r><t xml:space='preserve'>text</t></r>"
        "<rPh><t>furigana</t></rPh></si><si><t>a_x000D_b_x005F_x0041_</t></si></sst>"
    )
    styles = (
        '<styleSheet><numFmts><numFmt numFmtId="170" formatCode="[Red]yyyy\\-mm\\-dd"/></numFmts>'
        '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
        '<cellXfs><xf numFmtId="0"/><xf numFmtId="170"/><xf numFmtId="9"/></cellXfs></styleSheet>'
    )
    sheet = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c>'
        '<c r="D1" t="s"><v>2</v></c></row><row r="2"/>'
        '<row r="5"><c r="A5"><v>7341</v></c><c r="B5" s="1"><v>46143</v></c>'
        '<c r="C5" s="2"><v>0.19</v></c><c r="D5" t="b"><v>1</v></c>'
        '<c r="E5" t="str"><f>A1&amp;"x"</f><v>made</v></c>'
        '<c r="F5" t="inlineStr"><is><t>在线</t></is></c><c r="G5"><v>0.30000000000000004</v></c>'
        "</row><row><c><v>1</v></c><c><v>2.5</v></c></row>"
    )
    found = rows(book(sheet, sharedStrings=strings, styles=styles))
    assert [(row.number, row.cells) for row in found] == [
        (1, ["plain", "rich text", "", "a\rb_x0041_"]),
        (5, ["7341", "2026-05-01", "19%", "TRUE", "made", "在线", "0.3"]),
        (6, ["1", "2.5"]),
    ]


@pytest.mark.parametrize(
    ("number", "code", "text"),
    [
        ("1", "yyyy-mm-dd", "1900-01-01"),
        ("59", "d/m/yy", "1900-02-28"),
        ("61", "d/m/yy", "1900-03-01"),
        ("46143.75", "yyyy-mm-dd hh:mm", "2026-05-01 18:00:00"),
        ("0.5", "h:mm AM/PM", "12:00:00"),
        ("46143", 'yyyy"年"m"月"d"日"', "2026-05-01"),
        ("1e21", "0", "1e+21"),
        ("-3", "yyyy", "-3"),
        ("12.50", '"USD "0.00', "12.5"),
        ("3", "[>100]0;0", "3"),
    ],
)
def test_a_number_is_shown_as_its_format_says(number: str, code: str, text: str) -> None:
    (shown_as,) = temporal_styles([170], {170: code})
    assert shown_number(number, shown_as) == text


def test_a_calendar_of_1904_is_four_years_later() -> None:
    assert shown_number("44681", "date", is_1904=True) == "2026-05-01"


def test_an_error_of_a_formula_is_no_answer() -> None:
    cells = '<c t="inlineStr"><is><t>{}</t></is></c>'
    sheet = (
        f"<row>{cells.format('question')}{cells.format('answer')}</row>"
        f'<row>{cells.format("A?")}<c r="B2" t="e"><v>#N/A</v></c></row>'
    )
    problems = read(book(sheet), "xlsx", rows_bound=10).problems
    assert [(p.line, p.message) for p in problems] == [(2, "the cell B2 holds the error #N/A")]


def test_many_long_phrasings_go_into_several_cells_and_come_back() -> None:
    phrasings = tuple(f"{n} {'😀' * 1990}" for n in range(64))
    put = tidied(EntryPut(question="q", answer="a", phrasings=phrasings))
    target = io.BytesIO()
    workbook([first_version(put, at_ms=1, entry_id="a")], target)
    header = rows(target.getvalue())[0].cells
    assert header.count("phrasings") == 8
    longest = max(len(cell.encode("utf-16-le")) // 2 for cell in rows(target.getvalue())[1].cells)
    assert longest <= xlsx.CELL_CHARS
    (row,) = parse(target.getvalue(), "xlsx", rows_bound=10)
    assert row.put.phrasings == phrasings


def test_a_formula_in_a_text_stays_a_text() -> None:
    target = io.BytesIO()
    write_workbook(target, "FAQ", [["question"], ['=HYPERLINK("x")']])
    with zipfile.ZipFile(target) as package:
        sheet = package.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert rows(target.getvalue())[1].cells == ['=HYPERLINK("x")']


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a readable workbook"),
        (b"PK\x03\x04 and no more", "not a readable workbook"),
        (b"question,answer\na,b\n", "not a readable workbook"),
        (book('<row r="1"><c r="ZZ1"><v>1</v></c></row>'), "more than 256 columns"),
        (book('<row r="1"><c t="s"><v>7</v></c></row>'), "damaged"),
        (book('<row r="1"><c><v>many</v></c></row>'), "damaged"),
        (book("<row>"), "damaged"),
        (book("<a>" * 100 + "</a>" * 100), "deeply nested"),
        (book('<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]><x>&a;</x>'), "document type"),
    ],
    ids=["empty", "cut", "csv", "columns", "string", "number", "tags", "nested", "entities"],
)
def test_what_is_no_sound_workbook_is_refused_with_words(data: bytes, message: str) -> None:
    with pytest.raises(NotAWorkbook, match=message):
        rows(data)
    with pytest.raises(ImportRefused, match=message):
        parse(data, "xlsx", rows_bound=10)


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = book("<row>" + "<c><v>" + "1" * 1_000_000 + "</v></c></row>")
    assert len(bomb) < 10_000
    monkeypatch.setattr(xlsx, "UNPACKED_BYTES", 500_000)
    with pytest.raises(NotAWorkbook, match="unpacks to more than"):
        rows(bomb)
    monkeypatch.setattr(xlsx, "UNPACKED_BYTES", 2_000_000)
    monkeypatch.setattr(xlsx, "PARTS", 3)
    with pytest.raises(NotAWorkbook, match="unpacks to more than 3 parts"):
        rows(bomb)


def test_elements_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx, "ELEMENTS", 100)
    with pytest.raises(NotAWorkbook, match="too many"):
        rows(book("<row/>" * 101))


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_workbook_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    target = io.BytesIO()
    write_workbook(target, "FAQ", [["question", "answer"], ["a?", "b"], ["钥匙？", "c"]])
    whole = bytearray(target.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for content in (bytes(whole), bytes(whole[:cut])):
        try:
            read(content, "xlsx", rows_bound=5)
        except Invalid as error:
            pytest.fail(f"not collected: {error}")
