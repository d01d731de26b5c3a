"""A connection whose commands can be cancelled, and that tells an unable store from a bad command.

redis-py sends through `asyncio.wait_for`, which on Python 3.11 swallows a cancellation that arrives
as the send finishes (about one in ten under load): a loop told to stop would run on. Here the
same bound is an `asyncio.timeout`, which loses none.

Some refusals say nothing of the command and all of the store: redis-py has classes for a few of
them (OOM, READONLY, LOADING) and calls the others an error of the command.
"""

import asyncio
import functools
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError


class DiskError(ResponseError):
    """The store cannot write to its disk and takes no writes until it can."""


class NotNow(ResponseError):
    """The store is kept from it for a while: by a long script, or by replicas that are away."""


REFUSALS = {"MISCONF": DiskError, "BUSY": NotNow, "NOREPLICAS": NotNow}


class _Cancellable:
    """Mixed in before a connection class of redis-py, whose attributes it uses."""

    socket_timeout: float | None

    def set_parser(self, parser_class: type[Any]) -> None:
        super().set_parser(_telling(parser_class))  # type: ignore[misc, arg-type] # a cache's gap

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        bound_s, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(bound_s):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise RedisTimeoutError("timeout writing to the store") from None
        finally:
            self.socket_timeout = bound_s


class UnixConnection(_Cancellable, UnixDomainSocketConnection):
    """`unix://`"""


class TcpConnection(_Cancellable, Connection):
    """`redis://`"""


class TlsConnection(_Cancellable, SSLConnection):
    """`rediss://`"""


@functools.cache
def _telling(parser_class: type[Any]) -> type[Any]:
    """A parser of redis-py that knows these refusals too."""
    known = {"EXCEPTION_CLASSES": parser_class.EXCEPTION_CLASSES | REFUSALS}
    return type(parser_class.__name__, (parser_class,), known)


def connection_class(url: str) -> type[UnixConnection | TcpConnection | TlsConnection]:
    """The class for an address, by its scheme."""
    if url.startswith("unix://"):
        return UnixConnection
    return TlsConnection if url.startswith("rediss://") else TcpConnection
