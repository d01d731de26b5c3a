"""What each role may do: one table, and everything that is not in it is the operator's alone.

    admin     everything
    service   asks and keeps profiles for anybody, writes into inboxes, reads the FAQ
    person    what is their own: sessions, requests, profile, inbox

The gate asks before any route runs, by method and path. Where a rule names an owner, the named
session, request or user must be the person's; what belongs to somebody else is not found, as if
there were none. A new route is closed to services and people until it is entered here.
"""

import re
from dataclasses import dataclass
from typing import Literal

from appliance.api.callers import Caller
from appliance.errors import Forbidden
from appliance.schema.fields import DEFAULT_UID

Owner = Literal["", "uid", "session", "request"]

_ID = r"([a-z0-9][a-z0-9_-]{0,62})"
_SESSION = rf"/api/sessions/{_ID}"
_REQUEST = rf"/api/requests/{_ID}"
_USER = rf"/api/users/{_ID}"


@dataclass(frozen=True)
class _Rule:
    methods: str
    path: re.Pattern[str]
    roles: str
    owner: Owner = ""


def _rule(methods: str, path: str, roles: str, owner: Owner = "") -> _Rule:
    return _Rule(methods, re.compile(path + "/?"), roles, owner)


_RULES = (
    _rule("GET", "/readyz", "person service"),
    _rule("GET", "/schema/openapi.json", "person service"),
    _rule("GET", "/v1/models(/[^/]{1,200})?", "person service"),
    _rule("POST", "/v1/(chat/completions|embeddings)", "person service"),
    _rule("GET", "/api/models", "person service"),
    _rule("GET", "/api/status", "service"),
    _rule("GET", "/api/faq/search", "person service"),
    _rule("GET", "/api/faq", "service"),
    _rule("GET", rf"/api/faq/{_ID}", "service"),
    _rule("GET POST", "/api/sessions", "person service"),
    _rule("GET", "/api/search", "person service"),
    _rule("GET PATCH DELETE", _SESSION, "person service", "session"),
    _rule("GET", rf"{_SESSION}/(turns|export)", "person service", "session"),
    _rule("POST", rf"{_SESSION}/(messages|warm|refresh|branch)", "person service", "session"),
    _rule("GET DELETE", _REQUEST, "person service", "request"),
    _rule("GET", rf"{_REQUEST}/(events|related)", "person service", "request"),
    _rule("POST PUT", rf"{_REQUEST}/feedback", "person service", "request"),
    _rule("GET", "/api/me", "person service"),
    _rule("GET", "/api/users", "service"),
    _rule("GET PATCH", _USER, "person service", "uid"),
    _rule("PUT", _USER, "service"),
    _rule("DELETE", _USER, "person", "uid"),
    _rule("GET", rf"{_USER}/export", "person", "uid"),
    _rule("GET", rf"{_USER}/quota", "person service", "uid"),
    _rule("PUT", rf"{_USER}/tags/[^/]{{1,64}}", "service"),
    _rule("DELETE", rf"{_USER}/tags/[^/]{{1,64}}", "person service", "uid"),
    _rule("POST", rf"{_USER}/inbox", "service"),
    _rule("GET", rf"{_USER}/inbox(/events|/scheduled)?", "person", "uid"),
    _rule("POST", rf"{_USER}/inbox/ack", "person", "uid"),
)


@dataclass(frozen=True)
class Needed:
    """What must be the person's own: the `id` of a session, request or user; nothing for ""."""

    owner: Owner
    id: str = ""


def needed(caller: Caller, method: str, path: str) -> Needed:
    """What this call needs besides its key. Raises Forbidden for what the role may not do."""
    if caller.role == "admin":
        return Needed("")
    for rule in _RULES:
        if method not in rule.methods.split() or caller.role not in rule.roles.split():
            continue
        found = rule.path.fullmatch(path)
        if found:
            if caller.role == "person" and rule.owner:
                return Needed(rule.owner, found[1])
            return Needed("")
    raise Forbidden(
        f"a key of the role {caller.role} may not do this",
        hint="ask the operator, who may",
        reason="role_may_not",
        facts={"role": caller.role},
    )


def own_uid(caller: Caller, uid: str) -> str:
    """Whom a call is for: the person themselves with a person's key, else who is named.

    Raises Forbidden when a person names somebody else.
    """
    if caller.role != "person":
        return uid
    if uid not in (DEFAULT_UID, caller.uid):
        raise Forbidden(
            "this key is for another person", hint="leave the uid out", reason="key_of_another"
        )
    return caller.uid
