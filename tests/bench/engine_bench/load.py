"""The people who ask: closed-loop HTTP clients of an OpenAI-shaped server, all in one event loop.

They share the machine with the server they measure, so they do little while an answer runs:
read, note the time, keep the bytes. Events are decoded once the answer has ended. Each request
has a connection of its own, as with most clients that come through a proxy.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.schema.requests import ChatMessage
from engine_bench.workloads import Conversation, Workload

LINE_BYTES = 1 << 20
EVENT_END = b"\n\n"
DATA = b"data: "


class AskError(Exception):
    """A server did not answer as it should; the text says what it sent instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a server answers; `key` is its bearer token, "" for none."""

    host: str
    port: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One server-sent event as it came: seconds on the monotonic clock and its data."""

    at_s: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One request; `text_at_s` are the arrivals of its pieces of text."""

    asked_at_s: float
    text_at_s: tuple[float, ...]
    text: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a workload brought: every answer, the wall time, and the client's own CPU time."""

    answers: tuple[Answer, ...]
    wall_s: float
    client_cpu_s: float


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: dict[str, Any] | None = None


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta


class _Chunk(msgspec.Struct):
    """What is read of a `chat.completion.chunk`; an error has none of it but `error`."""

    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: msgspec.Raw = msgspec.Raw()


async def run(door: Door, workload: Workload, *, timeout_s: float) -> Load:
    """Every conversation of a workload, `workload.users` at a time.

    Raises AskError when a request fails and TimeoutError when the whole takes too long.
    """
    waiting = deque(_Talk(conversation) for conversation in workload.conversations)
    answers: list[Answer] = []

    async def person() -> None:
        while waiting:
            talk = waiting.popleft()
            answers.append(await talk.next_turn(door, workload.max_tokens))
            if not talk.over:
                waiting.append(talk)

    started_s, cpu_s = time.perf_counter(), time.process_time()
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as people:
            for _ in range(workload.users):
                people.create_task(person())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    return Load(
        answers=tuple(answers),
        wall_s=time.perf_counter() - started_s,
        client_cpu_s=time.process_time() - cpu_s,
    )


class _Talk:
    """A conversation whose history the client carries, with the server's own answers in it."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._messages = [ChatMessage(role="system", content=conversation.system)]
        self._questions = deque(conversation.questions)

    @property
    def over(self) -> bool:
        return not self._questions

    async def next_turn(self, door: Door, max_tokens: int) -> Answer:
        self._messages.append(ChatMessage(role="user", content=self._questions.popleft()))
        body = request_body(self._messages, user=self._conversation.user, max_tokens=max_tokens)
        answer = await ask(door, body)
        self._messages.append(ChatMessage(role="assistant", content=answer.text))
        return answer


def request_body(messages: list[ChatMessage], *, user: str, max_tokens: int) -> bytes:
    """The same JSON for both servers; each ignores the fields it does not know."""
    return msgspec.json.encode(
        {
            "messages": messages,
            "user": user,
            "max_tokens": max_tokens,
            "temperature": 0,
            "repeat_penalty": 1.0,
            "seed": 1,
            "faq": False,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    )


async def ask(door: Door, body: bytes) -> Answer:
    """One streamed completion. Raises AskError for anything but a whole answer."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {door.host}:{door.port}\r\n"
        f"Authorization: Bearer {door.key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    asked_at_s = time.perf_counter()
    reader, writer = await asyncio.open_connection(door.host, door.port, limit=LINE_BYTES)
    try:
        writer.write(head.encode() + body)
        status = await reader.readuntil(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 200"):
            refusal = status + await reader.read(4096)
            raise AskError(refusal.decode(errors="replace"))
        arrivals = await _events(reader)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise AskError(f"the connection broke: {error}") from error
    finally:
        writer.close()
    return _decoded(asked_at_s, arrivals)


async def _events(reader: asyncio.StreamReader) -> list[Arrival]:
    """Every event of a chunked body; a chunk may hold several events, or a part of one."""
    arrivals: list[Arrival] = []
    rest = b""
    while size := int(await reader.readline() or b"0", 16):
        block = await reader.readexactly(size + 2)
        at_s = time.perf_counter()
        *events, rest = (rest + block[:-2]).split(EVENT_END)
        arrivals += [Arrival(at_s, event[len(DATA) :]) for event in events if event[:6] == DATA]
    return arrivals


def _decoded(asked_at_s: float, arrivals: list[Arrival]) -> Answer:
    if not arrivals or arrivals[-1].data != b"[DONE]":
        last = arrivals[-1].data if arrivals else b"nothing"
        raise AskError(f"the answer is not whole, it ended with {last!r}")
    times: list[float] = []
    parts: list[str] = []
    usage = _Usage()
    for arrival in arrivals[:-1]:
        chunk = msgspec.json.decode(arrival.data, type=_Chunk)
        if chunk.error:
            raise AskError(arrival.data.decode(errors="replace"))
        usage = chunk.usage or usage
        text = "".join(choice.delta.content or "" for choice in chunk.choices)
        if text:
            times.append(arrival.at_s)
            parts.append(text)
    return Answer(
        asked_at_s=asked_at_s,
        text_at_s=tuple(times),
        text="".join(parts),
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=int((usage.prompt_tokens_details or {}).get("cached_tokens", 0)),
        completion_tokens=usage.completion_tokens,
    )
