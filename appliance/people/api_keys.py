"""Keys of people and services, beside the admin key in its file.

A secret is 256 random bits, shown once; the store holds its SHA-256 only, by which it is found. So
neither the store nor a copy of it lets anybody in, and a deleted key is refused at the next call.
An expired one is refused, too, and stays listed until it is deleted.
"""

import hashlib
import math
import secrets

import msgspec

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.script import Script
from appliance.clock import now_ms
from appliance.errors import Invalid, NotFound, Unauthorized
from appliance.schema.people import KEY_EXPIRED, ApiKey, ApiKeyPost, NewApiKey

PREFIX = "sk-sluice-"
DAY_MS = 86_400_000

# KEYS api-keys api-key-hashes; ARGV id body hash bound: 0 past the bound
_ADD = Script("""
if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[1])
return 1
""")

# KEYS api-keys api-key-hashes; ARGV hash: the key's body, or false
_FIND = Script("""
local id = redis.call('HGET', KEYS[2], ARGV[1])
return id and redis.call('HGET', KEYS[1], id)
""")

# KEYS api-keys api-key-hashes; ARGV id: 0 when there is none
_REMOVE = Script("""
local hashes = redis.call('HGETALL', KEYS[2])
for i = 1, #hashes, 2 do
  if hashes[i + 1] == ARGV[1] then redis.call('HDEL', KEYS[2], hashes[i]) end
end
return redis.call('HDEL', KEYS[1], ARGV[1])
""")

_NAMES = (keys.API_KEYS, keys.API_KEY_HASHES)


class ApiKeys:
    """Makes, lists, finds and deletes keys."""

    def __init__(self, bus: Bus, bound: int) -> None:
        self._bus = bus
        self._bound = bound

    async def create(self, body: ApiKeyPost) -> NewApiKey:
        """Raises Invalid for a person's key without a person, or past the bound."""
        if (body.role == "person") != (body.uid is not None):
            raise Invalid(
                "a person's key needs a uid, and no other has one",
                hint='send {"role": "person", "name": ..., "uid": ...}',
                reason="key_uid",
            )
        secret, at_ms = PREFIX + secrets.token_urlsafe(32), now_ms()
        made = ApiKey(
            id=keys.new_api_key_id(),
            role=body.role,
            name=body.name,
            uid=body.uid or "",
            created_at_ms=at_ms,
            expires_at_ms=at_ms + math.ceil(body.days * DAY_MS) if body.days else 0,
        )
        added = await _ADD.run(
            self._bus, _NAMES, made.id, msgspec.json.encode(made), _hash(secret), self._bound
        )
        if not added:
            raise Invalid(
                f"there are {self._bound} keys, which is the bound",
                hint="delete some, or raise people.keys_bound in the settings",
                reason="keys_full",
                facts={"bound": self._bound},
            )
        return NewApiKey(key=secret, **msgspec.structs.asdict(made))

    async def find(self, secret: str) -> ApiKey | None:
        """The key with this secret, None when there is none. Raises Unauthorized for one that has
        expired."""
        if not secret.startswith(PREFIX):
            return None
        body = await _FIND.run(self._bus, _NAMES, _hash(secret))
        if not body:
            return None
        found = msgspec.json.decode(body, type=ApiKey)
        if 0 < found.expires_at_ms <= now_ms():
            raise Unauthorized(
                "this key has expired",
                hint="ask the operator for a new one, which POST /api/keys makes",
                reason=KEY_EXPIRED,
            )
        return found

    async def all(self) -> tuple[ApiKey, ...]:
        """Every key, the oldest first."""
        found = await self._bus.hgetall(keys.API_KEYS)
        read = [msgspec.json.decode(body, type=ApiKey) for body in found.values()]
        return tuple(sorted(read, key=lambda key: (key.created_at_ms, key.id)))

    async def delete(self, key_id: str) -> None:
        """Raises NotFound."""
        if not await _REMOVE.run(self._bus, _NAMES, key_id):
            raise NotFound(
                f"no key {key_id}", hint="list them with GET /api/keys", reason="no_key_of_id"
            )

    async def erase(self, uid: str) -> int:
        """Deletes the keys of a person; how many there were."""
        mine = [key for key in await self.all() if key.uid == uid]
        for key in mine:
            await _REMOVE.run(self._bus, _NAMES, key.id)
        return len(mine)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
