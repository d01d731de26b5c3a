"""Runs scripts in the store by their hash, so that a script's text crosses the wire once.

A store that was started anew has forgotten its scripts and answers NOSCRIPT without having run
anything: the text is then sent, which makes the store remember it. Calls on a pipeline are
answered one by one, so only those that found no script are sent again, in their order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError

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
    """What each call returned, in one round trip. Raises the first error of a call."""
    pipeline = bus.pipeline(transaction=False)
    for call in calls:
        pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.arguments)
    found: list[Any] = await pipeline.execute(raise_on_error=False)
    for index, call in enumerate(calls):
        if isinstance(found[index], NoScriptError):
            found[index] = await call.script.run(bus, call.keys, *call.arguments)
        elif isinstance(found[index], Exception):
            raise found[index]
    return found
