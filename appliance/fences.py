"""Fenced code in Markdown, line by line (CommonMark 4.5)."""

import re

_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")


def fence_after(line: str, fence: str) -> str:
    """The fence that is open after this line, "" for none; `fence` is the one open before it."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found else ""
    closes = found and found[1].startswith(fence) and not line.strip(" `~\t\r")
    return "" if closes else fence
