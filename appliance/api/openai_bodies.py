"""What OpenAI clients send. Fields not named here are ignored, as these clients expect."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from appliance.errors import Invalid
from appliance.schema.fields import MAX_TEXT_CHARS
from appliance.schema.requests import MAX_PROMPT_MESSAGES, Priority
from appliance.schema.sampling import MAX_TOP_LOGPROBS, GrammarText, LogitBias

MAX_CHOICES = 8

Content = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Stop = Annotated[str, Meta(min_length=1, max_length=200)]
Refused = Any  # refused whole, so its shape does not matter


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Text. What OpenAI has besides is read to be refused by its name."""

    type: Literal["text", "refusal", "image_url", "input_audio", "file"]
    text: Content = ""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """`tool` and `function` are read to be refused by their names. Only an assistant's message may
    be without content."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | Annotated[tuple[Part, ...], Meta(max_length=64)] | None = None
    tool_calls: Refused = None
    function_call: Refused = None


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    include_usage: bool | None = False


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
    """`POST /v1/chat/completions`. A `seed` of -1 draws one, as llama-server does; others count
    modulo 2^32 - 1. `top_p` 0 is greedy."""

    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=MAX_PROMPT_MESSAGES)]
    model: Annotated[str, Meta(max_length=200)] = ""
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1000)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
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
    typical_p: Refused = None
    xtc_probability: Refused = None
    dry_multiplier: Refused = None
    mirostat: Refused = None
    lora: Refused = None
    modalities: tuple[Annotated[str, Meta(max_length=20)], ...] | None = None


EmbeddedText = Annotated[str, Meta(min_length=1, max_length=MAX_TEXT_CHARS)]
MAX_EMBEDDED_TEXTS = 256


class EmbeddingsBody(msgspec.Struct, frozen=True, kw_only=True):
    """`POST /v1/embeddings`. Numbers of tokens, and too many texts, are read to be refused in
    words."""

    input: (
        EmbeddedText
        | Annotated[tuple[EmbeddedText | int | tuple[int, ...], ...], Meta(min_length=1)]
    )
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    model: Annotated[str, Meta(max_length=200)] = ""
    encoding_format: Literal["float", "base64"] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None


OFF: dict[str, Any] = {"typical_p": 1, "xtc_probability": 0, "dry_multiplier": 0, "mirostat": 0}
"""Samplers we do not have, each with the value that means it is not used: clients send that."""


def embedded_texts(body: EmbeddingsBody) -> tuple[str, ...]:
    """The texts of the body. Raises Invalid for tokens, and for too many texts."""
    if isinstance(body.input, str):
        return (body.input,)
    texts = tuple(one for one in body.input if isinstance(one, str))
    if len(texts) < len(body.input):
        raise Invalid(
            "the input must be text: tokens of another model mean nothing to this one",
            hint="send text; in LangChain's OpenAIEmbeddings check_embedding_ctx_length=False",
            reason="unsupported",
        )
    if len(texts) > MAX_EMBEDDED_TEXTS:
        raise Invalid(
            f"there are more than {MAX_EMBEDDED_TEXTS} texts",
            hint="send them in several calls; LangChain and LlamaIndex have a setting for that",
            reason="too_many_texts",
            facts={"bound": MAX_EMBEDDED_TEXTS},
        )
    return texts


def check_supported(body: ChatBody) -> None:
    """Raises Invalid for what this service cannot do, by name."""
    wanted = {
        "tools": bool(body.tools),
        "functions": bool(body.functions),
        "audio": bool(body.audio) or "audio" in (body.modalities or ()),
        "lora": bool(body.lora),
        **{name: getattr(body, name) not in (None, off) for name, off in OFF.items()},
    }
    for message in body.messages:
        wanted |= _wanted_of(message)
    for name, used in wanted.items():
        if used:
            raise Invalid(f"{name} is not supported", hint="leave it out", reason="unsupported")


def _wanted_of(message: Message) -> dict[str, bool]:
    """What a message wants that is not supported. Raises Invalid for one without content."""
    wanted = {
        f"the role {message.role}": message.role in ("tool", "function"),
        "tool_calls": bool(message.tool_calls),
        "function_call": bool(message.function_call),
    }
    if message.content is None:
        if message.role != "assistant" and not any(wanted.values()):
            raise Invalid(
                f"a message of the {message.role} has no content",
                hint="add some text",
                reason="empty_message",
            )
        return wanted
    if isinstance(message.content, tuple):
        for part in message.content:
            wanted[f"a part of type {part.type}"] = part.type not in ("text", "refusal")
    return wanted


def wanted_schema(form: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema an answer must fit: that of any object for `json_object`, None for text."""
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return form.schema if form.schema is not None else {"type": "object"}
    if form.json_schema is None:
        raise Invalid(
            "response_format has no json_schema",
            hint="add it, or use json_object",
            reason="no_json_schema",
        )
    return form.json_schema.schema
