"""`/v1`: the OpenAI shape, for programs that know nothing of Sluice.

A chat completion walks the same ten steps as any message, FAQ included (`"faq": false` leaves
it out, and what the caller's own system message asks for does not change an answer that the FAQ
gives alone). What we cannot do is refused by name; fields we do not know are ignored, as clients of
this API expect. `model` chooses one of `/v1/models`, which is loaded if it is not; "" and the
aliases of the settings mean the chat model, any other name is answered with 404.
"""

import base64
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any

import numpy as np
from litestar import Response, Router, get, post
from litestar.params import Parameter
from litestar.response import Stream

from appliance.api.bodies import StrictRequest
from appliance.api.callers import Caller
from appliance.api.choices import Choices
from appliance.api.openai_answers import chunks, whole
from appliance.api.openai_asking import asked, person
from appliance.api.openai_bodies import (
    ChatBody,
    EmbeddingsBody,
    check_supported,
    embedded_texts,
)
from appliance.api.readers import unless_gone
from appliance.api.requests import NO_BUFFERING
from appliance.api.services import Services
from appliance.bus.embeddings import Embedder
from appliance.errors import Invalid, NotFound, Overloaded, TooLarge
from appliance.schema.fields import Record

EMBEDDING_ALIASES = ("text-embedding-*",)
"""What clients send by habit, beside the aliases of the settings."""


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
    return Models(data=await _models(services))


@get("/models/{name:str}")
async def read_model(services: Services, name: Annotated[str, Parameter(max_length=200)]) -> Model:
    """One of the list; an alias is the chat model."""
    models = {model.id: model for model in await _models(services)}
    found = models.get(name)
    return found or models[await services.loader.resolve(name) or services.loader.default]


async def _models(services: Services) -> tuple[Model, ...]:
    chat = [
        Model(id=one.name, state=one.state)
        for one in await services.loader.statuses()
        if one.state != "absent"
    ]
    status = await services.status()
    embedding = {worker.embedding_model for worker in status.workers} - {""}
    return (*chat, *(Model(id=name) for name in sorted(embedding)))


@post("/chat/completions", status_code=200)
async def chat_completions(
    services: Services, caller: Caller, data: ChatBody, request: StrictRequest
) -> Response[Any] | Stream:
    """Answers the messages; with `stream` as server-sent `chat.completion.chunk` objects."""
    check_supported(data)
    model = await services.loader.resolve(data.model)
    uid = caller.uid if caller.role == "person" else person(data.user)
    requests = await asked(services.settings, data, model, uid, shared=caller.role != "person")
    choices = Choices(services.flow, keep_alive_s=services.settings.server.keep_alive_s)
    try:
        await unless_gone(request.receive, choices.begin(requests))
        if data.stream:
            said = chunks(
                requests,
                choices,
                model=model or services.loader.default,
                with_usage=bool(data.stream_options and data.stream_options.include_usage),
            )
            headers = NO_BUFFERING | await services.quotas.headers(requests[0].uid)
            return Stream(said, media_type="text/event-stream", headers=headers)
        body = await unless_gone(request.receive, whole(requests, choices))
    except BaseException as error:
        await choices.close()
        if isinstance(error, Overloaded | TooLarge):
            error.headers.update(await services.quotas.headers(requests[0].uid))
        raise
    await choices.close()
    return Response(body, headers=await services.quotas.headers(requests[0].uid))


@post("/embeddings", status_code=200)
async def create_embeddings(services: Services, data: EmbeddingsBody) -> Response[Any]:
    """Vectors of length 1, one per input text, embedded as queries. A text longer than the model
    reads is cut there: at 512 tokens with the starter model. `usage` counts what the model read.
    """
    texts = embedded_texts(data)
    embedder = services.embedder
    _check_model(data, embedder, aliases=services.settings.models.aliases)
    vectors = await embedder.counted(texts, kind="query")

    def shaped(vector: Any) -> Any:
        if data.encoding_format == "base64":
            return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
        return list(vector)

    rows = [
        {"object": "embedding", "index": index, "embedding": shaped(vector)}
        for index, vector in enumerate(vectors.rows)
    ]
    usage = {"prompt_tokens": vectors.tokens, "total_tokens": vectors.tokens}
    return Response({"object": "list", "data": rows, "model": embedder.stamp, "usage": usage})


def _check_model(data: EmbeddingsBody, embedder: Embedder, *, aliases: Sequence[str]) -> None:
    """Raises NotFound for another model's name and Invalid for another length of the vectors.
    Without a worker nothing is known of either."""
    if not embedder.size:
        return
    known = ("", embedder.stamp)
    habits = (*aliases, *EMBEDDING_ALIASES)
    if data.model not in known and not any(fnmatchcase(data.model, one) for one in habits):
        raise NotFound(
            f"no embedding model is called {data.model!r}",
            hint=f"there is: {embedder.stamp}",
            reason="no_embedding_model",
            facts={"name": data.model},
        )
    if data.dimensions not in (None, embedder.size):
        raise Invalid(
            f"dimensions is not supported: vectors of {embedder.stamp} have {embedder.size}",
            hint="leave it out",
            reason="unsupported",
        )


router = Router(
    "/v1",
    route_handlers=[list_models, read_model, chat_completions, create_embeddings],
)
