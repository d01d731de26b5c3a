"""`/v1`: the OpenAI shape, for programs that know nothing of Sluice.

A chat completion walks the same ten steps as any message, FAQ included (`"faq": false` leaves
it out). What we cannot do yet is refused by name; fields we do not know are ignored, as clients
of this API expect. `model` chooses one of `/v1/models`, which is loaded if it is not; "" and the
aliases of the settings mean the chat model, any other name is answered with 404.
"""

import base64
import hashlib
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
import numpy as np
from litestar import Response, Router, get, post
from litestar.response import Stream

from appliance import keys
from appliance.access.flow import deadline_at_ms
from appliance.api.callers import Caller
from appliance.api.choices import Choices, total_usage
from appliance.api.openai_bodies import (
    ChatBody,
    EmbeddingsBody,
    chat_message,
    check_supported,
    wanted_schema,
)
from appliance.api.problems import error_body
from appliance.api.requests import KEEP_ALIVE, NO_BUFFERING
from appliance.api.sampling import sampling, wanted_grammar, wanted_logprobs
from appliance.api.services import Services
from appliance.clock import now_ms
from appliance.errors import Invalid, Overloaded, SluiceError
from appliance.schema.events import Delta, Done, Likely, Loading, TokenLogprob, Waiting
from appliance.schema.fields import DEFAULT_UID, UID_PATTERN, Record
from appliance.schema.requests import Request

SEEDS = 2**32 - 1


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
async def chat_completions(
    services: Services, caller: Caller, data: ChatBody
) -> Response[Any] | Stream:
    """Answers the messages; with `stream` as server-sent `chat.completion.chunk` objects."""
    check_supported(data)
    model = await services.loader.resolve(data.model)
    uid = caller.uid if caller.role == "person" else _uid(data.user)
    requests = await _requests(services, data, model, uid, shared=caller.role != "person")
    choices = Choices(services.flow)
    try:
        await choices.begin(requests)
        if data.stream:
            chunks = _chunks(requests, choices, data, model or services.loader.default)
            headers = NO_BUFFERING | await services.quotas.headers(requests[0].uid)
            return Stream(chunks, media_type="text/event-stream", headers=headers)
        whole = await _whole(requests, choices)
    except BaseException as error:
        await choices.close()
        if isinstance(error, Overloaded):
            error.headers.update(await services.quotas.headers(requests[0].uid))
        raise
    await choices.close()
    whole.headers.update(await services.quotas.headers(requests[0].uid))
    return whole


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


async def _requests(
    services: Services, data: ChatBody, model: str, uid: str, *, shared: bool
) -> list[Request]:
    """One request per choice. With a seed, choice number i is drawn with seed + i."""
    messages = tuple(chat_message(message, shared=shared) for message in data.messages)
    last = messages[-1]
    if last.role != "user":
        raise Invalid("the last message must be the user's", hint="append a user message")
    chosen = sampling(
        services.settings.requests.defaults,
        _plain(data),
        grammar=await wanted_grammar(data.grammar, json_schema=wanted_schema(data.response_format)),
        logit_bias=data.logit_bias,
        logprobs=wanted_logprobs(data.logprobs, data.top_logprobs),
    )
    first = Request(
        id=keys.new_request_id(),
        uid=uid,
        text=last.content,
        messages=messages,
        sampling=chosen,
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(services.settings, None),
        faq=data.faq,
        model=model,
        priority=data.priority,
    )
    return [first, *(_choice(first, index) for index in range(1, data.n or 1))]


def _choice(first: Request, index: int) -> Request:
    seed = first.sampling.seed
    chosen = msgspec.structs.replace(
        first.sampling, seed=None if seed is None else (seed + index) % SEEDS
    )
    return msgspec.structs.replace(first, id=keys.new_request_id(), sampling=chosen)


def _plain(data: ChatBody) -> ChatBody:
    """The same body with OpenAI's alternatives folded into our names."""
    stop = (data.stop,) if isinstance(data.stop, str) else data.stop
    tokens = data.max_completion_tokens or data.max_tokens
    return msgspec.structs.replace(data, stop=stop, max_tokens=tokens)


def _uid(user: str | None) -> str:
    """OpenAI's `user` is any string; one that is no user id becomes a stable one."""
    if not user:
        return DEFAULT_UID
    if re.fullmatch(UID_PATTERN, user):
        return user
    return f"u{hashlib.sha256(user.encode()).hexdigest()[:32]}"


async def _whole(requests: Sequence[Request], choices: Choices) -> Response[Any]:
    wants_logprobs = requests[0].sampling.logprobs is not None
    deltas: list[list[Delta]] = [[] for _ in requests]
    ends: dict[int, Done] = {}
    async for one in choices.events():
        if isinstance(one.event, Delta):
            deltas[one.index].append(one.event)
        elif isinstance(one.event, Done):
            ends[one.index] = one.event
    rows = []
    for index, said in enumerate(deltas):
        content = "".join(delta.text for delta in said)
        tokens = [one for delta in said for one in delta.logprobs]
        row = {
            "index": index,
            "message": {"role": "assistant", "content": content, "refusal": None},
            "finish_reason": ends[index].finish_reason,
            "logprobs": _logprobs(tokens) if wants_logprobs else None,
        }
        rows.append(row)
    usage = total_usage([ends[index].usage for index in range(len(requests))])
    body = _object(requests[0], ends[0].model, "chat.completion", rows)
    return Response(body | {"usage": msgspec.to_builtins(usage)})


async def _chunks(
    requests: Sequence[Request], choices: Choices, data: ChatBody, model: str
) -> AsyncGenerator[bytes, None]:
    """OpenAI's stream. A caller who goes away cancels all choices."""
    ends: dict[int, Done] = {}

    def chunk(index: int, delta: dict[str, str], **more: Any) -> bytes:
        row = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None} | more
        return _line(_object(requests[0], model, "chat.completion.chunk", [row]))

    try:
        for index in range(len(requests)):
            yield chunk(index, {"role": "assistant", "content": ""})
        async for one in choices.events():
            if isinstance(one.event, Delta):
                logprobs = _logprobs(one.event.logprobs) if one.event.logprobs else None
                yield chunk(one.index, {"content": one.event.text}, logprobs=logprobs)
            elif isinstance(one.event, Done):
                ends[one.index] = one.event
                yield chunk(one.index, {}, finish_reason=one.event.finish_reason)
            elif isinstance(one.event, Loading | Waiting):
                yield KEEP_ALIVE
        if data.stream_options and data.stream_options.include_usage:
            usage = total_usage([ends[index].usage for index in range(len(requests))])
            tail = _object(requests[0], ends[0].model, "chat.completion.chunk", [])
            yield _line(tail | {"usage": msgspec.to_builtins(usage)})
        yield b"data: [DONE]\n\n"
    except SluiceError as error:
        yield _line(error_body(error))
    finally:
        await choices.close()


def _logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "content": [
            _logprob(one) | {"top_logprobs": [_logprob(other) for other in one.top]}
            for one in tokens
        ],
        "refusal": None,
    }


def _logprob(one: TokenLogprob | Likely) -> dict[str, Any]:
    """`bytes` is exact where a token ends inside a character and `token` cannot be."""
    return {
        "token": one.token.decode(errors="replace"),
        "logprob": one.logprob,
        "bytes": list(one.token),
    }


def _object(request: Request, model: str, kind: str, choices: list[Any]) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{request.id}",
        "object": kind,
        "created": request.created_at_ms // 1000,
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
