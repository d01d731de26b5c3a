"""What goes into the index and what comes out, checked at this border.

The index takes what it is given: NaN vectors are stored and found, a filter is a string that a
value can break out of. So vectors, texts and names are checked here, and a filter is made of
quoted values only; callers never pass one.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.errors import Invalid

PK_BYTES = 256
DIGEST_BYTES = 128
CATEGORY_BYTES = 512
LANGUAGE_BYTES = 64
NORM_MIN = 1e-9
NORM_MAX = 1e9

_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One text of one FAQ entry. `pk` names the entry and the `digest` of what the row says.

    `entry_id` is what it is deleted by: the FAQ index writes the key there too, for it deletes
    single rows.
    """

    pk: str
    entry_id: str
    digest: str
    category: str
    language: str
    vector: Sequence[float]


@dataclass(frozen=True)
class Nominee:
    """A phrasing near the question. `score` is the cosine, in [-1, 1]; `vector` is the row's."""

    pk: str
    score: float
    vector: Sequence[float] = ()


def entry_of(pk: str) -> str:
    """The entry that a row's key names."""
    return pk.rpartition(":")[0]


def check_row(row: Row, dimension: int) -> None:
    """Raises Invalid naming the field."""
    check_text("pk", row.pk, PK_BYTES)
    check_text("entry_id", row.entry_id, PK_BYTES)
    check_text("digest", row.digest, DIGEST_BYTES)
    check_text("category", row.category, CATEGORY_BYTES)
    check_text("language", row.language, LANGUAGE_BYTES)
    check_vector(row.vector, dimension)


def check_vector(vector: Sequence[float], dimension: int) -> None:
    """Raises Invalid for NaN, infinity, zero length or another dimension."""
    if len(vector) != dimension:
        raise Invalid(
            f"a vector of {len(vector)} numbers where the index holds {dimension}",
            hint="the embedding model has changed: rebuild the index",
        )
    norm = math.hypot(*vector)
    if not NORM_MIN < norm < NORM_MAX:  # false for NaN too
        raise Invalid(f"a vector of length {norm}", hint="the embedding model is broken")


def check_text(name: str, value: str, limit_bytes: int) -> None:
    """Raises Invalid for what the index cannot store or its filter language cannot name."""
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{name} is not valid Unicode", hint="remove lone surrogates") from None
    if size > limit_bytes:
        raise Invalid(f"{name} takes {size} bytes, more than {limit_bytes}", hint="shorten it")
    if any(ord(c) < 0x20 for c in value):
        raise Invalid(f"{name} holds a control character", hint="remove it")


def check_collection(name: str) -> None:
    """Raises Invalid unless the name is a plain identifier, as Milvus wants it."""
    if not _COLLECTION.fullmatch(name):
        raise Invalid(f"{name!r} cannot name a collection", hint="use letters, digits and _")


def equals_all(**values: str | None) -> str:
    """A filter: every given field equals its value; "" when none is given."""
    for name, value in values.items():
        if value is not None:
            check_text(name, value, CATEGORY_BYTES)
    return " and ".join(f"{name} == {quoted(v)}" for name, v in values.items() if v is not None)


def is_one_of(name: str, values: Sequence[str]) -> str:
    """A filter: the field is one of the values."""
    for value in values:
        check_text(name, value, PK_BYTES)
    return f"{name} in [{', '.join(map(quoted, values))}]"


def quoted(value: str) -> str:
    """A string literal of the filter language. Its lexer knows no `\\u` escapes."""
    return json.dumps(value, ensure_ascii=False)
