"""`/api/me`: whose key a call is made with."""

from litestar import Router, get

from appliance.api.callers import Caller
from appliance.schema.people import Me


@get("/")
async def read_me(caller: Caller) -> Me:
    """The role of the key, its name, and for a person's key whose it is."""
    return Me(role=caller.role, name=caller.name, uid=caller.uid)


router = Router("/api/me", route_handlers=[read_me])
