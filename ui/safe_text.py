"""Text that was not written by us, made safe to put on a terminal.

A terminal obeys what is inside the text it prints: an answer can write the clipboard (OSC 52),
clear the screen, or reverse the reading direction of a name. Textual passes all of that
through, so everything from a model, a person, a FAQ or a server goes through here before any
widget sees it.

Dropped are the control characters but newline and tab, whole escape sequences in their 7-bit
and 8-bit forms, bidirectional controls, characters that cannot be seen (tags, zero-width spaces;
not the joiners that scripts and emoji need), and lone surrogates, which cannot be encoded. Line
and paragraph separators become newlines. A control string that is never ended costs at most the
rest of its line. Lines are folded at `MAX_LINE_CHARS`.

One state machine serves whole texts and streams, so how a text is cut into chunks makes no
difference. It refuses to interpret anything: the result is plain text, never markup.
"""

import re
from typing import Final, Literal

MAX_LINE_CHARS: Final = 2_000
MAX_SEQUENCE_CHARS: Final = 4_096

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"
_SEPARATORS = "\u2028\u2029"
_TAGS = "\U000e0000-\U000e007f"
_SURROGATES = "\ud800-\udfff"
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_SPECIAL = re.compile(f"[{_CONTROLS}{_BIDI}{_INVISIBLE}{_SEPARATORS}{_TAGS}{_SURROGATES}]")
_SPACE = re.compile(r"\s+")

_ESCAPE = "\x1b"
_STRING_STARTS_7BIT = "]PX^_"  # OSC, DCS, SOS, PM, APC after an escape
_STRING_STARTS_8BIT = "\x90\x98\x9d\x9e\x9f"
_CSI_8BIT = "\x9b"
_STRING_ENDS = "\x07\x18\x1a\x9c"  # BEL, CAN, SUB, ST

_State = Literal["text", "escape", "intermediate", "csi", "string", "string_escape"]


class SafeStream:
    """Cleans a text that arrives in chunks; any cutting gives the same result."""

    def __init__(self) -> None:
        self._state: _State = "text"
        self._swallowed = 0
        self._column = 0

    def feed(self, chunk: str) -> str:
        """The printable part of `chunk`. An unfinished escape sequence is held back."""
        if self._state == "text" and not _SPECIAL.search(chunk):
            return self._fold(chunk)
        pieces: list[str] = []
        position = 0
        while position < len(chunk):
            if self._state == "text":
                found = _SPECIAL.search(chunk, position)
                end = found.start() if found else len(chunk)
                pieces.append(chunk[position:end])
                position = end
                if found:
                    pieces.append(self._enter(chunk[position]))
                    position += 1
            elif self._swallow(chunk[position]):
                position += 1
        return self._fold("".join(pieces))

    def _enter(self, character: str) -> str:
        """Meets one special character in plain text; returns what is shown for it."""
        if character in _SEPARATORS:
            return "\n"
        if character == _ESCAPE:
            self._begin("escape")
        elif character == _CSI_8BIT:
            self._begin("csi")
        elif character in _STRING_STARTS_8BIT:
            self._begin("string")
        return ""

    def _begin(self, state: _State) -> None:
        self._state = state
        self._swallowed = 0

    def _swallow(self, character: str) -> bool:
        """Takes one character of a sequence; False when it must be read again as text."""
        self._swallowed += 1
        if self._swallowed > MAX_SEQUENCE_CHARS:
            self._state = "text"
            return False
        if self._state == "string":
            return self._in_string(character)
        if self._state == "string_escape":
            self._begin("text" if character == "\\" else "escape")
            return character == "\\"
        if self._state == "csi":
            if not " " <= character <= "?":
                self._state = "text"
            return " " <= character <= "~"
        return self._in_escape(character)

    def _in_string(self, character: str) -> bool:
        if character == _ESCAPE:
            self._state = "string_escape"
        elif character in _STRING_ENDS:
            self._state = "text"
        elif character == "\n":
            self._state = "text"
            return False
        return True

    def _in_escape(self, character: str) -> bool:
        if self._state == "escape" and character == "[":
            self._begin("csi")
        elif self._state == "escape" and character in _STRING_STARTS_7BIT:
            self._begin("string")
        elif " " <= character <= "/":
            self._state = "intermediate"
        else:
            self._state = "text"
            return "0" <= character <= "~"
        return True

    def _fold(self, text: str) -> str:
        """Breaks lines longer than the cap, counting across chunks."""
        pieces: list[str] = []
        for number, line in enumerate(text.split("\n")):
            if number:
                pieces.append("\n")
                self._column = 0
            rest = line
            while self._column + len(rest) > MAX_LINE_CHARS:
                room = MAX_LINE_CHARS - self._column
                pieces.append(rest[:room] + "\n")
                rest, self._column = rest[room:], 0
            pieces.append(rest)
            self._column += len(rest)
        return "".join(pieces)


def safe_text(text: str) -> str:
    """All of `text` that may be shown, over as many lines as it has."""
    return SafeStream().feed(text)


def safe_line(text: str, max_chars: int = 300) -> str:
    """`text` on one line: runs of white space become one space, the end is cut with an ellipsis."""
    line = _SPACE.sub(" ", safe_text(text[: max_chars * 8])).strip()
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"
