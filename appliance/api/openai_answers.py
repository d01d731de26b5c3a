"""A chat completion's answers in OpenAI's shape: as one body, or as a stream of chunks.

Beside `usage`, and with each choice's end in a stream, `cut_turns` says how many of the oldest
pairs of messages had no room in the model's context any more.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from appliance.api.choices import Choices, total_usage
from appliance.api.problems import error_body
from appliance.api.requests import KEEP_ALIVE
from appliance.errors import SluiceError
from appliance.schema.events import Delta, Done, Likely, Loading, TokenLogprob, Waiting
from appliance.schema.requests import Request


async def whole(requests: Sequence[Request], choices: Choices) -> dict[str, Any]:
    """OpenAI's `chat.completion`, once all choices have ended."""
    wants_logprobs = requests[0].sampling.logprobs is not None
    deltas: list[list[Delta]] = [[] for _ in requests]
    ends: dict[int, Done] = {}
    async for one in choices.events():
        if one is None:
            continue
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
    return body | {"usage": msgspec.to_builtins(usage), "cut_turns": ends[0].cut_turns}


async def chunks(
    requests: Sequence[Request],
    choices: Choices,
    *,
    model: str,
    with_usage: bool,
) -> AsyncGenerator[bytes, None]:
    """OpenAI's stream, with comments in silence. A caller who goes away cancels all choices."""
    ends: dict[int, Done] = {}

    def chunk(index: int, delta: dict[str, str], **more: Any) -> bytes:
        row = {"index": index, "delta": delta, "finish_reason": None, "logprobs": None} | more
        beside = {"cut_turns": ends[index].cut_turns} if index in ends else {}
        return _line(_object(requests[0], model, "chat.completion.chunk", [row]) | beside)

    try:
        for index in range(len(requests)):
            yield chunk(index, {"role": "assistant", "content": ""})
        async for one in choices.events():
            if one is None or isinstance(one.event, Loading | Waiting):
                yield KEEP_ALIVE
            elif isinstance(one.event, Delta):
                logprobs = _logprobs(one.event.logprobs) if one.event.logprobs else None
                yield chunk(one.index, {"content": one.event.text}, logprobs=logprobs)
            elif isinstance(one.event, Done):
                ends[one.index] = one.event
                yield chunk(one.index, {}, finish_reason=one.event.finish_reason)
        if with_usage:
            usage = total_usage([ends[index].usage for index in range(len(requests))])
            tail = _object(requests[0], model, "chat.completion.chunk", [])
            beside = {"usage": msgspec.to_builtins(usage), "cut_turns": ends[0].cut_turns}
            yield _line(tail | beside)
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
