"""Workbooks (XLSX, ECMA-376): the first visible sheet as rows of text, and rows as a workbook.

A workbook is a ZIP file of XML parts. We read what a sheet of texts needs and no more: strings
(shared, inline, rich text without its phonetic guide), numbers as a spreadsheet shows them, dates
as ISO dates, and errors of formulas as errors. A file from outside is hostile until read: parts
and their unpacked size are bounded before anything is unpacked (`zipfile` never yields more than
a part declares), elements and their depth while it is parsed, a part with a DTD is refused, so no
entity can grow, and parsing streams. The known library leaves exactly these bounds to its caller
and does much that a table of texts never needs, so it is not used.

Texts are written as inline strings: a spreadsheet never runs them as formulas.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import IO
from xml.parsers import expat
from xml.sax.saxutils import escape

from appliance.errors import Invalid
from appliance.knowledge.files.serials import shown_number, temporal_styles

PARTS = 1_000
UNPACKED_BYTES = 128_000_000
ELEMENTS = 10_000_000
DEPTH = 64
ROW_CELLS = 256
CELL_CHARS = 32_767
"""Bound of a cell's text, by the format."""
CHUNK_BYTES = 65_536

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_UNSAFE = re.compile(r"_(?=x[0-9A-Fa-f]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})$")
_CONTENT = "http://schemas.openxmlformats.org/package/2006/content-types"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


@dataclass
class SheetRow:
    """A row's texts by column, from the first one; `fault` says which cell holds an error."""

    number: int
    cells: list[str] = field(default_factory=list)
    fault: str = ""


class NotAWorkbook(Invalid):
    """The bytes are no workbook that can be read, or too large a one."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint, reason="bad_workbook")


@dataclass
class _Node:
    """An element: local name, attributes by local name, and the text inside it so far."""

    name: str
    attributes: Mapping[str, str]
    text: list[str] = field(default_factory=list)


# -- reading


def read_rows(data: bytes) -> Iterator[SheetRow]:
    """The rows of the first visible sheet that hold anything. Raises NotAWorkbook."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            _check_size(package)
            yield from _sheet_rows(package)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise NotAWorkbook(
            f"not a readable workbook: {error}", hint="save it as .xlsx without a password"
        ) from None
    except expat.ExpatError as error:
        raise NotAWorkbook(f"the workbook's XML is damaged: {error}") from None
    except (ValueError, IndexError, OverflowError, zlib.error) as error:
        raise NotAWorkbook(f"the workbook is damaged: {error}") from None


def _check_size(package: zipfile.ZipFile) -> None:
    parts = package.infolist()
    if len(parts) > PARTS or sum(part.file_size for part in parts) > UNPACKED_BYTES:
        raise NotAWorkbook(
            f"the workbook unpacks to more than {PARTS} parts or {UNPACKED_BYTES:,} bytes",
            hint="keep the FAQ in a workbook of its own",
        )


def _sheet_rows(package: zipfile.ZipFile) -> Iterator[SheetRow]:
    (workbook,) = _targets(package, "", "officeDocument") or [""]
    if not workbook:
        raise NotAWorkbook("the file is a ZIP archive but no workbook")
    sheet, is_1904 = _first_sheet(package, workbook)
    shared: list[str] = []
    for part in _targets(package, workbook, "sharedStrings"):
        shared = _shared_strings(package, part)
    styles: tuple[str, ...] = ()
    for part in _targets(package, workbook, "styles"):
        styles = _styles(package, part)
    yield from _Sheet(shared, styles, is_1904=is_1904).rows(package, sheet)


def _targets(package: zipfile.ZipFile, source: str, kind: str, by_id: str = "") -> list[str]:
    """Parts that a part points to by a relation of this kind (or with this id)."""
    folder, _, name = source.rpartition("/")
    found = []

    def take(node: _Node, _: list[_Node]) -> None:
        is_one = node.name == "Relationship" and by_id in ("", node.attributes.get("Id"))
        if is_one and node.attributes.get("Type", "").endswith(f"/{kind}"):
            target = node.attributes.get("Target", "")
            found.append(normpath(join("/", folder, target)).lstrip("/"))

    path = join(folder, "_rels", f"{name}.rels")
    if path in package.namelist():
        _parse(package, path, take)
    return found


def _first_sheet(package: zipfile.ZipFile, workbook: str) -> tuple[str, bool]:
    sheets: list[str] = []
    is_1904: list[bool] = []

    def take(node: _Node, _: list[_Node]) -> None:
        if node.name == "sheet" and node.attributes.get("state", "visible") == "visible":
            sheets.append(node.attributes.get("id", ""))
        elif node.name == "workbookPr":
            is_1904.append(node.attributes.get("date1904", "0") in ("1", "true"))

    _parse(package, workbook, take)
    targets = _targets(package, workbook, "worksheet", sheets[0]) if sheets else []
    if not targets:
        raise NotAWorkbook("the workbook has no visible sheet")
    return targets[0], any(is_1904)


def _shared_strings(package: zipfile.ZipFile, part: str) -> list[str]:
    strings: list[str] = []
    pieces: list[str] = []

    def take(node: _Node, above: list[_Node]) -> None:
        if node.name == "t" and all(outer.name != "rPh" for outer in above):
            pieces.append("".join(node.text))
        elif node.name == "si":
            strings.append(_unescaped("".join(pieces)))
            pieces.clear()

    _parse(package, part, take)
    return strings


def _styles(package: zipfile.ZipFile, part: str) -> tuple[str, ...]:
    """By cell style: how a number of it is shown (see `serials`)."""
    codes: dict[int, str] = {}
    formats: list[int] = []

    def take(node: _Node, above: list[_Node]) -> None:
        if node.name == "numFmt":
            code = node.attributes.get("formatCode", "")
            codes[int(node.attributes.get("numFmtId", "0"))] = code
        elif node.name == "xf" and above and above[-1].name == "cellXfs":
            formats.append(int(node.attributes.get("numFmtId", "0")))

    _parse(package, part, take)
    return temporal_styles(formats, codes)


class _Sheet:
    """Reads one sheet, row by row."""

    def __init__(self, shared: list[str], styles: tuple[str, ...], *, is_1904: bool) -> None:
        self._shared = shared
        self._styles = styles
        self._is_1904 = is_1904
        self._row = SheetRow(0)
        self._column = 0
        self._value = ""
        self._inline: list[str] = []
        self._done: list[SheetRow] = []

    def rows(self, package: zipfile.ZipFile, part: str) -> Iterator[SheetRow]:
        for _ in _parsed(package, part, self._take, self._open):
            yield from self._done
            self._done.clear()

    def _open(self, node: _Node) -> None:
        if node.name == "row":
            number = node.attributes.get("r", "")
            self._row = SheetRow(int(number) if number else self._row.number + 1)
            self._column = 0
        elif node.name == "c":
            self._value, self._inline = "", []

    def _take(self, node: _Node, above: list[_Node]) -> None:
        inside = {outer.name for outer in above}
        if node.name == "v":
            self._value = "".join(node.text)
        elif node.name == "t" and "is" in inside and "rPh" not in inside:
            self._inline.append("".join(node.text))
        elif node.name == "c":
            self._put(node)
        elif node.name == "row" and any(self._row.cells):
            self._done.append(self._row)

    def _put(self, node: _Node) -> None:
        found = _REFERENCE.match(node.attributes.get("r", ""))
        column = _column(found[1]) if found else self._column
        self._column = column + 1
        text = self._text(node)
        if not text:
            return
        if column >= ROW_CELLS:
            raise NotAWorkbook(f"row {self._row.number} has more than {ROW_CELLS} columns")
        self._row.cells += [""] * (column + 1 - len(self._row.cells))
        self._row.cells[column] = text
        if node.attributes.get("t") == "e" and not self._row.fault:
            where = node.attributes.get("r", f"column {column + 1}")
            self._row.fault = f"the cell {where} holds the error {text}"

    def _text(self, node: _Node) -> str:
        kind = node.attributes.get("t", "n")
        if kind == "inlineStr":
            return _unescaped("".join(self._inline))
        if kind == "s":
            return self._shared[int(self._value)] if self._value else ""
        if kind == "b":
            return "TRUE" if self._value == "1" else "FALSE"
        if kind != "n" or not self._value:
            return _unescaped(self._value)
        style = int(node.attributes.get("s", "0"))
        shown_as = self._styles[style] if style < len(self._styles) else ""
        return shown_number(self._value, shown_as, is_1904=self._is_1904)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - 64
    return number - 1


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: _character(int(found[1], 16)), text)


def _character(number: int) -> str:
    return "\ufffd" if 0xD800 <= number < 0xE000 else chr(number)


Take = Callable[[_Node, list[_Node]], None]


def _parse(package: zipfile.ZipFile, part: str, take: Take) -> None:
    for _ in _parsed(package, part, take, lambda node: None):
        pass


def _parsed(
    package: zipfile.ZipFile, part: str, take: Take, opened: Callable[[_Node], None]
) -> Iterator[None]:
    """Gives each element to `opened` as it begins, and to `take` with those around it as it ends.

    Yields after each chunk. Raises NotAWorkbook for a part with a DTD or one that is missing.
    """
    stack: list[_Node] = []
    elements = 0
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal elements
        elements += 1
        if elements > ELEMENTS or len(stack) >= DEPTH:
            raise NotAWorkbook(f"the part {part} has too many or too deeply nested elements")
        local = {key.rpartition(" ")[2]: value for key, value in attributes.items()}
        stack.append(_Node(name.rpartition(" ")[2], local))
        opened(stack[-1])

    def end(_: str) -> None:
        node = stack.pop()
        take(node, stack)

    def text(piece: str) -> None:
        if stack and stack[-1].name in ("t", "v"):
            stack[-1].text.append(piece)

    def doctype(*_: object) -> None:
        raise NotAWorkbook("the workbook declares a document type, which none needs")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text, doctype
    try:
        source = package.open(part)
    except KeyError:
        raise NotAWorkbook(f"the workbook has no part {part}") from None
    with source:
        while chunk := source.read(CHUNK_BYTES):
            parser.Parse(chunk, False)
            yield
        parser.Parse(b"", True)
        yield


# -- writing


def write_workbook(target: IO[bytes], name: str, rows: Iterable[Iterable[str]]) -> None:
    """A workbook of one sheet whose first row is a header. No text may pass CELL_CHARS."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as package:
        for path, content in _fixed_parts(name).items():
            package.writestr(path, _XML + content)
        with package.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(
                f'{_XML}<worksheet xmlns="{_MAIN}"><sheetViews><sheetView workbookViewId="0">'
                '<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>'
                '</sheetView></sheetViews><cols><col min="1" max="1" width="16" customWidth="1"/>'
                '<col min="2" max="4" width="48" customWidth="1"/></cols><sheetData>'.encode()
            )
            for number, row in enumerate(rows, start=1):
                sheet.write(_row_xml(number, row).encode())
            sheet.write(b"</sheetData></worksheet>")


def _row_xml(number: int, row: Iterable[str]) -> str:
    style = 2 if number == 1 else 1
    written = "".join(
        f'<c r="{_letters(column)}{number}" s="{style}" t="inlineStr">'
        f'<is><t xml:space="preserve">{_safe(text)}</t></is></c>'
        for column, text in enumerate(row)
    )
    return f'<row r="{number}">{written}</row>'


def _letters(column: int) -> str:
    left, letter = divmod(column, 26)
    return (_letters(left - 1) if left else "") + chr(65 + letter)


def _safe(text: str) -> str:
    return escape(_UNSAFE.sub(lambda found: f"_x{ord(found[0]):04X}_", text))


def _fixed_parts(name: str) -> dict[str, str]:
    kinds = {"xl/workbook.xml": "sheet.main", "xl/styles.xml": "styles"}
    kinds["xl/worksheets/sheet1.xml"] = "worksheet"
    overrides = "".join(
        f'<Override PartName="/{part}" ContentType="{_SHEET_TYPE}.{kind}+xml"/>'
        for part, kind in kinds.items()
    )
    wrapped = '<alignment wrapText="1" vertical="top"/>'
    plain = '<xf numFmtId="49" applyNumberFormat="1" applyAlignment="1"'
    return {
        "[Content_Types].xml": f'<Types xmlns="{_CONTENT}"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f"{overrides}</Types>",
        "_rels/.rels": _relations({"rId1": ("officeDocument", "xl/workbook.xml")}),
        "xl/_rels/workbook.xml.rels": _relations(
            {"rId1": ("worksheet", "worksheets/sheet1.xml"), "rId2": ("styles", "styles.xml")}
        ),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        f'<sheet name="{escape(name)}" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}"><fonts count="2">'
        '<font><sz val="11"/><name val="Calibri"/></font>'
        '<font><b/><sz val="11"/><name val="Calibri"/></font></fonts>'
        '<fills count="2"><fill><patternFill patternType="none"/></fill>'
        '<fill><patternFill patternType="gray125"/></fill></fills>'
        "<borders><border><left/><right/><top/><bottom/><diagonal/></border></borders>"
        "<cellStyleXfs><xf/></cellStyleXfs>"
        f'<cellXfs><xf/>{plain} fontId="0">{wrapped}</xf>{plain} fontId="1">{wrapped}</xf>'
        "</cellXfs></styleSheet>",
    }


def _relations(parts: Mapping[str, tuple[str, str]]) -> str:
    inside = "".join(
        f'<Relationship Id="{key}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for key, (kind, target) in parts.items()
    )
    return f'<Relationships xmlns="{_RELATIONS}">{inside}</Relationships>'
