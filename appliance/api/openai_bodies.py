"""What OpenAI clients send. Fields not named here are ignored, as these clients expect."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.errors import Invalid
from appliance.schema.fields import MAX_TEXT_CHARS
from appliance.schema.requests import MAX_PROMPT_MESSAGES, ChatMessage, Priority
from appliance.schema.sampling import MAX_TOP_LOGPROBS, GrammarText, LogitBias

MAX_CHOICES = 8

Content = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Stop = Annotated[str, Meta(min_length=1, max_length=200)]
Refused = Any  # refused whole, so its shape does not matter


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["text"]
    text: Content


class Message(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: Content | Annotated[tuple[TextPart, ...], Meta(max_length=64)]


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    include_usage: bool = False


class JsonSchema(msgspec.Struct, frozen=True, kw_only=True):
    """The schema is always held strictly, whatever `strict` says."""

    schema: dict[str, Any]
    name: Annotated[str, Meta(max_length=200)] = ""


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """`schema` beside `json_object` is llama-server's older way to give one."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None
    schema: dict[str, Any] | None = None


class ChatBody(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/chat/completions`."""

    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_PROMPT_MESSAGES)]
    model: Annotated[str, Meta(max_length=200)] = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1000)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=131_072)] | None = None
    stop: Stop | Annotated[tuple[Stop, ...], Meta(max_length=16)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None
    faq: bool = True
    priority: Priority = "person"
    response_format: ResponseFormat | None = None
    grammar: GrammarText | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    logit_bias: LogitBias | None = None
    tools: Refused = None
    functions: Refused = None
    audio: Refused = None
    modalities: tuple[Annotated[str, Meta(max_length=20)], ...] | None = None


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/embeddings`."""

    input: (
        Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
        | Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)], ...],
            Meta(min_length=1, max_length=256),
        ]
    )
    model: Annotated[str, Meta(max_length=200)] = ""
    encoding_format: Literal["float", "base64"] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


def check_supported(body: ChatBody) -> None:
    """Raises Invalid for what this service cannot do, by name."""
    wanted = {
        "tools": bool(body.tools),
        "functions": bool(body.functions),
        "audio": bool(body.audio) or "audio" in (body.modalities or ()),
    }
    for name, used in wanted.items():
        if used:
            raise Invalid(f"{name} is not supported", hint="leave it out", reason="unsupported")


def wanted_schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema an answer must fit: that of any object for `json_object`, None for text."""
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return form.schema if form.schema is not None else {"type": "object"}
    if form.json_schema is None:
        raise Invalid("response_format has no json_schema", hint="add it, or use json_object")
    return form.json_schema.schema


def chat_message(given: Message, *, shared: bool) -> ChatMessage:
    """An application's system message is the same for its users, so with `shared` they share its
    place in the cache; what is told about one person belongs into a user message. A person's own
    is nobody else's: how fast it is answered would tell that it was said before.
    """
    content = _text(given.content)
    if given.role == "system" or given.role == "developer":
        return ChatMessage(
            role="system", content=content, public_chars=len(content) if shared else 0
        )
    return ChatMessage(role=given.role, content=content)


def _text(content: str | tuple[TextPart, ...]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content)
