"""Whose a session or a request is."""

import msgspec

from appliance import keys
from appliance.bus.client import Bus


class _Body(msgspec.Struct, frozen=True):
    uid: str


class Owners:
    """Looks owners up; "" is nobody, for what does not exist."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def session(self, session_id: str) -> str:
        uid = await self._bus.hget(keys.session(session_id), "uid")
        return uid.decode() if uid else ""

    async def request(self, request_id: str) -> str:
        """By its record, or by its session when the record has gone."""
        body = await self._bus.hget(keys.request(request_id), "body")
        if body:
            return msgspec.json.decode(body, type=_Body).uid
        return await self.session(keys.tag(request_id))
