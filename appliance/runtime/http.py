"""Serves the API inside our own event loop.

The socket is bound before anything else starts, so a taken port is an error at once and port 0
has its number. Signals are ours: uvicorn's capture is switched off. Who connects and does not ask
is let go after a while, which uvicorn does not do: any program could use up our descriptors.
"""

import asyncio
import contextlib
import functools
import ipaddress
import resource
import socket
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.errors import CannotBoot
from appliance.settings.server import Server

HEADER_BYTES = 16_384
CLOSE_TIMEOUT_S = 2
PATIENCE_S = 30.0
STALL_S = 120.0  # 64 KB are written ahead
SPARE_FILES = 256  # for the store, the index, children and logs


def bind(settings: Server) -> socket.socket:
    """A listening socket: who connects before anybody accepts waits, and is not refused.

    Raises CannotBoot naming what to change.
    """
    if not is_loopback(settings.host) and not settings.insecure:
        raise CannotBoot(
            f"{settings.host} is not a loopback address, and there is no TLS",
            hint="put a TLS proxy in front of 127.0.0.1, or set server.insecure = true",
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, settings.port))
        bound.listen(_backlog(settings))
    except (OSError, UnicodeError) as error:
        bound.close()
        raise CannotBoot(
            f"cannot listen on {settings.host}:{settings.port}: {error}",
            hint="choose another port with --port, or 0 for a free one",
        ) from None
    return bound


def _backlog(settings: Server) -> int:
    return min(2048, settings.connections)


def allow_files(settings: Server) -> None:
    """Lets this process open as many files as its connections need, as far as the system lets it:
    many systems give 1,024 to begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * settings.connections + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _sockets_most(settings: Server) -> int:
    """Twice what is answered at once, for clients keep connections; fewer where files are few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2 * settings.connections
    return most if soft == resource.RLIM_INFINITY else min(most, max(8, soft - SPARE_FILES))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(bound: socket.socket) -> str:
    """`http://HOST:PORT` of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Connection(H11Protocol):
    """Ends when no whole request comes for `PATIENCE_S`, or nothing of an answer is taken for
    `STALL_S`, and at once when it is one too many.

    uvicorn's own timer runs between an answer and the next byte only. A closed connection whose
    other side does not take what is left of the answer gets as long once more.
    """

    def __init__(self, *, most: int, **wiring: Any) -> None:  # Any: uvicorn hands it through
        super().__init__(**wiring)
        self._most = most
        self._patience: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most:
            transport.abort()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._rest()
        self._goes_on()

    def handle_events(self) -> None:
        date = formatdate(usegmt=True).encode()
        self.server_state.default_headers = [(b"date", date)]
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stall = self.loop.call_later(STALL_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._goes_on()

    def _goes_on(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._rest()
        elif self._patience is None:
            self._patience = self.loop.call_later(PATIENCE_S, self._give_up)

    def _rest(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        self._patience = None
        if self.transport.is_closing():
            self.transport.abort()
        else:
            self.transport.close()
            self._watch()


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers, and without its ten beats a second: the date that
    answers carry is made when it is asked for.

    `listening` is set once connections are taken; `leave` ends `serve`.
    """

    def __init__(self, app: object, settings: Server) -> None:
        self.listening = asyncio.Event()
        self._leaving = asyncio.Event()
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # an ASGI application
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                http=functools.partial(  # type: ignore[arg-type]  # it is only called
                    _Connection, most=_sockets_most(settings)
                ),
                ws="none",
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_keep_alive=int(PATIENCE_S),
                timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
                backlog=_backlog(settings),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()

    async def main_loop(self) -> None:
        await self._leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
