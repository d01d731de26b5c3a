"""Where a line of mixed Chinese and Latin text may be broken.

Rich and Textual break lines at white space only. Chinese has none, so a run of it is taken for
one long word, and each Latin word in a Chinese sentence leaves a hole at the end of its line.
Here every ideograph is a word of its own, kept together with opening punctuation before it and
closing punctuation after it (a subset of the rules of UAX #14 and of GB/T 15834).

Neither library offers a place to say this. `install` puts `words` where both look for their
words; a test fails when they no longer look there. It also mends what rich does where there is no
room at all, as in a window that is made very narrow: it divides by the width.
"""

import re
from collections.abc import Iterator

import rich._wrap
import textual._wrap
from rich.cells import chop_cells

_WIDE = "\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U0001f000-\U0003ffff"
_OPENING = "（《〈「『【〔〖［｛“‘([{<"
_CLOSING = "。，、；：？！）》〉」』】〕〗］｝”’…—～％.,;:!?)\\]}>%"
_NO_BREAK = "\u00a0\u202f"
_SPACE = rf"[^\S{_NO_BREAK}]"
_LATIN = rf"(?:[^\s{_WIDE}“‘]|[{_NO_BREAK}])+"
_WORD = re.compile(
    rf"[{_OPENING}]*(?:[{_WIDE}][{_CLOSING}{_NO_BREAK}]*|{_LATIN}){_SPACE}*|{_SPACE}+|\S{_SPACE}*"
)


def words(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and text of each part that stays together, white space after it included."""
    for found in _WORD.finditer(text):
        yield found.start(), found.end(), found.group()


def chopped(text: str, width: int, unicode_version: str = "auto") -> list[str]:
    """A word in pieces of at most `width` cells; without any room as if there were one."""
    return chop_cells(text, max(1, width), unicode_version)


def install() -> None:
    """Makes every widget of this process break its lines by these rules."""
    rich._wrap.words = words
    rich._wrap.chop_cells = chopped  # type: ignore[attr-defined]  # it was imported there
    textual._wrap.chunks = words
