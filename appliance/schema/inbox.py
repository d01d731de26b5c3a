"""The records of the inbox: messages to a person who did not ask."""

from typing import Annotated, Literal

from msgspec import Meta

from appliance.schema.fields import Body, Identifier, Record, Title

MAX_MESSAGE_CHARS = 4_000
MAX_ACKNOWLEDGED = 500
FAR_MS = 4_102_444_800_000  # the year 2100
MessageKind = Literal["message", "answer_ready", "answer_found", "question_waiting"]
MessageText = Annotated[str, Meta(min_length=1, max_length=MAX_MESSAGE_CHARS)]
TimeMs = Annotated[int, Meta(ge=0, le=FAR_MS)]


class InboxPost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message to a person. Without `deliver_at_ms` it is delivered now, in quiet hours after
    them; `urgent` does not wait for their end. It leaves unread at `expires_at_ms`."""

    text: MessageText
    title: Title = ""
    session_id: Annotated[str, Meta(max_length=64)] = ""
    deliver_at_ms: TimeMs | None = None
    expires_at_ms: TimeMs | None = None
    urgent: bool = False


class InboxAccepted(Record, frozen=True, kw_only=True):
    """`reason` says why a message waits: "asked" or "quiet_hours". `repeated`: its idempotency
    key came before, and nothing was written now."""

    id: str
    state: Literal["delivered", "scheduled"]
    deliver_at_ms: int
    expires_at_ms: int
    reason: Literal["", "asked", "quiet_hours"] = ""
    repeated: bool = False


class InboxMessage(Record, frozen=True, kw_only=True):
    """A delivered message. `sender` is the name of the key that wrote it, "sluice" for us.

    `kind` answer_ready: the answer to `request_id` in `session_id` was finished after its reader
    had left. answer_found: there is an answer now to what was asked in vain; `title` is the
    question and `text` the answer, which is the turn `request_id` where that was promised.
    question_waiting: `text` waits for a person to answer it. Who shows them words the rest.
    """

    id: str
    text: str
    sender: str
    sent_at_ms: int
    expires_at_ms: int
    kind: MessageKind = "message"
    title: str = ""
    session_id: str = ""
    request_id: str = ""
    entry_id: str = ""
    urgent: bool = False
    read: bool = False


class ScheduledMessage(InboxMessage, frozen=True, kw_only=True):
    """A message that waits; `sent_at_ms` is when it was written, `deliver_at_ms` when it is due."""

    deliver_at_ms: int


class InboxPage(Record, frozen=True, kw_only=True):
    """Messages, the newest first; `unread` counts all that are kept."""

    items: tuple[InboxMessage, ...]
    unread: int
    cursor: str | None = None


class InboxAck(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Messages that were read: those named, or all of them."""

    ids: Annotated[tuple[Identifier, ...], Meta(max_length=MAX_ACKNOWLEDGED)] = ()
    all: bool = False


class Unread(Record, frozen=True, kw_only=True):
    """The first event for a follower, and the answer to an acknowledgement."""

    unread: int


class MessagesRead(Record, frozen=True, kw_only=True):
    """Messages were read, here or on another device."""

    ids: tuple[str, ...]
    unread: int


class RelatedQuestion(Record, frozen=True, kw_only=True):
    """A question that the FAQ answers too."""

    entry_id: str
    question: str


class Related(Record, frozen=True, kw_only=True):
    """Questions near the one that was answered, which nobody asked in its session before."""

    session_id: str
    request_id: str
    questions: tuple[RelatedQuestion, ...]
