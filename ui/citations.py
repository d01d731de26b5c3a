"""Citations in an answer: `[1]` becomes something to click when there is a first source.

The markers are found in the parsed Markdown, in plain text only, never in code; a number beyond
the sources stays text. The link they become is made here alone, for the answer's parser reads no
links of its own.
"""

import re
from collections.abc import Iterable
from typing import Final

from markdown_it.token import Token

SCHEME: Final = "source:"
_MARKER: Final = re.compile(r"\[(\d{1,2})\]")


def number_of(href: str) -> int:
    """The number of the cited source, 0 for anything that is no citation."""
    number = href.removeprefix(SCHEME)
    return int(number) if number != href and number.isdecimal() else 0


def linked(tokens: Iterable[Token], sources: int) -> list[Token]:
    """Inline tokens with the citations of the first `sources` sources as links."""
    result: list[Token] = []
    for token in tokens:
        if token.type == "text" and "[" in token.content:
            result.extend(_parts(token, sources))
        else:
            result.append(token)
    return result


def _parts(token: Token, sources: int) -> list[Token]:
    parts: list[Token] = []
    end = 0
    for marker in _MARKER.finditer(token.content):
        if not 1 <= int(marker[1]) <= sources:
            continue
        parts.append(_text(token.content[end : marker.start()]))
        href = f"{SCHEME}{int(marker[1])}"
        parts.append(Token("link_open", "a", 1, attrs={"href": href}))
        parts.append(_text(marker[0]))
        parts.append(Token("link_close", "a", -1))
        end = marker.end()
    parts.append(_text(token.content[end:]))
    return [part for part in parts if part.type != "text" or part.content]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)
