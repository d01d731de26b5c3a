"""The page of results: a section per run, so that finding and timing may be measured apart."""

from collections.abc import Sequence
from pathlib import Path

TITLE = "# Retrieval, measured"
HEADING = "## "


def put(page: Path, heading: str, lines: Sequence[str]) -> None:
    """Writes these lines under the heading; other sections stay as they are."""
    text = page.read_text("utf-8") if page.exists() else TITLE
    opening, *sections = text.split(f"\n{HEADING}")
    held = {section.partition("\n")[0]: section.strip() for section in sections}
    held[heading] = "\n".join([heading, "", *lines]).strip()
    parts = [opening.strip(), *(f"{HEADING}{section}" for section in held.values())]
    page.write_text("\n\n".join(parts) + "\n", "utf-8")
