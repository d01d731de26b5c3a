"""A small HTTP/1.1 server on a loopback port, in a thread of its own, that a test can break.

It runs beside the event loop of the app under test, so it serves programs that own their loop
too. Connections can be cut, and the server can go away and come back on the same port.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec

WAIT_S = 10.0
ACCEPTING_ROUNDS = 5  # of the loop, until what was just accepted has its handler


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    """An answer: a record or raw bytes, and its status."""

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


class LoopbackServer:
    """Use it as a context manager; `url` is where it listens. Subclasses say what to answer."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.holds: set[tuple[str, str]] = set()  # (method, path) answered after `let_go`
        self._let_go = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stub", daemon=True)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._port = 0

    def answer(self, asked: Asked) -> Reply | None:
        """The reply, or None for an event stream."""
        raise NotImplementedError

    async def stream(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Writes an event stream until it ends."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listens, if it does not."""
        if self._server is None:
            self.call(self._listen())

    def down(self) -> None:
        """Stops listening and cuts every connection."""
        self.call(self._stop())

    def cut(self) -> None:
        """Cuts every connection; new ones are taken."""
        self.call(self._abort())

    def let_go(self) -> None:
        """Answers what was held back."""

        async def release() -> None:
            self._let_go.set()

        self.call(release())

    def call(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work` on the server's loop and waits for it."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            for _ in range(ACCEPTING_ROUNDS):
                await asyncio.sleep(0)
        await self._abort()
        for transport in list(vars(self._loop)["_transports"].values()):  # some have no handler yet
            transport.abort()
        await asyncio.sleep(0)

    async def _abort(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        handlers = list(self._handlers)
        for handler in handlers:
            handler.cancel()
        await asyncio.gather(*handlers, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self._writers.add(writer)
        try:
            while (asked := await _read(reader)) is not None:
                self.asked.append(asked)
                if (asked.method, asked.path) in self.holds:
                    await self._let_go.wait()
                reply = self.answer(asked)
                if reply is None:
                    await self.stream(asked, writer)
                    return
                _write(writer, reply)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the peer left, or the test cut the line
        finally:
            writer.close()
            try:
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
            finally:
                self._writers.discard(writer)
                self._handlers.discard(task)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    return Asked(method, url.path, query, headers, body)


def _write(writer: asyncio.StreamWriter, reply: Reply) -> None:
    body = reply.body if isinstance(reply.body, bytes) else b""
    if not isinstance(reply.body, bytes) and reply.body is not None:
        body = msgspec.json.encode(reply.body)
    head = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in reply.headers.items()]
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
