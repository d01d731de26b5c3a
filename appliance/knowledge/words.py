"""The words of a text, as lexical search counts them.

Latin and other spaced scripts give whole words, folded (case, width, accents, plural). Scripts
that are written without spaces (Chinese, Japanese, Thai and their neighbours) give every character
and every pair of neighbours: no dictionary has the names of an organisation's own things, and
pairs find them (on XQuAD Chinese they find as much as jieba's dictionary; see `make
bench-retrieval`). A question and a phrasing pass through the same function.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator

from appliance.writing import UNSPACED

TEXTS_REMEMBERED = 20_000
_RUN = re.compile(rf"([{UNSPACED}]+)|([^\W_{UNSPACED}]+(?:['’][^\W_{UNSPACED}]+)?)")
_UNSPACED_CHAR = re.compile(f"[{UNSPACED}]")
_ACCENTS = re.compile(r"[\u0300-\u036f]")
_APOSTROPHE = re.compile(r"['’]s?$")


@functools.lru_cache(maxsize=TEXTS_REMEMBERED)
def terms(text: str) -> tuple[str, ...]:
    """Every term in order, repeated as often as it occurs."""
    return tuple(_terms(folded(text)))


def is_spaced(text: str) -> bool:
    """Whether a text is written with spaces between its words throughout."""
    return _UNSPACED_CHAR.search(text) is None


def folded(text: str) -> str:
    """One form for every width, case and accent."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFD", plain)))


def _terms(text: str) -> Iterator[str]:
    for unspaced, word in _RUN.findall(text):
        if word:
            yield _singular(_APOSTROPHE.sub("", word))
            continue
        yield from unspaced
        for start in range(len(unspaced) - 1):
            yield unspaced[start : start + 2]


def _singular(word: str) -> str:
    """English plurals (Harman's s-stemmer, 1991); other words pass."""
    if len(word) < 4 or not word.isascii() or not word.endswith("s"):
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return f"{word[:-3]}y"
    if word.endswith(("us", "ss", "is")):
        return word
    return word[:-1]
