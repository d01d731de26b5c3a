"""Several answers to the same question at once: `n` of a chat completion.

Each choice is a request of its own that walks the ten steps; they share their prompt, so the
engine reads it once. The choices stand or fall together: when one is refused or fails, or when
nobody reads any more, the others are cancelled.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.access.flow import Flow
from appliance.bus.replies import StreamEvent
from appliance.errors import Invalid, Overloaded, SluiceError, TooLarge, Unavailable, WaitedOut
from appliance.limiter.verdict import HTTP_STATUS
from appliance.schema.answers import Usage
from appliance.schema.events import EVENTS, Cancelled, Done, Event, Failed, Received, Refused
from appliance.schema.requests import TERMINAL_STATES, Request


@dataclass(frozen=True, slots=True)
class ChoiceEvent:
    """What happened to choice number `index`."""

    index: int
    event: Event


class Choices:
    """The answers to some requests, as one stream of events, with None whenever none came for
    `keep_alive_s`. `close` it, whatever happened.
    """

    def __init__(self, flow: Flow, *, keep_alive_s: float) -> None:
        self._flow = flow
        self._keep_alive_s = keep_alive_s
        self._open: dict[int, Request] = {}
        self._followers: list[AsyncGenerator[StreamEvent, None]] = []
        self._begun: list[ChoiceEvent] = []
        self._merged: AsyncGenerator[ChoiceEvent | None, None] | None = None

    async def begin(self, requests: Sequence[Request]) -> None:
        """Accepts the requests and waits until each shows how it fares, so that a refusal
        has its HTTP status. Raises what `events` raises, and what `Flow.accept` does.
        """
        for index, request in enumerate(requests):
            self._open[index] = request  # it may be stored though we are cancelled meanwhile
            await self._flow.accept(request)
            self._followers.append(self._flow.follow_accepted(request))
        self._merged = _merged(self._followers, self._keep_alive_s)
        silent = set(self._open)
        while silent:
            one = await self._next()
            if one is None:
                continue
            self._begun.append(one)
            if not isinstance(one.event, Received):
                silent.discard(one.index)

    async def events(self) -> AsyncGenerator[ChoiceEvent | None, None]:
        """All events in the order they happen, to the end of the last choice.

        Raises SluiceError for the first choice that ends otherwise than with an answer.
        """
        for one in self._begun:
            yield one
        while self._open:
            yield await self._next()

    async def close(self) -> None:
        """Cancels what has not ended, before anything that could itself be cancelled."""
        for request in self._open.values():
            self._flow.abandon(request.id)
        self._open = {}
        if self._merged is not None:
            await self._merged.aclose()
        for follower in self._followers:
            await follower.aclose()

    async def _next(self) -> ChoiceEvent | None:
        assert self._merged is not None, "begin comes first"
        try:
            one = await anext(self._merged)
        except StopAsyncIteration:
            raise Unavailable(
                "the reply ended too early", hint="ask again", reason="reply_cut"
            ) from None
        if one is not None and isinstance(one.event, Done | Failed | Refused | Cancelled):
            del self._open[one.index]
            _raise_if_failed(one.event)
        return one


def total_usage(usages: Sequence[Usage]) -> Usage:
    """The prompt counts once, as OpenAI has it; every answer counts."""
    completion = sum(usage.completion_tokens for usage in usages)
    return msgspec.structs.replace(
        usages[0],
        completion_tokens=completion,
        total_tokens=usages[0].prompt_tokens + completion,
    )


async def _merged(
    followers: Sequence[AsyncGenerator[StreamEvent, None]], keep_alive_s: float
) -> AsyncGenerator[ChoiceEvent | None, None]:
    """The events of all followers as they come, None for silence; each follower is read to its
    terminal event.
    """
    waiting: dict[asyncio.Future[StreamEvent | None], int] = {}

    def await_next(index: int) -> None:
        waiting[asyncio.ensure_future(anext(followers[index], None))] = index

    for index in range(len(followers)):
        await_next(index)
    try:
        while waiting:
            done, _ = await asyncio.wait(
                waiting, timeout=keep_alive_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield None
            for future in done:
                index = waiting.pop(future)
                event = future.result()
                if event is None:
                    return
                if event.event not in TERMINAL_STATES:
                    await_next(index)
                yield ChoiceEvent(index, _decoded(event))
    finally:
        for future in waiting:
            future.cancel()
        if waiting:
            await asyncio.wait(waiting)


REFUSAL_STATUS: dict[str, int] = {
    **{str(reason): status for reason, status in HTTP_STATUS.items()},
    "no_room": 503,
    "load_failed": 503,
}
"""Every reason a request may be refused for, with its HTTP status."""
_KINDS: dict[int, type[SluiceError]] = {
    408: WaitedOut,
    413: TooLarge,
    429: Overloaded,
    503: Unavailable,
}
REFUSAL_HINTS = {"too_large": "ask for fewer max_tokens, or with a shorter question"}


def _decoded(event: StreamEvent) -> Any:  # Any: the table gives each name its type
    return msgspec.json.decode(event.data, type=EVENTS[event.event])


def _raise_if_failed(event: Event) -> None:
    match event:
        case Refused(reason=reason, message=message, retry_after_s=retry_after_s):
            raise _KINDS[REFUSAL_STATUS.get(reason, 429)](
                message,
                hint=REFUSAL_HINTS.get(reason, "try again later"),
                reason=reason,
                retry_after_s=retry_after_s,
            )
        case Failed(code=code, reason=reason, message=message, hint=hint):
            failure = {"invalid": Invalid, "unavailable": Unavailable}.get(code, SluiceError)
            raise failure(message, hint=hint, reason=reason)
        case Cancelled(reason=reason):
            raise Unavailable("the request was cancelled", reason=reason, hint="ask again")
