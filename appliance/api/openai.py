"""`/v1`: the OpenAI shape, for programs that know nothing of Sluice.

A chat completion walks the same ten steps as any message, FAQ included (`"faq": false` leaves
it out). What we cannot do yet is refused by name; fields we do not know are ignored, as clients
of this API expect. `model` chooses one of `/v1/models`, which is loaded if it is not; "" and the
aliases of the settings mean the chat model, any other name is answered with 404.
"""

import base64
import hashlib
import re
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from litestar import Response, Router, get, post
from litestar.response import Stream
from msgspec import Meta

from appliance import keys
from appliance.access.flow import deadline_at_ms
from appliance.api.problems import error_body
from appliance.api.requests import KEEP_ALIVE, NO_BUFFERING
from appliance.api.sampling import sampling
from appliance.api.services import Services
from appliance.bus.replies import StreamEvent
from appliance.errors import Invalid, Overloaded, SluiceError, Unavailable, WaitedOut
from appliance.people.sessions import now_ms
from appliance.schema import (
    DEFAULT_UID,
    EVENTS,
    MAX_PROMPT_MESSAGES,
    MAX_TEXT_CHARS,
    UID_PATTERN,
    Cancelled,
    ChatMessage,
    Delta,
    Done,
    Failed,
    Record,
    Refused,
    Request,
)

Content = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]


class TextPart(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["text"]
    text: Content


class Message(msgspec.Struct, frozen=True, kw_only=True):
    role: Literal["system", "developer", "user", "assistant"]
    content: Content | Annotated[tuple[TextPart, ...], Meta(max_length=64)]


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    include_usage: bool = False


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    type: str = "text"


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
    stop: (
        Annotated[str, Meta(min_length=1, max_length=200)]
        | Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=16)
        ]
        | None
    ) = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    user: Annotated[str, Meta(max_length=256)] | None = None
    faq: bool = True
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    logit_bias: dict[str, float] | None = None
    tools: tuple[Any, ...] | None = None  # Any: refused whole, so its shape does not matter


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


class Model(Record, frozen=True, kw_only=True):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "sluice"
    state: str = "loaded"


class Models(Record, frozen=True, kw_only=True):
    data: tuple[Model, ...]
    object: str = "list"


@get("/models")
async def list_models(services: Services) -> Models:
    """The models that are loaded or can be, the chat model first and the embedding model last."""
    chat = [
        Model(id=one.name, state=one.state)
        for one in await services.loader.statuses()
        if one.state != "absent"
    ]
    status = await services.status()
    embedding = {worker.embedding_model for worker in status.workers} - {""}
    return Models(data=(*chat, *(Model(id=name) for name in sorted(embedding))))


@post("/chat/completions", status_code=200)
async def chat_completions(services: Services, data: ChatBody) -> Response[Any] | Stream:
    """Answers the messages; with `stream` as server-sent `chat.completion.chunk` objects."""
    _check_supported(data)
    model = await services.loader.resolve(data.model)
    request = msgspec.structs.replace(_request(services, data), model=model)
    await services.flow.accept(request)
    events = await services.flow.follow(request.id)
    first = await _first_sign(events)
    if data.stream:
        return Stream(
            _chunks(services, request, first, events, data),
            media_type="text/event-stream",
            headers=NO_BUFFERING,
        )
    return await _whole(request, first, events)


@post("/embeddings", status_code=200)
async def create_embeddings(services: Services, data: EmbeddingsBody) -> Response[Any]:
    """Vectors of length 1, one per input text, embedded as queries."""
    texts = (data.input,) if isinstance(data.input, str) else data.input
    vectors = await services.embedder.embed(texts, kind="query")

    def shaped(vector: Any) -> Any:
        if data.encoding_format == "base64":
            return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
        return list(vector)

    rows = [
        {"object": "embedding", "index": index, "embedding": shaped(vector)}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    return Response(
        {"object": "list", "data": rows, "model": services.embedder.stamp, "usage": usage}
    )


def _check_supported(data: ChatBody) -> None:
    wanted = {
        "n above 1": (data.n or 1) > 1,
        "tools": bool(data.tools),
        "logprobs": bool(data.logprobs),
        "logit_bias": bool(data.logit_bias),
        "response_format": data.response_format and data.response_format.type != "text",
    }
    for name, used in wanted.items():
        if used:
            raise Invalid(f"{name} is not supported", hint="leave it out", reason="unsupported")


def _request(services: Services, data: ChatBody) -> Request:
    messages = tuple(
        ChatMessage(
            role="system" if message.role == "developer" else message.role,
            content=_text(message.content),
        )
        for message in data.messages
    )
    last = messages[-1]
    if last.role != "user":
        raise Invalid("the last message must be the user's", hint="append a user message")
    chosen = sampling(services.settings.requests.defaults, _plain(data))
    return Request(
        id=keys.new_request_id(),
        uid=_uid(data.user),
        text=last.content,
        messages=messages,
        sampling=chosen,
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(services.settings, None),
        faq=data.faq,
    )


def _plain(data: ChatBody) -> ChatBody:
    """The same body with OpenAI's alternatives folded into our names."""
    stop = (data.stop,) if isinstance(data.stop, str) else data.stop
    tokens = data.max_completion_tokens or data.max_tokens
    return msgspec.structs.replace(data, stop=stop, max_tokens=tokens)


def _text(content: str | tuple[TextPart, ...]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part.text for part in content)


def _uid(user: str | None) -> str:
    """OpenAI's `user` is any string; one that is no user id becomes a stable one."""
    if not user:
        return DEFAULT_UID
    if re.fullmatch(UID_PATTERN, user):
        return user
    return f"u{hashlib.sha256(user.encode()).hexdigest()[:32]}"


async def _first_sign(events: AsyncGenerator[StreamEvent, None]) -> StreamEvent:
    """The first event that shows how the request fares, so a refusal has its HTTP status."""
    async for event in events:
        if event.event != "received":
            _raise_if_failed(event)
            return event
    raise Unavailable("the reply ended before it began", hint="try again")


def _decoded(event: StreamEvent) -> Any:
    return msgspec.json.decode(event.data, type=EVENTS[event.event])


def _raise_if_failed(event: StreamEvent) -> None:
    outcome = _decoded(event)
    match outcome:
        case Refused(reason=reason, message=message, retry_after_s=retry_after_s):
            kind: dict[str, type[SluiceError]] = {
                "deadline": WaitedOut,
                "no_worker": Unavailable,
                "no_room": Unavailable,
                "load_failed": Unavailable,
            }
            raise kind.get(reason, Overloaded)(
                message, hint="try again later", reason=reason, retry_after_s=retry_after_s
            )
        case Failed(code=code, reason=reason, message=message, hint=hint):
            failure = {"invalid": Invalid, "unavailable": Unavailable}.get(code, SluiceError)
            raise failure(message, hint=hint, reason=reason)
        case Cancelled(reason=reason):
            raise Unavailable("the request was cancelled", reason=reason, hint="ask again")


async def _whole(
    request: Request,
    first: StreamEvent,
    events: AsyncGenerator[StreamEvent, None],
) -> Response[Any]:
    parts: list[str] = []
    event: StreamEvent | None = first
    while event is not None:
        _raise_if_failed(event)
        outcome = _decoded(event)
        if isinstance(outcome, Delta):
            parts.append(outcome.text)
        elif isinstance(outcome, Done):
            message = {"role": "assistant", "content": "".join(parts), "refusal": None}
            choice = {
                "index": 0,
                "message": message,
                "finish_reason": outcome.finish_reason,
                "logprobs": None,
            }
            body = _object(request, outcome.model, "chat.completion", [choice])
            return Response(body | {"usage": msgspec.to_builtins(outcome.usage)})
        event = await anext(events, None)
    raise Unavailable("the reply ended too early", hint="ask again")


async def _chunks(
    services: Services,
    request: Request,
    first: StreamEvent,
    events: AsyncGenerator[StreamEvent, None],
    data: ChatBody,
) -> AsyncGenerator[bytes, None]:
    """OpenAI's stream. A caller who goes away cancels the request."""
    model, ended = request.model or services.loader.default, False

    def chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return _line(_object(request, model, "chat.completion.chunk", [choice]))

    try:
        yield chunk({"role": "assistant", "content": ""}, None)
        event: StreamEvent | None = first
        while event is not None:
            ended = event.terminal
            outcome = _decoded(event)
            if isinstance(outcome, Delta):
                yield chunk({"content": outcome.text}, None)
            elif isinstance(outcome, Done):
                yield chunk({}, outcome.finish_reason)
                if data.stream_options and data.stream_options.include_usage:
                    tail = _object(request, outcome.model, "chat.completion.chunk", [])
                    yield _line(tail | {"usage": msgspec.to_builtins(outcome.usage)})
                yield b"data: [DONE]\n\n"
            elif event.event in ("loading", "waiting"):
                yield KEEP_ALIVE
            else:
                _raise_if_failed(event)
            event = None if ended else await anext(events, None)
    except SluiceError as error:
        yield _line(error_body(error))
    finally:
        await events.aclose()
        if not ended:
            services.flow.abandon(request.id)


def _object(request: Request, model: str, kind: str, choices: list[Any]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.id}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": None,
        "choices": choices,
    }


def _line(value: object) -> bytes:
    return b"data: %s\n\n" % msgspec.json.encode(value)


router = Router(
    "/v1",
    route_handlers=[list_models, chat_completions, create_embeddings],
)
