"""Entries as Markdown: a page that people read and write, and that loses nothing.

    # Orders                          a category, for what follows; a single one is the page's title

    ## How do I return something?     the question
    <!--                              what need not be seen: id, language, state, category, version,
    id: f0a1b2c3d4e5                  valid dates, and one line `also:` for each other phrasing
    also: Can I send it back?
    -->

    Within 15 days, ...               the answer, to the next heading of these two levels

Inside fenced code nothing is a heading. A line of an answer that would be read as one of these
marks is written with a backslash in front, which the reader takes off again.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from appliance.errors import Invalid
from appliance.fences import fence_after
from appliance.knowledge.files.rows import COLUMNS, Problems, Record, fields_of
from appliance.schema.faq import Entry

_HEADING = re.compile(r"(#{1,2})(?:[ \t]+(.*))?$")
_MARK = re.compile(r"\\*(?:#{1,2}(?:[ \t]|$)|<!--|-->| {0,3}(?:```|~~~))")
_NOTE = re.compile(r"([a-z_]+):[ \t]*(.*)$")
_NOTES = ("also", *(c for c in COLUMNS if c not in ("question", "answer", "phrasings")))


@dataclass
class _Section:
    """One question as far as it was read."""

    line: int
    question: str
    notes: dict[str, object] = field(default_factory=dict)
    phrasings: list[str] = field(default_factory=list)
    answer: list[str] = field(default_factory=list)


def markdown_records(text: str, problems: Problems) -> Iterator[Record]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    titles = sum(1 for _, level, _ in _headings(lines) if level == 1)
    for category, section in _sections(lines, problems):
        fields: dict[str, object] = {"category": category} if category and titles > 1 else {}
        fields |= section.notes
        fields |= {"question": section.question, "answer": "\n".join(section.answer)}
        yield section.line, fields | {"phrasings": tuple(section.phrasings)}


def markdown_lines(entries: Sequence[Entry]) -> bytes:
    return "".join(_written(entry) for entry in entries).encode()


# -- reading


def _headings(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Number, level and text of the headings outside fenced code."""
    fence = ""
    for number, line in enumerate(lines, start=1):
        fence, was = fence_after(line, fence), fence
        heading = None if fence or was else _HEADING.match(line)
        if heading:
            yield number, len(heading[1]), (heading[2] or "").strip()


def _sections(lines: Sequence[str], problems: Problems) -> Iterator[tuple[str, _Section]]:
    """Each question with the title it stands under."""
    heads = [*_headings(lines), (len(lines) + 1, 0, "")]
    title = ""
    _stray(lines[: heads[0][0] - 1], 1, problems)
    for (number, level, text), (end, _, _) in itertools.pairwise(heads):
        body = lines[number : end - 1]
        if level == 1:
            title = text
            if title and end <= len(lines):
                continue  # words below a title introduce it
            _stray(body, number + 1, problems)
            continue
        section = _Section(number, text)
        if _read_body(section, body, problems):
            yield title, section


def _stray(lines: Sequence[str], first: int, problems: Problems) -> None:
    for number, line in enumerate(lines, start=first):
        if line.strip():
            fault = Invalid(
                "text outside any question; a question starts with ## ", reason="stray_text"
            )
            problems.add(number, fault)
            return


def _read_body(section: _Section, body: Sequence[str], problems: Problems) -> bool:
    """False when it has no end, which is told."""
    start = next((i for i, line in enumerate(body) if line.strip()), len(body))
    if start < len(body) and body[start].rstrip() == "<!--":
        end = next((i for i in range(start, len(body)) if body[i].rstrip() == "-->"), len(body))
        if end == len(body):
            fault = Invalid("the comment <!-- has no line --> to end it", reason="open_comment")
            problems.add(section.line + 1 + start, fault)
            return False
        for i in range(start + 1, end):
            _read_note(section, body[i], section.line + 1 + i, problems)
        start = end + 1
    fence = ""
    for line in body[start:]:
        fence, was = fence_after(line, fence), fence
        section.answer.append(line if fence or was else _unescaped(line))
    return True


def _read_note(section: _Section, line: str, number: int, problems: Problems) -> None:
    if not line.strip():
        return
    note = _NOTE.match(line)
    if not note or note[1] not in _NOTES:
        fault = Invalid(
            f"expected one of {', '.join(_NOTES)} and a colon",
            reason="unknown_note",
            facts={"notes": ", ".join(_NOTES)},
        )
        problems.add(number, fault)
    elif note[1] == "also":
        section.phrasings.append(note[2])
    elif note[2].strip():
        section.notes[note[1]] = note[2].strip()


def _unescaped(line: str) -> str:
    return line[1:] if line.startswith("\\") and _MARK.match(line) else line


# -- writing


def _written(entry: Entry) -> str:
    fields = fields_of(entry)
    notes = [f"{name}: {fields[name]}" for name in _NOTES[1:] if fields[name] not in ("", None)]
    notes += [f"also: {phrasing}" for phrasing in entry.phrasings]
    head = [f"## {entry.question}", "<!--", *notes, "-->", ""]
    return "\n".join([*head, *_escaped(entry.answer.split("\n")), "", ""])


def _escaped(lines: Sequence[str]) -> list[str]:
    """An answer whose marks are not taken for ours; a fence that is never closed is no fence."""
    fence, opened, out = "", 0, []
    position = 0
    plain: set[int] = set()
    while position < len(lines):
        line = lines[position]
        after = fence if position in plain else fence_after(line, fence)
        if after and not fence:
            opened = position
        kept = bool(fence or after) and position not in plain
        out.append(line if kept or not _MARK.match(line) else f"\\{line}")
        fence = after
        position += 1
        if position == len(lines) and fence:
            plain.add(opened)
            del out[opened:]
            position, fence = opened, ""
    return out
