"""What the records are made of: their two bases, a page of them, and fields that many have."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

END = r"$(?!\n)"  # to Python a bare $ is also before a last line break; \Z is Python's alone
ID = r"[a-z0-9][a-z0-9_-]{0,62}"
UID_PATTERN = f"^{ID}{END}"
ID_PATTERN = f"^{ID}{END}"
DEFAULT_UID = "local"
MAX_TEXT_CHARS = 32_000
MAX_TITLE_CHARS = 200
MAX_ANSWER_CHARS = 16_000
MAX_QUESTION_CHARS = 2_000
Uid = Annotated[str, Meta(pattern=UID_PATTERN)]
Identifier = Annotated[str, Meta(pattern=ID_PATTERN)]
Text = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
Title = Annotated[str, Meta(max_length=MAX_TITLE_CHARS)]
ModelName = Annotated[str, Meta(max_length=200)]
AttributeName = Annotated[str, Meta(pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.-]{{0,63}}{END}")]
AttributeValue = Annotated[str, Meta(max_length=2_000)]
Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Question = Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]
Answer = Annotated[str, Meta(min_length=1, max_length=MAX_ANSWER_CHARS)]
Category = Annotated[str, Meta(max_length=100)]
Language = Annotated[str, Meta(pattern=rf"^([a-z]{{2,3}}(-[A-Za-z0-9]{{2,8}})?)?{END}")]
Moment = Annotated[
    str,
    Meta(pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2})?)?)?" + END),
]
"""An ISO 8601 date or time, "" for none; without an offset it is meant where the appliance runs."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A value that leaves the process."""


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that enters the process from outside: unknown fields are errors."""


class Page(Record, frozen=True, kw_only=True):
    """A list: `cursor` is what to send as `?cursor=` for the next page, None at the end."""

    items: tuple[Any, ...]
    cursor: str | None = None
