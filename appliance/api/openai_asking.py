"""From a chat completion's body to the requests that walk the ten steps, one for each choice."""

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from appliance import keys
from appliance.access.flow import deadline_at_ms
from appliance.api.openai_bodies import ChatBody, Message, Part, wanted_schema
from appliance.api.sampling import sampling, wanted_grammar, wanted_logprobs
from appliance.clock import now_ms
from appliance.errors import Invalid
from appliance.schema.fields import DEFAULT_UID, UID_PATTERN
from appliance.schema.requests import ChatMessage, Request
from appliance.settings import Settings

Role = Literal["system", "user", "assistant"]

SEEDS = 2**32 - 1
DRAWN = -1
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
"""What is asked for in other roles was refused before."""


async def asked(
    settings: Settings, data: ChatBody, model: str, uid: str, *, shared: bool
) -> list[Request]:
    """One request per choice. With a seed, choice number i is drawn with seed + i.

    Raises Invalid when nobody asks, and when a grammar or a schema is broken.
    """
    messages = _messages(data.messages, shared=shared)
    chosen = sampling(
        settings.requests.defaults,
        _plain(data),
        grammar=await wanted_grammar(data.grammar, json_schema=wanted_schema(data.response_format)),
        logit_bias=data.logit_bias,
        logprobs=wanted_logprobs(data.logprobs, data.top_logprobs),
    )
    first = Request(
        id=keys.new_request_id(),
        uid=uid,
        text=messages[-1].content,
        messages=messages,
        sampling=chosen,
        created_at_ms=now_ms(),
        deadline_at_ms=deadline_at_ms(settings, None),
        faq=data.faq,
        model=model,
        priority=data.priority,
    )
    return [first, *(_choice(first, index) for index in range(1, data.n or 1))]


def _messages(given: Sequence[Message], *, shared: bool) -> tuple[ChatMessage, ...]:
    """The messages with the question last: what the system says after it stands before it, and
    where the system alone speaks, that is the question. Raises Invalid when nobody asks."""
    messages = [chat_message(message, shared=shared) for message in given]
    after = list(itertools.takewhile(lambda one: one.role == "system", reversed(messages)))[::-1]
    before = messages[: len(messages) - len(after)]
    if not before:
        return (*after[:-1], ChatMessage(role="user", content=after[-1].content))
    if before[-1].role != "user":
        raise Invalid(
            "the last message is the assistant's, whose words cannot be continued",
            hint="append a user message",
            reason="assistant_last",
        )
    return (*before[:-1], *after, before[-1])


def chat_message(given: Message, *, shared: bool) -> ChatMessage:
    """An application's system message is the same for its users, so with `shared` they share its
    place in the cache; what is told about one person belongs into a user message. A person's own
    is nobody else's: how fast it is answered would tell that it was said before.
    """
    role, content = ROLES[given.role], _text(given.content)
    is_public = shared and role == "system"
    return ChatMessage(role=role, content=content, public_chars=len(content) if is_public else 0)


def _choice(first: Request, index: int) -> Request:
    seed = first.sampling.seed
    chosen = msgspec.structs.replace(
        first.sampling, seed=None if seed is None else (seed + index) % SEEDS
    )
    return msgspec.structs.replace(first, id=keys.new_request_id(), sampling=chosen)


def _plain(data: ChatBody) -> ChatBody:
    """The same body with OpenAI's alternatives folded into our names and ranges."""
    plain = msgspec.structs.replace(
        data,
        stop=(data.stop,) if isinstance(data.stop, str) else data.stop,
        max_tokens=data.max_completion_tokens or data.max_tokens,
        seed=None if data.seed is None or data.seed == DRAWN else data.seed % SEEDS,
    )
    return msgspec.structs.replace(plain, top_p=None, temperature=0) if data.top_p == 0 else plain


def _text(content: str | tuple[Part, ...] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text for part in content)


def person(user: str | None) -> str:
    """OpenAI's `user` is any string; one that is no user id becomes a stable one."""
    if not user:
        return DEFAULT_UID
    if re.fullmatch(UID_PATTERN, user):
        return user
    return f"u{hashlib.sha256(user.encode()).hexdigest()[:32]}"
