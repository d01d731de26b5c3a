"""A path as a person types it, or drags it into the terminal, which puts it in quotes."""

import os
from itertools import islice
from pathlib import Path
from typing import Final

from ui.safe_text import safe_line

MAX_PATH_CHARS: Final = 4_096
NAMES_MOST: Final = 10_000
"""Of a folder, looked at to complete a name."""


def typed_path(text: str) -> Path:
    """`~` is the home folder; one that cannot be told stays as it is."""
    path = Path(text.strip().strip("'\""))
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def completed(text: str) -> str | None:
    """What is typed with its last name completed by the first one that starts so; None without one.

    A folder ends with a slash. Hidden names are found by their dot, names that cannot be shown as
    they are never.
    """
    folder, slash, start = text.rpartition("/")
    if not start or start in (".", ".."):
        return None
    try:
        with os.scandir(typed_path(folder + slash)) as entries:
            names = [
                entry.name + "/" * entry.is_dir()
                for entry in islice(entries, NAMES_MOST)
                if entry.name.startswith(start)
            ]
    except (OSError, ValueError):
        return None
    shown = [name for name in names if safe_line(name, MAX_PATH_CHARS) == name]
    return folder + slash + min(shown) if shown else None
