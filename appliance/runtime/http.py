"""Serves the API inside our own event loop.

The socket is bound before anything else starts, so a taken port is an error at once and port 0
has its number. Signals are ours: uvicorn's capture is switched off.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator

import uvicorn

from appliance.errors import CannotBoot
from appliance.settings.server import Server

HEADER_BYTES = 16_384
CLOSE_TIMEOUT_S = 2
DATE_BEAT_S = 1.0


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


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handlers, and without its ten beats a second.

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
                ws="none",
                h11_max_incomplete_event_size=HEADER_BYTES,
                timeout_keep_alive=30,
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
        while not await self.on_tick(0):  # which renews the date that answers carry
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DATE_BEAT_S):
                    await self._leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
