"""A connection whose commands can be cancelled.

redis-py sends through `asyncio.wait_for`, which on Python 3.11 swallows a cancellation that arrives
as the send finishes (about one in ten under load): a loop told to stop would run on. Here the
same bound is an `asyncio.timeout`, which loses none.
"""

import asyncio
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import TimeoutError as RedisTimeoutError


class _Cancellable:
    """Mixed in before a connection class of redis-py, whose attributes it uses."""

    socket_timeout: float | None

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


def connection_class(url: str) -> type[UnixConnection | TcpConnection | TlsConnection]:
    """The class for an address, by its scheme."""
    if url.startswith("unix://"):
        return UnixConnection
    return TlsConnection if url.startswith("rediss://") else TcpConnection
