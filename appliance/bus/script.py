"""Runs scripts in the store by their hash, so that a script's text crosses the wire once.

A store that was started anew has forgotten its scripts and answers NOSCRIPT without having run
anything: the text is then sent, which makes the store remember it. Calls on a pipeline are
answered one by one, so only those that found no script are sent again, in their order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from appliance.bus.client import Bus, Value


class Script:
    """A Lua text and its hash."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, bus: Bus, keys: Sequence[str], *arguments: Value) -> Any:
        """What the script returns. The keys share one hash tag."""
        try:
            return await bus.evalsha(self.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await bus.eval(self.text, len(keys), *keys, *arguments)


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script on a pipeline."""

    script: Script
    keys: tuple[str, ...]
    arguments: tuple[Value, ...]


async def run_all(bus: Bus, calls: Sequence[Call]) -> list[Any]:
    """What each call returned, in one round trip. Raises the first error of a call.

    This is where every token passes: the commands are packed here and put on a connection as they
    are, for redis-py's pipeline costs about twice the time. Nothing is tried again.
    """
    if not calls:
        return []
    pool = bus.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(b"".join(map(_packed, calls)), check_health=False)
        found = [await _reply(connection) for _ in calls]
    except BaseException:
        await connection.disconnect(nowait=True)  # replies may still be on their way
        raise
    finally:
        await pool.release(connection)
    for index, call in enumerate(calls):
        if isinstance(found[index], NoScriptError):
            found[index] = await call.script.run(bus, call.keys, *call.arguments)
        elif isinstance(found[index], Exception):
            raise found[index]
    return found


async def _reply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _packed(call: Call) -> bytes:
    """The command as the protocol wants it: an array of byte strings."""
    words = [b"EVALSHA", call.script.sha.encode(), b"%d" % len(call.keys)]
    words += map(_encoded, call.keys)
    words += map(_encoded, call.arguments)
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words))


def _encoded(value: Value) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
