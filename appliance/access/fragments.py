"""Prompt fragments: the operator's words for people with certain tags.

Which ones a person's prompts have is a pure rule (`chosen`); the store keeps them in one hash.
"""

from collections.abc import Collection, Iterable

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.errors import Invalid, NotFound
from appliance.schema.people import Fragment, FragmentPut
from appliance.settings.people import People

# KEYS fragments; ARGV name body bound: 0 past the bound
_PUT = Script("""
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
  and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
""")
# KEYS fragments; ARGV name
_REMOVE = Script("return redis.call('HDEL', KEYS[1], ARGV[1])")


def chosen(
    fragments: Iterable[Fragment], tags: Collection[str], *, chars: int
) -> tuple[Fragment, ...]:
    """Those for people with these tags in their order, as long as they fit in `chars`."""
    fitting = [
        one
        for one in fragments
        if all(tag in tags for tag in one.tags) and not any(tag in tags for tag in one.without)
    ]
    kept: list[Fragment] = []
    for one in sorted(fitting, key=lambda one: (one.place, one.name)):
        chars -= len(one.text)
        if chars < 0:
            break
        kept.append(one)
    return tuple(kept)


class Fragments:
    """Reads and writes them."""

    def __init__(self, bus: Bus, limits: People) -> None:
        self._bus = bus
        self._limits = limits

    async def all(self) -> tuple[Fragment, ...]:
        """Every fragment in the order of prompts."""
        found = await self._bus.hgetall(keys.FRAGMENTS)
        read = [msgspec.json.decode(body, type=Fragment) for body in found.values()]
        return tuple(sorted(read, key=lambda one: (one.place, one.name)))

    async def of(self, tags: Collection[str]) -> tuple[Fragment, ...]:
        return chosen(await self.all(), tags, chars=self._limits.fragments_chars)

    async def read(self, name: str) -> Fragment:
        body = await self._bus.hget(keys.FRAGMENTS, name)
        if body is None:
            raise NotFound(
                f"no fragment {name}",
                hint="list them with GET /api/fragments",
                reason="no_fragment",
                facts={"name": name},
            )
        return msgspec.json.decode(body, type=Fragment)

    async def put(self, name: str, put: FragmentPut) -> Fragment:
        """Creates or replaces; sessions that have begun keep what they began with."""
        held = await self._bus.hget(keys.FRAGMENTS, name)
        version = msgspec.json.decode(held, type=Fragment).version if held else 0
        fragment = Fragment(
            name=name,
            text=put.text,
            tags=put.tags,
            without=put.without,
            place=put.place,
            version=version + 1,
            updated_at_ms=now_ms(),
        )
        bound = self._limits.fragments_bound
        if not await _PUT.run(
            self._bus, (keys.FRAGMENTS,), name, msgspec.json.encode(fragment), bound
        ):
            raise Invalid(
                f"there are {bound} fragments, which is the bound",
                hint="delete some, or raise people.fragments_bound in the settings",
                reason="fragments_full",
                facts={"bound": bound},
            )
        return fragment

    async def delete(self, name: str) -> None:
        """Raises NotFound."""
        if not await _REMOVE.run(self._bus, (keys.FRAGMENTS,), name):
            raise NotFound(
                f"no fragment {name}",
                hint="list them with GET /api/fragments",
                reason="no_fragment",
                facts={"name": name},
            )
