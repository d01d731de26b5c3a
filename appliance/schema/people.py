"""The records of people: who they are, what is known of them, how the model is told."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from appliance.schema.fields import AttributeName, AttributeValue, Body, Record, Tag, Uid
from appliance.schema.requests import ChatMessage

MAX_ATTRIBUTES = 64
MAX_TAGS = 64
MAX_FRAGMENT_CHARS = 4_000
MAX_KEY_DAYS = 36_500
KEY_EXPIRED = "key_expired"
"""The reason of the error that an expired key is told."""
FragmentText = Annotated[str, Meta(min_length=1, max_length=MAX_FRAGMENT_CHARS)]
FragmentTags = Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)]
Place = Annotated[int, Meta(ge=-10_000, le=10_000)]


class TagDetail(Record, frozen=True, kw_only=True):
    """A tag and where it comes from. `at_ms` is 0 where nobody put it on: a rule gives it."""

    name: str
    source: Literal["registration", "operator", "job", "rule"]
    at_ms: int = 0
    note: str = ""


class User(Record, frozen=True, kw_only=True):
    """`tags` are those in force, `details` says where each comes from."""

    id: str
    attributes: dict[str, str]
    tags: tuple[str, ...]
    version: int
    details: tuple[TagDetail, ...] = ()


class UserPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    attributes: Annotated[dict[AttributeName, AttributeValue], Meta(max_length=MAX_ATTRIBUTES)] = {}
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] = ()


class UserPatch(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An attribute set to null is removed; tags, where given, replace the old ones."""

    attributes: Annotated[
        dict[AttributeName, AttributeValue | None], Meta(max_length=MAX_ATTRIBUTES)
    ] = {}
    tags: Annotated[tuple[Tag, ...], Meta(max_length=MAX_TAGS)] | msgspec.UnsetType = msgspec.UNSET


class Fragment(Record, frozen=True, kw_only=True):
    """The operator's words for people who have all of `tags` and none of `without`.

    They stand behind the system prompt, ordered by `place`, then by name.
    """

    name: str
    text: str
    tags: tuple[str, ...]
    without: tuple[str, ...]
    place: int
    version: int
    updated_at_ms: int


class FragmentPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    text: FragmentText
    tags: FragmentTags = ()
    without: FragmentTags = ()
    place: Place = 0


class TagPut(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a tag is put on."""

    note: Annotated[str, Meta(max_length=300)] = ""


class Profile(Record, frozen=True, kw_only=True):
    """What prompts begin with for a person, and what it was made of."""

    system: ChatMessage
    user_version: int
    fragments: tuple[str, ...]
    made_at_ms: int


class PromptPreview(Record, frozen=True, kw_only=True):
    """What a new session of this person would begin with, now."""

    uid: str
    system: str
    public_chars: int
    fragments: tuple[Fragment, ...]
    tags: tuple[TagDetail, ...]
    attributes: dict[str, str]
    untold: tuple[str, ...]


class PromptMessage(Record, frozen=True, kw_only=True):
    role: Literal["system", "user", "assistant"]
    content: str


class PromptAudit(Record, frozen=True, kw_only=True):
    """What the model was sent for a question, as far as it is kept.

    `exact` is false where turns were trimmed since or the question never reached the model.
    """

    request_id: str
    session_id: str
    messages: tuple[PromptMessage, ...]
    fragments: tuple[str, ...]
    user_version: int
    cut_turns: int
    exact: bool


Role = Literal["admin", "service", "person"]


class ApiKeyPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key for somebody else. `name` is told to people whom a service writes to; `uid` is whose a
    person's key is. It lets in for so many `days`, or else until it is deleted."""

    role: Role
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    uid: Uid | None = None
    days: Annotated[float, Meta(gt=0, le=MAX_KEY_DAYS)] | None = None


class ApiKey(Record, frozen=True, kw_only=True):
    """A key without its secret. From `expires_at_ms` on it lets nobody in; 0 is never."""

    id: str
    role: Role
    name: str
    uid: str
    created_at_ms: int
    expires_at_ms: int = 0


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """A key with its secret, which is shown this once and kept as a hash only."""

    key: str


class Me(Record, frozen=True, kw_only=True):
    """Whose key a call is made with; `uid` is that of a person's key, "" of every other."""

    role: Role
    name: str
    uid: str


class Erased(Record, frozen=True, kw_only=True):
    """What was removed of a person. Backups and what others copied are out of reach."""

    uid: str
    sessions: int
    requests: int
    messages: int
    keys: int
    dead_letters: int
