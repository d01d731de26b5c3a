"""Every entry of the FAQ as a file, written as it comes; its ending says the form."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

FORMS: Final = {".jsonl": "jsonl", ".csv": "csv", ".xlsx": "xlsx", ".md": "markdown"}


def form_of(path: Path) -> str:
    """What the server calls the form, "" for an ending that is none of these."""
    return FORMS.get(path.suffix.lower(), "")


async def write_new(path: Path, pieces: AsyncIterator[bytes]) -> None:
    """Writes a file that only its owner reads; raises `FileExistsError` or another `OSError`.

    Half a file is not left behind, whatever the pieces end with.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    descriptor = await asyncio.to_thread(os.open, path, flags, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
    except BaseException:
        await asyncio.to_thread(path.unlink, missing_ok=True)
        raise
