"""The door: how long it waits for who connects, and how many it answers at once."""

import asyncio
import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from litestar.types import ASGIApp

from appliance.access.owners import Owners
from appliance.api import gate
from appliance.api.gate import Gate
from appliance.people.api_keys import ApiKeys
from appliance.runtime import http
from appliance.runtime.http import HEADER_BYTES, HttpServer, allow_files, bind
from appliance.settings import Settings
from appliance.settings.server import Server

pytestmark = pytest.mark.integration

KEY = "admin-key"
HEAD = f"GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
NO_KEY = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
EMPTY: dict[str, Any] = {"type": "http.response.body", "body": b"", "more_body": False}
WAIT_S = 30.0
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Streams:
    """An application whose every answer is a stream; it ends when its client leaves, or `end`."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
    ) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(EMPTY | {"body": b"begun", "more_body": True})
        left = asyncio.create_task(self._left(receive))
        ended = asyncio.create_task(self.end.wait())
        await asyncio.wait([left, ended], return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        ended.cancel()
        await send(EMPTY)

    async def _left(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass


class Flood:
    """An application that answers more than any buffer holds; `sent` when all of it is gone."""

    def __init__(self) -> None:
        self.sent = asyncio.Event()

    async def __call__(self, scope: object, receive: object, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1_000):
            await send(EMPTY | {"body": b"x" * 65_536, "more_body": True})
        await send(EMPTY)
        self.sent.set()


@asynccontextmanager
async def served(app: Streams | Flood, **options: Any) -> AsyncIterator[tuple[str, int]]:
    """The real server and the real gate before an application; yields the address."""
    settings = Settings(server=Server(port=0, **options))
    gated = Gate(
        cast(ASGIApp, app),
        settings=settings,
        admin_key=KEY,
        api_keys=cast(ApiKeys, None),  # the operator's key is compared before
        owners=cast(Owners, None),
        paths=["/events"],
    )
    with bind(settings.server) as bound:
        address: tuple[str, int] = bound.getsockname()
        server = HttpServer(gated, settings.server)
        serving = asyncio.create_task(server.serve(sockets=[bound.dup()]))
        await server.listening.wait()
        try:
            yield address
        finally:
            if isinstance(app, Streams):
                app.end.set()
            server.leave()
            await serving


@asynccontextmanager
async def connected(
    address: tuple[str, int], said: bytes = b""
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(said)
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """The status and the headers of an answer."""
    async with asyncio.timeout(WAIT_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(WAIT_S):
        return await reader.read()


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"])
async def test_who_connects_and_does_not_ask_is_let_go_and_a_stream_stays(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PATIENCE_S", 0.2)
    app = Streams()
    async with (
        served(app) as address,
        connected(address, HEAD) as (stream, _),
    ):
        assert (await answer(stream))[0] == 200
        async with connected(address, said) as (silent, _):
            assert await to_the_end(silent) == b""
        app.end.set()
        assert b"begun" in await to_the_end(stream)


async def test_who_asked_once_and_then_drips_is_let_go_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "PATIENCE_S", 0.2)
    app = Streams()
    app.end.set()
    async with served(app) as address, connected(address, HEAD) as (reader, writer):
        assert (await answer(reader))[0] == 200
        writer.write(b"GET /ev")
        assert (await to_the_end(reader)).endswith(b"0\r\n\r\n")


async def test_a_body_without_a_key_is_waited_for_no_longer_than_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gate, "DROPPED_S", 0.1)
    async with served(Streams()) as address, connected(address, NO_KEY + b"never") as (reader, _):
        status, headers = await answer(reader)
        assert (status, headers["www-authenticate"]) == (401, "bearer")
        await to_the_end(reader)


async def test_who_takes_nothing_of_an_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALL_S", 0.1)
    app = Flood()
    async with served(app) as address, connected(address, HEAD):
        async with asyncio.timeout(WAIT_S):
            await app.sent.wait()


async def test_one_request_too_many_is_told_when_to_come_again() -> None:
    async with served(Streams(), connections=8) as address:
        streams = [await asyncio.open_connection(*address) for _ in range(8)]
        for reader, writer in streams:
            writer.write(HEAD)
            assert (await answer(reader))[0] == 200
        async with connected(address, HEAD) as (reader, _):
            status, headers = await answer(reader)
            assert (status, headers["retry-after"]) == (503, "1")
            assert b"too_many_connections" in await to_the_end(reader)
        streams[0][1].close()
        status = 503
        async with asyncio.timeout(WAIT_S):
            while status == 503:  # until the server has seen it leave
                async with connected(address, HEAD) as (reader, _):
                    status = (await answer(reader))[0]
        assert status == 200
        for _, writer in streams:
            writer.close()


async def test_twice_as_many_connections_as_are_answered_are_kept_and_no_more() -> None:
    async with served(Streams(), connections=8) as address:
        silent = [await asyncio.open_connection(*address) for _ in range(16)]
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            async with connected(address, HEAD) as (reader, _):
                await answer(reader)
        silent[0][1].write(HEAD)
        assert (await answer(silent[0][0]))[0] == 200
        for _, writer in silent:
            writer.close()


async def test_a_request_head_is_read_up_to_a_bound() -> None:
    app = Streams()
    app.end.set()
    begun = HEAD[:-2] + b"X-Long: "
    within = begun + b"x" * (HEADER_BYTES - 500) + b"\r\n\r\n"
    async with served(app) as address:
        async with connected(address, within) as (reader, _):
            assert (await answer(reader))[0] == 200
        async with connected(address, begun + b"x" * HEADER_BYTES) as (reader, _):
            assert (await answer(reader))[0] == 400, "and nobody waits for its end"


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /events HTTP/1.1\r\n", 400),
        (b"GET /events HTTP/1.0\r\n", 403),
        (b"GET /events HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", 400),
        (b"GET /events HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n", 400),
        (b"GET http://evil.example/events HTTP/1.1\r\nHost: evil.example\r\n", 403),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n", 401),
        (b"GET //evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n", 401),
    ],
)
async def test_a_request_that_names_no_host_or_several_or_another_is_refused(
    head: bytes, status: int
) -> None:
    async with served(Streams()) as address, connected(address, head + b"\r\n") as (reader, _):
        assert (await answer(reader))[0] == status


@pytest.fixture
def few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (400, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_as_many_files_may_be_open_as_connections_need(few_files: None) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    settings = msgspec.structs.replace(Server(), connections=300)
    allow_files(settings)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert soft == (600 + http.SPARE_FILES if hard < 0 else min(hard, 600 + http.SPARE_FILES))
    allow_files(msgspec.structs.replace(settings, connections=8))
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft, "never fewer"
