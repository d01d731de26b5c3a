"""Users: a hash per person with attributes, tags and a version that grows with each change.

Attributes are fields `a:NAME`, so that one can be read without the others. A tag is a field
`t:NAME` that says who put it on, `x:NAME` marks one that was taken off; `tags` decides what is in
force. Nothing here interprets them; `access.prompt` decides what the model is told.
"""

from collections.abc import Sequence

import msgspec

from appliance import keys
from appliance.bus.client import Bus, Fields
from appliance.clock import now_ms
from appliance.errors import Invalid, NotFound
from appliance.people.quiet import check_quiet
from appliance.people.tags import Note, Source, check_attributes, details
from appliance.schema.people import MAX_ATTRIBUTES, MAX_TAGS, User, UserPatch, UserPut
from appliance.settings.people import People

# KEYS user; ARGV replace set_tags bound count name note ... name value|'\0' ...
# `count` tags replace those that people put on before; attributes are set or removed.
_WRITE = """
if ARGV[1] == '1' then
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'a:' then redis.call('HDEL', KEYS[1], field) end
  end
elseif redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local first = 5 + 2 * tonumber(ARGV[4])
local named = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'a:' then named = named + 1 end
end
for i = first, #ARGV, 2 do
  local known = redis.call('HEXISTS', KEYS[1], 'a:' .. ARGV[i])
  if ARGV[i + 1] == '\\0' then named = named - known else named = named + 1 - known end
end
if named > tonumber(ARGV[3]) then return -1 end
for i = first, #ARGV, 2 do
  if ARGV[i + 1] == '\\0' then
    redis.call('HDEL', KEYS[1], 'a:' .. ARGV[i])
  else
    redis.call('HSET', KEYS[1], 'a:' .. ARGV[i], ARGV[i + 1])
  end
end
if ARGV[2] == '1' then
  redis.call('HDEL', KEYS[1], 'tags')
  local fields = redis.call('HGETALL', KEYS[1])
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 't:' and cjson.decode(fields[i + 1]).source ~= 'job' then
      redis.call('HDEL', KEYS[1], fields[i])
    end
  end
  for i = 5, first - 1, 2 do
    redis.call('HSET', KEYS[1], 't:' .. ARGV[i], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], 'x:' .. ARGV[i])
  end
end
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""

# KEYS user; ARGV bound force name note ...: how many tags were put on; one taken off needs force
_TAG = """
local count = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 't:' then count = count + 1 end
end
local put = 0
for i = 3, #ARGV, 2 do
  local held = redis.call('HEXISTS', KEYS[1], 't:' .. ARGV[i]) == 1
  local off = redis.call('HEXISTS', KEYS[1], 'x:' .. ARGV[i]) == 1
  if ARGV[2] == '1' or not (held or off) then
    if not held then count = count + 1 end
    if count > tonumber(ARGV[1]) then return -1 end
    redis.call('HSET', KEYS[1], 't:' .. ARGV[i], ARGV[i + 1])
    redis.call('HDEL', KEYS[1], 'x:' .. ARGV[i])
    put = put + 1
  end
end
if put > 0 then redis.call('HINCRBY', KEYS[1], 'version', 1) end
return put
"""

# KEYS user; ARGV name at_ms bound old_tags ('' for none): a tag is taken off and stays off
_UNTAG = """
local off = 0
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 'x:' then off = off + 1 end
end
if off >= tonumber(ARGV[3]) then return -1 end
redis.call('HDEL', KEYS[1], 't:' .. ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'tags', ARGV[4]) end
redis.call('HSET', KEYS[1], 'x:' .. ARGV[1], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'version', 1)
"""

_REMOVE = "\0"
MAX_TAKEN_OFF = 500
EVERYTHING: People = People()


class Users:
    """Reads and writes people."""

    def __init__(self, bus: Bus, rules: People = EVERYTHING) -> None:
        """`rules` say which attributes there are, and which tags follow from them."""
        self._bus = bus
        self._rules = rules

    async def read(self, uid: str) -> User:
        """Raises NotFound for a person nothing was ever stored about."""
        fields = await self._bus.hgetall(keys.user(uid))
        if not fields:
            raise NotFound(
                f"no user {uid}",
                hint="create it with PUT /api/users/{uid}",
                reason="no_user",
                facts={"uid": uid},
            )
        return self._user(uid, fields)

    async def read_many(self, uids: Sequence[str]) -> tuple[User, ...]:
        """Those of the given people who exist, in the given order, in one round trip."""
        pipeline = self._bus.pipeline(transaction=False)
        for uid in uids:
            pipeline.hgetall(keys.user(uid))
        found: list[Fields] = await pipeline.execute()
        return tuple(self._user(uid, f) for uid, f in zip(uids, found, strict=True) if f)

    async def find(self, uid: str) -> User:
        """Like `read`, but an unknown person is an empty one of version 0."""
        fields = await self._bus.hgetall(keys.user(uid))
        return self._user(uid, fields)

    async def replace(self, uid: str, body: UserPut, *, source: Source = "registration") -> User:
        """Sets attributes and tags anew; tags that the background job found stay."""
        await self._write(uid, body.attributes, body.tags, source=source, replace=True)
        return await self.read(uid)

    async def change(self, uid: str, body: UserPatch, *, source: Source = "registration") -> User:
        """Sets or removes the given attributes; raises NotFound or, past the bound, Invalid."""
        tags = None if body.tags is msgspec.UNSET else body.tags
        await self._write(uid, body.attributes, tags, source=source, replace=False)
        return await self.read(uid)

    async def tag(self, uid: str, tags: Sequence[str], note: str, *, source: Source) -> int:
        """Puts tags on; how many were new. The job does not put on what was taken off.

        Raises Invalid past the bound.
        """
        force = int(source != "job")
        pairs = [part for name in tags for part in (name, _note(source, note))]
        put = int(await self._bus.eval(_TAG, 1, keys.user(uid), MAX_TAGS, force, *pairs))
        if put < 0:
            raise Invalid(
                f"a user has at most {MAX_TAGS} tags",
                hint="take some off first",
                reason="tags_full",
                facts={"bound": MAX_TAGS},
            )
        return put

    async def untag(self, uid: str, tag: str) -> User:
        """Takes a tag off, whoever put it on or whatever rule gives it. Raises NotFound."""
        person = await self.read(uid)
        if tag not in person.tags:
            raise NotFound(
                f"user {uid} has no tag {tag}",
                hint="GET /api/users/{uid} lists them",
                reason="no_tag",
                facts={"tag": tag},
            )
        held = await self._bus.hget(keys.user(uid), "tags")
        rest: str | bytes = ""
        if held:
            rest = msgspec.json.encode([one for one in msgspec.json.decode(held) if one != tag])
        found = await self._bus.eval(_UNTAG, 1, keys.user(uid), tag, now_ms(), MAX_TAKEN_OFF, rest)
        if int(found) < 0:
            raise Invalid(
                "too many tags were taken off this user",
                hint="change the rules instead",
                reason="tags_taken_off",
            )
        return await self.read(uid)

    async def taken_off(self, uid: str) -> dict[str, int]:
        """Tags that were taken off and stay off, with the time (ms)."""
        fields = await self._bus.hgetall(keys.user(uid))
        return {
            name[2:].decode(): int(at_ms)
            for name, at_ms in sorted(fields.items())
            if name.startswith(b"x:")
        }

    async def erase(self, uid: str) -> None:
        """Nothing of the profile stays."""
        await self._bus.delete(keys.user(uid))

    async def _write(
        self,
        uid: str,
        attributes: dict[str, str] | dict[str, str | None],
        tags: tuple[str, ...] | None,
        *,
        source: Source,
        replace: bool,
    ) -> None:
        check_attributes(attributes, self._rules.attributes)
        check_quiet(attributes)
        pairs: list[str | bytes] = []
        for tag in dict.fromkeys(tags or ()):
            pairs += [tag, _note(source, "")]
        count = len(pairs) // 2
        for name, value in attributes.items():
            pairs += [name, _REMOVE if value is None else value.replace(_REMOVE, "")]
        set_tags = int(tags is not None)
        version = await self._bus.eval(
            _WRITE, 1, keys.user(uid), int(replace), set_tags, MAX_ATTRIBUTES, count, *pairs
        )
        if version == 0:
            raise NotFound(
                f"no user {uid}",
                hint="create it with PUT /api/users/{uid}",
                reason="no_user",
                facts={"uid": uid},
            )
        if version == -1:
            raise Invalid(
                f"a user has at most {MAX_ATTRIBUTES} attributes",
                hint="remove some by setting them to null",
                reason="attributes_full",
                facts={"bound": MAX_ATTRIBUTES},
            )

    def _user(self, uid: str, fields: Fields) -> User:
        attributes = {
            name[2:].decode(): value.decode()
            for name, value in sorted(fields.items())
            if name.startswith(b"a:")
        }
        old = msgspec.json.decode(fields.get(b"tags", b"[]"), type=tuple[str, ...])
        stored = {tag: Note("registration", 0) for tag in old}
        for name, value in fields.items():
            if name.startswith(b"t:"):
                stored[name[2:].decode()] = msgspec.json.decode(value, type=Note)
        removed = [name[2:].decode() for name in fields if name.startswith(b"x:")]
        found = details(stored, removed, attributes, self._rules.rules)
        return User(
            id=uid,
            attributes=attributes,
            tags=tuple(one.name for one in found),
            version=int(fields.get(b"version", 0)),
            details=found,
        )


def _note(source: Source, note: str) -> bytes:
    return msgspec.json.encode(Note(source, now_ms(), note))
