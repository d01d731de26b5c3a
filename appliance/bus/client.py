"""Connections to Valkey (embedded) or to any Redis-protocol server.

One pool for commands, bounded; blocking reads take a connection of their own each, so a
reader that waits can never starve a command. A lost server is retried with back-off inside
one command's budget and then told as `Unavailable`.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Literal, Protocol, TypeAlias, cast, overload

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from appliance import keys
from appliance.bus.connection import DiskError, NotNow, connection_class
from appliance.errors import CannotBoot

Value: TypeAlias = str | bytes | int | float
Fields: TypeAlias = dict[bytes, bytes]
Row: TypeAlias = tuple[bytes, Fields]
"""A stream entry: its id and its fields."""


class Bus(Protocol):
    """The commands this product uses, with the types they really answer (replies are bytes).

    redis-py's own annotations cover both reply encodings and both protocols at once and so say
    almost nothing; this is also the list of what an external server must support.
    """

    connection_pool: Any

    async def ping(self) -> bool: ...
    async def aclose(self) -> None: ...
    async def eval(self, script: str, numkeys: int, /, *arguments: Value) -> Any: ...
    async def time(self) -> tuple[int, int]: ...
    async def evalsha(self, sha: str, numkeys: int, /, *arguments: Value) -> Any: ...
    async def get(self, name: str) -> bytes | None: ...
    async def llen(self, name: str) -> int: ...
    async def set(
        self, name: str, value: Value, *, nx: bool = False, ex: int | None = None
    ) -> bool | None: ...
    async def delete(self, *names: str) -> int: ...
    async def exists(self, *names: str) -> int: ...
    async def expire(self, name: str, time: int) -> bool: ...
    async def hget(self, name: str, key: str) -> bytes | None: ...
    async def hgetall(self, name: str) -> Fields: ...
    async def hset(self, name: str, *, mapping: Mapping[str, Value]) -> int: ...
    async def hdel(self, name: str, *names: str) -> int: ...
    async def hexists(self, name: str, key: str) -> bool: ...
    async def lrange(self, name: str, start: int, end: int) -> list[bytes]: ...
    async def zadd(
        self, name: str, mapping: Mapping[str, int], *, nx: bool = False, xx: bool = False
    ) -> int: ...
    async def zrem(self, name: str, *members: str) -> int: ...
    async def zremrangebyscore(
        self, name: str, min: int | float | str, max: int | float | str
    ) -> int: ...
    async def zcard(self, name: str) -> int: ...
    async def zscore(self, name: str, value: str) -> float | None: ...
    async def zmscore(self, key: str, members: Sequence[str]) -> list[float | None]: ...
    async def zrange(self, name: str, start: int, end: int) -> list[bytes]: ...
    async def zrevrange(self, name: str, start: int, end: int) -> list[bytes]: ...
    @overload
    async def zrangebyscore(
        self, name: str, min: str | int, max: str | int, *, start: int, num: int
    ) -> list[bytes]: ...
    @overload
    async def zrangebyscore(
        self,
        name: str,
        min: str | int,
        max: str | int,
        *,
        start: int,
        num: int,
        withscores: Literal[True],
    ) -> list[tuple[bytes, float]]: ...
    async def sadd(self, name: str, *members: str) -> int: ...
    async def srem(self, name: str, *members: str) -> int: ...
    async def scard(self, name: str) -> int: ...
    async def smembers(self, name: str) -> Set[bytes]: ...
    async def xadd(
        self,
        name: str,
        fields: Mapping[str, Value],
        *,
        maxlen: int | None = None,
        approximate: bool = True,
    ) -> bytes: ...
    async def rpush(self, name: str, *values: Value) -> int: ...
    async def blpop(self, keys: list[str], timeout: float) -> list[bytes] | None: ...
    async def xlen(self, name: str) -> int: ...
    async def xdel(self, name: str, *ids: bytes) -> int: ...
    async def xack(self, name: str, group: str, *ids: bytes) -> int: ...
    async def xrange(self, name: str, min: str, max: str, count: int) -> list[Row]: ...
    async def xrevrange(self, name: str, *, count: int) -> list[Row]: ...
    async def xread(
        self, streams: Mapping[Any, str], *, count: int | None = None, block: int | None = None
    ) -> list[tuple[bytes, list[Row]]]: ...
    async def xreadgroup(
        self,
        group: str,
        consumer: str,
        streams: Mapping[str, str],
        *,
        count: int | None = None,
        block: int | None = None,
        noack: bool = False,
    ) -> list[tuple[bytes, list[Row]]]: ...
    async def xgroup_create(self, name: str, group: str, *, id: str, mkstream: bool) -> bool: ...
    async def xgroup_delconsumer(self, name: str, group: str, consumer: str) -> int: ...
    async def xpending_range(
        self, name: str, group: str, *, min: str, max: str, count: int, consumername: str
    ) -> list[dict[str, Any]]: ...
    async def xinfo_consumers(self, name: str, group: str) -> list[dict[str, Any]]: ...
    async def scan(self, cursor: int, *, match: str, count: int) -> tuple[int, list[bytes]]: ...
    async def bgrewriteaof(self) -> bool: ...
    async def info(self, *sections: str) -> dict[str, Any]: ...
    def pipeline(self, *, transaction: bool) -> Any: ...


PASSING = (
    *(ConnectionError, RedisTimeoutError, BusyLoadingError),
    *(ReadOnlyError, ClusterDownError, TryAgainError, NotNow),
)
"""What redis raises when the server is away or kept from its work for a moment."""

FULL = (OutOfMemoryError, DiskError)
"""What it raises for every write while its memory or its disk is full; reads are answered."""

AWAY = (*PASSING, *FULL)
"""Whatever says that the server is unable, as opposed to unhappy with a command."""

RedisFault = RedisError

COMMAND_RETRIES = 6
CONNECTIONS = 64


def connect(url: str, *, connections: int = CONNECTIONS) -> Bus:
    """A client for commands. Opens nothing until first used.

    Commands are retried while the server is away, about 3 s in all: a restart of the embedded
    server is then a pause and not an error. Every write this product sends may be sent twice:
    scripts carry counters or states that make the second a no-op.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=10,
        socket_timeout=30,
        socket_connect_timeout=5,
        retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), COMMAND_RETRIES),
        retry_on_error=list(PASSING),
        health_check_interval=0,
    )
    pool.connection_class = connection_class(url)  # the address would override an argument
    return cast(Bus, Redis.from_pool(pool))


def connect_blocking(url: str) -> Bus:
    """A client with a single connection for one loop that blocks; its caller does the retrying."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=1,
        timeout=10,
        socket_timeout=None,
        socket_connect_timeout=5,
        retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), 0),
    )
    pool.connection_class = connection_class(url)  # the address would override an argument
    return cast(Bus, Redis.from_pool(pool))


async def ensure_group(bus: Bus, stream: str, group: str) -> None:
    """Creates stream and group; an existing group keeps its position."""
    try:
        await bus.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


async def hear(
    blocking: Bus, stream: str, group: str, consumer: str, *, count: int, block_ms: int
) -> list[Row]:
    """The next entries of a stream that its group has not had, [] when none came in time.

    They count as delivered at once. Whoever has dealt with them deletes them.
    """
    found = await blocking.xreadgroup(
        group, consumer, {stream: ">"}, count=count, block=block_ms, noack=True
    )
    return found[0][1] if found else []


async def check_layout(bus: Bus) -> None:
    """Claims an empty store for this key layout, or refuses one written by a newer version.

    It writes to an empty store only: one that is full is started with, and read.
    """
    found = await bus.get(keys.LAYOUT_KEY)
    if found is None:
        await bus.set(keys.LAYOUT_KEY, keys.LAYOUT, nx=True)
        found = await bus.get(keys.LAYOUT_KEY)
    if found != keys.LAYOUT.encode():
        raise CannotBoot(
            f"the data were written with key layout {found!r}, this version knows {keys.LAYOUT}",
            hint="start the newer version of Sluice, or point to another data directory",
        )
