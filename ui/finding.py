"""Searches conversations for words; knows no widget. The server looks, and says how far."""

from dataclasses import dataclass
from typing import Final

from ui.client import Client
from ui.searching import Hit, hits_of

HITS_MAX: Final = 200


@dataclass(frozen=True)
class Found:
    """The newest first; `is_complete` is false where there may be more."""

    hits: tuple[Hit, ...]
    is_complete: bool


class Finder:
    """`first` is the session that the search was opened in."""

    def __init__(self, client: Client, *, first: str) -> None:
        self._client = client
        self._first = first

    async def find(self, wanted: str) -> Found:
        found = await self._client.find(wanted, limit=HITS_MAX)
        hits = hits_of(found.items, wanted, first=self._first)
        return Found(tuple(hits), found.complete)
