"""Who calls: what the gate found out about the key, for the routes that ask."""

from dataclasses import dataclass
from typing import Any

from litestar import Request

from appliance.schema.people import Role

STATE_FIELD = "caller"


@dataclass(frozen=True)
class Caller:
    """The holder of a key. `uid` is whose it is, for a person's key; `name`, which others may bear
    too, is told to others."""

    role: Role
    name: str
    uid: str = ""
    key_id: str = ""


ADMIN = Caller("admin", "admin", key_id="admin")


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """The caller whom the gate let in."""
    found: Caller = request.scope["state"][STATE_FIELD]
    return found
