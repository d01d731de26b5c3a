"""Which index rows a FAQ entry should have: a pure function of its record.

One row per phrasing, and one for question and answer together: asked in words that no phrasing
foresaw, a question often shares some with the answer (a left-out phrasing of the demo FAQ finds its
entry first 77 times in 100 with that row, 62 without).

A row's key is its entry and the digest of what it says (text, category, language). So a row is
never changed, only written and deleted, and a row found by a search names the very text it was
made from, however the record has changed since.
"""

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from appliance.schema.answers import Match
from appliance.schema.faq import Entry
from appliance.vectors.rows import entry_of

LAYOUT = "2"
"""Part of a collection's name: change it with anything that makes old rows wrong."""
PREFIX = "sluice_faq_"
ENTRIES_REMEMBERED = 2_048
"""A question asks for the rows of some forty entries, and often the same ones."""
_GENERATION = re.compile(r"_g([0-9]+)$")
Kind = Literal["query", "passage"]
QUERY: Kind = "query"
PASSAGE: Kind = "passage"


@dataclass(frozen=True)
class PlannedRow:
    """A row as it should be, but for its vector: that of `text`. `phrasing` is what to show.

    A phrasing is embedded as the question that it is: like questions meet closest then, and its
    vector can stand in for a question when the FAQ is calibrated on itself.
    """

    entry_id: str
    digest: str
    text: str
    phrasing: str
    category: str
    language: str
    kind: Kind

    @property
    def pk(self) -> str:
        return f"{self.entry_id}:{self.digest}"


def planned_rows(entry: Entry | None) -> Mapping[str, PlannedRow]:
    """By key, the question's row first; none for a draft or a missing record. Not to be changed."""
    if entry is None or entry.state != "published":
        return {}
    return _rows(entry)


@functools.lru_cache(maxsize=ENTRIES_REMEMBERED)
def _rows(entry: Entry) -> Mapping[str, PlannedRow]:
    whole = f"{entry.question}\n{entry.answer}"
    texts: list[tuple[str, str, Kind]] = [
        (phrasing, phrasing, QUERY) for phrasing in (entry.question, *entry.phrasings)
    ]
    rows = (
        PlannedRow(
            entry.id,
            _digest(text, entry.category, entry.language),
            text,
            phrasing,
            entry.category,
            entry.language,
            kind,
        )
        for text, phrasing, kind in [*texts, (whole, entry.question, PASSAGE)]
    )
    return {row.pk: row for row in rows}


def question_key(of: Entry | Match) -> str:
    """The key of the row of an entry's question, as long as that says what it said."""
    return f"{of.id}:{_digest(of.question, of.category, of.language)}"


def digest_of(pk: str) -> str:
    return pk.rpartition(":")[2]


def keys_by_entry(pks: Iterable[str]) -> dict[str, frozenset[str]]:
    """Row keys, grouped by the entry they belong to."""
    grouped: dict[str, list[str]] = {}
    for pk in pks:
        grouped.setdefault(entry_of(pk), []).append(pk)
    return {entry_id: frozenset(keys) for entry_id, keys in grouped.items()}


def collection_name(stamp: str, size: int) -> str:
    """The collection of an embedding model: vectors of two models never meet in one."""
    return PREFIX + _digest(LAYOUT, stamp, str(size))


@dataclass
class Filled:
    """A collection and the row keys it holds, by entry."""

    name: str
    held: dict[str, frozenset[str]] = field(default_factory=dict)

    def keys(self, entry_id: str) -> frozenset[str]:
        return self.held.get(entry_id, frozenset())


def in_use(collections: Iterable[str], base: str) -> str:
    """Which of a model's collections serves: the oldest, for the next one drops it when it is
    whole."""
    mine = [name for name in collections if _GENERATION.sub("", name) == base]
    return min(mine, key=_generation, default=base)


def next_generation(collection: str) -> str:
    return f"{_GENERATION.sub('', collection)}_g{_generation(collection) + 1}"


def _generation(collection: str) -> int:
    found = _GENERATION.search(collection)
    return int(found[1]) if found else 0


def _digest(*texts: str) -> str:
    """64 bits: keys need to differ only within one entry."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()
