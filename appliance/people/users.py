"""Users: a hash per person with attributes, tags and a version that grows with each change.

Attributes are fields `a:NAME`, so that one can be read without the others. Nothing here
interprets them; `access.prompt` decides what the model is told.
"""

from collections.abc import Sequence

import msgspec

from appliance import keys
from appliance.bus.client import Bus, Fields
from appliance.errors import Invalid, NotFound
from appliance.schema import MAX_ATTRIBUTES, User, UserPatch, UserPut

# KEYS user; ARGV replace tags ('' keeps) bound name value|'\0' ...: attributes are set or removed
_WRITE = """
if ARGV[1] == '1' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if field ~= 'version' then redis.call('HDEL', KEYS[1], field) end
  end
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local named = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'a:' then named = named + 1 end
end
for i = 4, #ARGV, 2 do
  local known = redis.call('HEXISTS', KEYS[1], 'a:' .. ARGV[i])
  if ARGV[i + 1] == '\\0' then named = named - known else named = named + 1 - known end
end
if named > tonumber(ARGV[3]) then return -1 end
for i = 4, #ARGV, 2 do
  if ARGV[i + 1] == '\\0' then
    redis.call('HDEL', KEYS[1], 'a:' .. ARGV[i])
  else
    redis.call('HSET', KEYS[1], 'a:' .. ARGV[i], ARGV[i + 1])
  end
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'tags', ARGV[2]) end
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""

_REMOVE = "\0"


class Users:
    """Reads and writes people."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def read(self, uid: str) -> User:
        """Raises NotFound for a person nothing was ever stored about."""
        fields = await self._bus.hgetall(keys.user(uid))
        if not fields:
            raise NotFound(f"no user {uid}", hint="create it with PUT /api/users/{uid}")
        return _user(uid, fields)

    async def read_many(self, uids: Sequence[str]) -> tuple[User, ...]:
        """Those of the given people who exist, in the given order, in one round trip."""
        pipeline = self._bus.pipeline(transaction=False)
        for uid in uids:
            pipeline.hgetall(keys.user(uid))
        found: list[Fields] = await pipeline.execute()
        return tuple(_user(uid, f) for uid, f in zip(uids, found, strict=True) if f)

    async def find(self, uid: str) -> User:
        """Like `read`, but an unknown person is an empty one of version 0."""
        fields = await self._bus.hgetall(keys.user(uid))
        return _user(uid, fields)

    async def replace(self, uid: str, body: UserPut) -> User:
        await self._write(uid, body.attributes, body.tags, replace=True)
        return await self.read(uid)

    async def change(self, uid: str, body: UserPatch) -> User:
        """Sets or removes the given attributes; raises NotFound or, past the bound, Invalid."""
        tags = None if body.tags is msgspec.UNSET else body.tags
        await self._write(uid, body.attributes, tags, replace=False)
        return await self.read(uid)

    async def _write(
        self,
        uid: str,
        attributes: dict[str, str] | dict[str, str | None],
        tags: tuple[str, ...] | None,
        *,
        replace: bool,
    ) -> None:
        pairs: list[str] = []
        for name, value in attributes.items():
            pairs += [name, _REMOVE if value is None else value.replace(_REMOVE, "")]
        version = await self._bus.eval(
            _WRITE,
            1,
            keys.user(uid),
            int(replace),
            "" if tags is None else msgspec.json.encode(tags),
            MAX_ATTRIBUTES,
            *pairs,
        )
        if version == 0:
            raise NotFound(f"no user {uid}", hint="create it with PUT /api/users/{uid}")
        if version == -1:
            raise Invalid(
                f"a user has at most {MAX_ATTRIBUTES} attributes",
                hint="remove some by setting them to null",
            )


def _user(uid: str, fields: Fields) -> User:
    return User(
        id=uid,
        attributes={
            name[2:].decode(): value.decode()
            for name, value in sorted(fields.items())
            if name.startswith(b"a:")
        },
        tags=msgspec.json.decode(fields.get(b"tags", b"[]"), type=tuple[str, ...]),
        version=int(fields.get(b"version", 0)),
    )
