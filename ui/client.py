"""The HTTP contract as typed coroutines; the only module that knows httpx.

Every call returns records of `appliance.schema` or raises a `SluiceError` chosen by the error's
code. A server that cannot be reached is `Unavailable` with the reason `UNREACHABLE`, so a screen
can tell "away" from "busy".

`follow` yields the events of one request until its terminal event. A broken connection is taken
up again with `Last-Event-ID` after a growing pause, and what was seen already is dropped, so a
delta is neither repeated nor lost; the caller is told (`Interrupted`, `Resumed`) so that it can
say so. The client refuses to cache, to retry a call that writes, and to use proxies or
credentials from the environment.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

import httpx
import msgspec
from httpx_sse import ServerSentEvent, aconnect_sse

from appliance.errors import Invalid, SluiceError, Unavailable
from appliance.schema.answers import Match
from appliance.schema.conversations import (
    BranchPost,
    Hits,
    Session,
    SessionPatch,
    SessionPost,
    Turn,
)
from appliance.schema.curation import FeedbackPost, Thumb
from appliance.schema.events import EVENTS, Cancelled, Done, Event, Failed, Refused
from appliance.schema.faq import Entry, EntryPut, ImportReport, Labels
from appliance.schema.fields import DEFAULT_UID
from appliance.schema.requests import Accepted, MessagePost, RequestStatus
from appliance.schema.status import Status
from ui.answers import BAD_ANSWER, UNREACHABLE, UNSAFE, Listing, Readiness, parse, refusal

TERMINAL_EVENTS: Final = (Done, Failed, Refused, Cancelled)

CONNECT_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 20.0
IMPORT_TIMEOUT_S: Final = 300.0  # the demo FAQ is embedded before the answer comes
STREAM_SILENCE_S: Final = 45.0  # three of the server's keep-alive comments
CONNECTIONS_MAX: Final = 8
STREAMS_MAX: Final = 32
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 5.0
RECONNECTS_MAX: Final = 240  # in a row, without one event: about twenty minutes

T = TypeVar("T")
Pause = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Interrupted:
    """The event stream broke; it is taken up again after `pause_s`."""

    attempt: int
    pause_s: float


@dataclass(frozen=True)
class Resumed:
    """The event stream is connected again."""


News = Event | Interrupted | Resumed


def backoff_s(attempt: int) -> float:
    """How long to wait before retry number `attempt` (from 1): doubling, with a ceiling."""
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(attempt - 1, 16))


class Client:
    """The appliance at `base_url`, seen with `key`. Close it, or use it as a context manager.

    Raises `Invalid` when `base_url` is no http or https address.
    """

    def __init__(
        self, base_url: str, key: str, *, uid: str = DEFAULT_UID, pause: Pause = asyncio.sleep
    ) -> None:
        self.base_url = base_url
        self.key = key
        self.uid = uid
        self.pause = pause
        self._under_way: set[asyncio.Task[httpx.Response]] = set()
        try:
            url = httpx.URL(base_url)
            headers = {"Authorization": f"Bearer {key}"}
            encoded = httpx.Headers(headers)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise Invalid("the server's address or key is malformed", reason="address") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise Invalid(
                f"{base_url!r} is not a server address",
                hint="give one like http://127.0.0.1:8400",
                reason="address",
            )
        verify = ssl.create_default_context() if url.scheme == "https" else False
        self._calls = httpx.AsyncClient(
            base_url=url,
            headers=encoded,
            trust_env=False,
            verify=verify,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
        )
        self._streams = httpx.AsyncClient(
            base_url=url,
            headers=encoded,
            trust_env=False,
            verify=verify,
            timeout=httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=STREAMS_MAX, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        for call in self._under_way:
            call.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._streams.aclose()
        await self._calls.aclose()

    # --- appliance ----------------------------------------------------------------------

    async def readiness(self) -> Readiness:
        """Answers also while the appliance is starting; raises `Unavailable` when it is away."""
        response = await self.send_call("GET", "/readyz", accept=(HTTPStatus.SERVICE_UNAVAILABLE,))
        return parse(response.content, Readiness)

    async def status(self) -> Status:
        return await self.get("/api/status", Status)

    # --- sessions -----------------------------------------------------------------------

    async def sessions(self, *, cursor: str | None = None, limit: int = 100) -> Listing[Session]:
        """Newest activity first."""
        query = {"uid": self.uid, **_page(cursor, limit)}
        return await self.get("/api/sessions", Listing[Session], query)

    async def session(self, session_id: str) -> Session:
        return await self.get(f"/api/sessions/{session_id}", Session)

    async def create_session(self, title: str = "") -> Session:
        return await self.write(
            "POST", "/api/sessions", Session, SessionPost(uid=self.uid, title=title)
        )

    async def rename_session(self, session_id: str, title: str) -> Session:
        return await self.write(
            "PATCH", f"/api/sessions/{session_id}", Session, SessionPatch(title=title)
        )

    async def branch_session(self, session_id: str, post: BranchPost) -> Session:
        """Raises `Conflict` when the turn has not ended."""
        return await self.write("POST", f"/api/sessions/{session_id}/branch", Session, post)

    async def delete_session(self, session_id: str) -> None:
        await self.send_call("DELETE", f"/api/sessions/{session_id}")

    async def find(self, words: str, *, limit: int) -> Hits:
        """Where all of these words stand in the person's conversations."""
        query = {"uid": self.uid, "q": words, "limit": str(limit)}
        return await self.get("/api/search", Hits, query)

    async def turns(
        self, session_id: str, *, cursor: str | None = None, limit: int = 20
    ) -> Listing[Turn]:
        """In chronological order; without cursor the latest, the cursor leads to older ones."""
        return await self.get(
            f"/api/sessions/{session_id}/turns", Listing[Turn], _page(cursor, limit)
        )

    async def warm(self, session_id: str) -> None:
        """Tells that a question may come, so that its answer begins sooner; returns at once."""
        await self.send_call("POST", f"/api/sessions/{session_id}/warm")

    # --- requests -----------------------------------------------------------------------

    async def send(self, session_id: str, message: MessagePost) -> Accepted:
        return await self.write("POST", f"/api/sessions/{session_id}/messages", Accepted, message)

    async def cancel(self, request_id: str) -> RequestStatus:
        """Asks for cancellation; raises `Conflict` when the request has ended already."""
        response = await self.send_call("DELETE", f"/api/requests/{request_id}")
        return parse(response.content, RequestStatus)

    async def rate(self, request_id: str, thumb: Thumb) -> None:
        """Raises `Conflict` when the answer has not ended."""
        body = FeedbackPost(thumb=thumb)
        await self.send_call("POST", f"/api/requests/{request_id}/feedback", body=body)

    async def follow(self, request_id: str) -> AsyncGenerator[News, None]:
        """The request's events from the first to the terminal one, each once and in order.

        Raises what the server answers (`NotFound`, `Unauthorized`, ...), and `Unavailable` after
        `RECONNECTS_MAX` attempts in a row. Wrap it in `contextlib.aclosing`.
        """
        seen: set[str] = set()
        last_id = ""
        failures = 0
        while True:
            try:
                async with aclosing(
                    self.messages(f"/api/requests/{request_id}/events", last_id)
                ) as messages:
                    async for message in messages:
                        if message is None:
                            if failures:
                                yield Resumed()
                            continue
                        kind = EVENTS.get(message.event)
                        if kind is None or message.id in seen:
                            continue
                        event = parse(message.data, kind)
                        failures, last_id = 0, message.id
                        seen.add(message.id)
                        yield event
                        if isinstance(event, TERMINAL_EVENTS):
                            return
            except SluiceError as error:
                passing = error.code in ("unavailable", "overloaded", "internal")
                if not passing or error.reason == BAD_ANSWER or failures >= RECONNECTS_MAX:
                    raise
            failures += 1
            pause_s = backoff_s(failures)
            yield Interrupted(failures, pause_s)
            await self.pause(pause_s)

    async def messages(
        self, url: str, last_id: str
    ) -> AsyncGenerator[ServerSentEvent | None, None]:
        """One connection: None once it stands, then its messages until it ends or breaks."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            async with aconnect_sse(self._streams, "GET", url, headers=headers) as source:
                if source.response.status_code >= HTTPStatus.BAD_REQUEST:
                    await source.response.aread()
                    raise refusal(source.response.status_code, source.response.content)
                yield None
                async with aclosing(source.aiter_sse()) as messages:
                    async for message in messages:
                        yield message
        except httpx.TransportError as error:
            raise self._away(error) from error

    # --- FAQ ----------------------------------------------------------------------------

    async def entries(
        self,
        *,
        category: str = "",
        language: str = "",
        cursor: str | None = None,
        limit: int = 100,
    ) -> Listing[Entry]:
        query = _page(cursor, limit) | _only(category, language)
        return await self.get("/api/faq", Listing[Entry], query)

    async def entry(self, entry_id: str) -> Entry:
        return await self.get(f"/api/faq/{entry_id}", Entry)

    async def create_entry(self, entry: EntryPut) -> Entry:
        return await self.write("POST", "/api/faq", Entry, entry)

    async def update_entry(self, entry_id: str, entry: EntryPut, *, seen: int) -> Entry:
        """Raises `Conflict` with the reason `edited_since` when it went on since version `seen`."""
        return await self.write("PUT", f"/api/faq/{entry_id}", Entry, entry, seen=seen)

    async def delete_entry(self, entry_id: str) -> None:
        await self.send_call("DELETE", f"/api/faq/{entry_id}")

    async def labels(self) -> Labels:
        """What all entries can be filtered by."""
        return await self.get("/api/faq/categories", Labels)

    async def search(
        self, text: str, *, category: str = "", language: str = "", limit: int = 20
    ) -> Listing[Match]:
        query = {"q": text, "limit": str(limit)} | _only(category, language)
        return await self.get("/api/faq/search", Listing[Match], query)

    async def load_demo(self) -> ImportReport:
        response = await self.send_call("POST", "/api/faq/demo", read_timeout_s=IMPORT_TIMEOUT_S)
        return parse(response.content, ImportReport)

    # --- the wire -----------------------------------------------------------------------

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        response = await self.send_call("GET", path, query=query)
        return parse(response.content, kind)

    async def write(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: msgspec.Struct,
        *,
        seen: int | None = None,
    ) -> T:
        """With `seen`, only what is still at this version is written."""
        match = {"If-Match": f'"{seen}"'} if seen is not None else None
        response = await self.send_call(method, path, body=body, headers=match)
        return parse(response.content, kind)

    async def send_call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: msgspec.Struct | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (),
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> httpx.Response:
        """A caller that is cancelled leaves its call to end by itself.

        httpcore 1.0 loses a place in its pool when a call is cancelled under way, and a search as
        one types cancels many: after eight of them no call would ever get a connection again.
        """
        form = {"Content-Type": "application/json"} if body is not None else {}
        request = self._calls.build_request(
            method,
            path,
            params=query,
            content=msgspec.json.encode(body) if body is not None else content,
            headers=form | dict(headers or {}),
            timeout=httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S),
        )
        call = asyncio.create_task(self._calls.send(request))
        self._under_way.add(call)
        call.add_done_callback(self._ended)
        try:
            response = await asyncio.shield(call)
        except httpx.TransportError as error:
            raise self._away(error) from error
        if response.status_code >= HTTPStatus.BAD_REQUEST and response.status_code not in accept:
            raise refusal(response.status_code, response.content)
        return response

    async def download(self, path: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """The pieces of a file as they come. Wrap it in `contextlib.aclosing`."""
        try:
            async with self._streams.stream("GET", path, params=query) as response:
                if response.status_code >= HTTPStatus.BAD_REQUEST:
                    await response.aread()
                    raise refusal(response.status_code, response.content)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _ended(self, call: asyncio.Task[httpx.Response]) -> None:
        self._under_way.discard(call)
        if not call.cancelled():
            call.exception()  # one that nobody waits for any more is no news

    def _away(self, error: httpx.TransportError) -> Unavailable:
        return Unavailable(
            f"no connection to {self.base_url}: {type(error).__name__}",
            reason=UNREACHABLE,
            facts={UNSAFE: _tls_fault(error)},
        )


def _tls_fault(error: BaseException) -> str:
    """What is wrong with the certificate or the handshake, "" when it is something else."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        if isinstance(cause, ssl.SSLError):
            return (cause.reason or str(cause)).replace("_", " ").lower()
        cause = cause.__cause__ or cause.__context__
    return ""


def _only(category: str, language: str) -> dict[str, str]:
    named = {"category": category, "language": language}
    return {name: value for name, value in named.items() if value}


def _page(cursor: str | None, limit: int) -> dict[str, str]:
    return {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
