"""A path as a person types it, or drags it into the terminal, which puts it in quotes."""

from pathlib import Path


def typed_path(text: str) -> Path:
    """`~` is the home folder; one that cannot be told stays as it is."""
    path = Path(text.strip().strip("'\""))
    try:
        return path.expanduser()
    except RuntimeError:
        return path
