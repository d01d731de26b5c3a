"""A question on its way: what is asked, what is stored of it, what a worker gets."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from appliance.schema.answers import Decision
from appliance.schema.fields import Body, Record, Text
from appliance.schema.sampling import MAX_TOP_LOGPROBS, GrammarText, LogitBias, Sampling

MAX_PROMPT_MESSAGES = 200
RequestState = Literal[
    "waiting", "loading", "queued", "running", "done", "failed", "refused", "cancelled"
]
Priority = Literal["person", "service", "background"]
TERMINAL_STATES = ("done", "failed", "refused", "cancelled")


class MessagePost(Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person writes into a session. Everything but `text` has a default in the settings."""

    text: Text
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    stop: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=16)
        ]
        | None
    ) = None
    logit_bias: LogitBias | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    grammar: GrammarText | None = None
    json_schema: dict[str, Any] | None = None
    faq: bool = True
    deadline_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    priority: Priority = "person"


class Accepted(Record, frozen=True, kw_only=True):
    """Answer to a submit: where to follow the request. `id` equals `request_id`."""

    id: str
    request_id: str
    session_id: str
    events: str


class ChatMessage(Record, frozen=True, kw_only=True):
    """The first `public_chars` of `content` are the operator's words, the same for everybody.

    Only what is public may be computed once for several people.
    """

    role: Literal["system", "user", "assistant"]
    content: str
    public_chars: int = 0


class Request(Record, frozen=True, kw_only=True):
    """One generation, as accepted. Kept in `request:{rid}` until it expires after its end."""

    id: str
    uid: str
    text: str
    sampling: Sampling
    created_at_ms: int
    deadline_at_ms: int
    session_id: str = ""
    messages: tuple[ChatMessage, ...] = ()
    faq: bool = True
    model: str = ""
    priority: Priority = "person"


class RequestStatus(Record, frozen=True, kw_only=True):
    id: str
    session_id: str
    state: RequestState
    attempt: int
    created_at_ms: int


class Work(Record, frozen=True, kw_only=True):
    """What a worker needs to answer: the finished prompt messages and how to sample.

    `cut_turns` turns of the conversation are not in the messages any more.
    """

    request_id: str
    uid: str
    session_id: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    created_at_ms: int
    admitted_at_ms: int
    deadline_at_ms: int
    cut_turns: int = 0
    decision: Decision | Literal[""] = ""
    entries: tuple[str, ...] = ()
    """Ids of the FAQ entries before the question; number 1 is the first."""


class Warming(Record, frozen=True, kw_only=True):
    """What a worker needs to have a session in its cache before its next question."""

    session_id: str
    uid: str
    messages: tuple[ChatMessage, ...]
