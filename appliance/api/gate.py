"""The gate: one middleware before every route, which decides who may speak at all.

In this order: a known Host (DNS rebinding), no foreign Origin (a web page in the user's browser),
a valid key, what its role may do and what is its person's own (`permissions`), a JSON body where
one is sent (so a cross-site form needs a preflight it will not get), and a bound on the body. It
looks at the raw scope only: nothing a header claims about the path is believed. What it refuses
costs nothing further; its body is read and dropped up to a bound, for a bounded time, so that the
client sees the answer and not a broken pipe.
"""

import asyncio
import contextlib
import hmac
import math
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send

from appliance.access.owners import Owners
from appliance.api.callers import ADMIN, STATE_FIELD, Caller
from appliance.api.permissions import needed
from appliance.api.problems import error_body, no_route
from appliance.bus import outage
from appliance.bus.client import RedisFault
from appliance.errors import (
    Forbidden,
    NotFound,
    SluiceError,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMedia,
)
from appliance.people.api_keys import ApiKeys
from appliance.settings import Settings

OPEN_PATHS = frozenset({"/healthz", "/schema"})  # the page says nothing of this appliance
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
IMPORT_PATH = "/api/faq/import"
JSON_TYPES = frozenset({"application/json"})
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
IMPORT_TYPES = frozenset(
    {
        "text/csv",
        "application/jsonl",
        "application/x-ndjson",
        "text/markdown",
        XLSX_TYPE,
    }
)
DROPPED_BYTES = 256_000_000
DROPPED_S = 20.0


class Gate:
    """Wraps the whole application, unknown paths included."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        admin_key: str,
        api_keys: ApiKeys,
        owners: Owners,
        paths: Iterable[str],
    ) -> None:
        """`paths` are those of all routes, with `{names}` for what varies."""
        self._app = app
        self._routes = re.compile("|".join(map(_path_pattern, paths)))
        self._settings = settings
        self._key = admin_key.encode()
        self._api_keys = api_keys
        self._owners = owners
        self._open = 0
        self._hosts = LOOPBACK_NAMES | {
            name.lower() for name in (settings.server.host, *settings.server.allowed_hosts)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        try:
            self._check_origin(scope["headers"])
            caller = await self._caller(scope["path"], dict(scope["headers"]))
            await self._check_permission(caller, scope["method"], scope["path"])
            limit = self._check_body(scope)
        except (SluiceError, RedisFault) as fault:
            error = fault if isinstance(fault, SluiceError) else outage.told(fault)
            await _drop_body(receive)
            await _refuse(error, send)
            return
        scope.setdefault("state", {})[STATE_FIELD] = caller
        self._open += 1
        try:
            await self._app(scope, _bounded(receive, limit), send)
        finally:
            self._open -= 1

    def _check_origin(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self._open >= self._settings.server.connections:
            raise Unavailable(
                "too many connections are open",
                hint="close some, or raise server.connections in the settings",
                retry_after_s=1.0,
                reason="too_many_connections",
            )
        headers = list(headers)
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or _host_name(hosts[0]) not in self._hosts:
            raise Forbidden(
                "this Host is not served here",
                hint="call 127.0.0.1 or localhost, or add the name to server.allowed_hosts",
                reason="foreign_host",
            )
        found = dict(headers)
        origin = found.get(b"origin")
        if origin is not None and origin.lower() != b"http://" + hosts[0].lower():
            raise Forbidden(
                "requests from web pages are refused",
                hint="call from a program",
                reason="foreign_origin",
            )
        if found.get(b"sec-fetch-site", b"none") in (b"cross-site", b"same-site"):
            raise Forbidden(
                "requests from web pages are refused",
                hint="call from a program",
                reason="foreign_origin",
            )

    async def _caller(self, path: str, headers: dict[bytes, bytes]) -> Caller:
        """Whose key this is. Raises Unauthorized."""
        if path in OPEN_PATHS:
            return ADMIN  # of a path that tells and does nothing
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            key = key.strip()
            if hmac.compare_digest(key, self._key):
                return ADMIN
            found = await self._api_keys.find(key.decode("latin-1"))
            if found is not None:
                return Caller(found.role, found.name, found.uid, found.id)
        raise Unauthorized(
            "a valid key is needed",
            hint="send Authorization: Bearer KEY; the key is in admin.key in the data directory",
            reason="no_key",
        )

    async def _check_permission(self, caller: Caller, method: str, path: str) -> None:
        """Raises Forbidden for what the role may not do, NotFound for what is somebody else's, and
        where nothing is."""
        try:
            need = needed(caller, method, path)
        except Forbidden:
            if self._routes.fullmatch(path):
                raise
            raise no_route(path) from None
        if not need.owner:
            return
        if need.owner == "uid":
            owner = need.id
        elif need.owner == "session":
            owner = await self._owners.session(need.id)
        else:
            owner = await self._owners.request(need.id)
        if owner != caller.uid:
            kind = "user" if need.owner == "uid" else need.owner
            raise NotFound(
                f"no {kind} {need.id}",
                hint="a person's key sees what is theirs",
                reason="not_yours",
            )

    def _check_body(self, scope: Scope) -> int:
        """The bound of this request's body in bytes."""
        headers = dict(scope["headers"])
        importing = scope["path"] == IMPORT_PATH
        server = self._settings.server
        limit = server.import_limit_bytes if importing else server.body_limit_bytes
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > limit:
            raise _too_large(limit)
        has_body = int(length or 0) > 0 if length.isdigit() else True
        if has_body or b"transfer-encoding" in headers:
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode()
            allowed = IMPORT_TYPES if importing else JSON_TYPES
            if kind not in allowed:
                raise UnsupportedMedia(
                    f"a body of type {kind or 'unknown'} is not taken here",
                    hint=f"send it as {' or '.join(sorted(allowed))}",
                    reason="bad_body_type",
                    facts={"kinds": ", ".join(sorted(allowed))},
                )
        return limit


def _path_pattern(path: str) -> str:
    parts = re.split(r"\{[^}]*\}", path.rstrip("/"))
    return "[^/]+".join(map(re.escape, parts)) + "/?"


def _host_name(host: bytes) -> str:
    """The name in a Host header, without port; '' for anything odd."""
    text = host.decode("latin-1").lower()
    if "@" in text or "/" in text:
        return ""
    try:
        return urlsplit(f"//{text}").hostname or ""
    except ValueError:
        return ""


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"the body is larger than {limit:,} bytes",
        hint="send less, or raise the bound in the [server] settings",
        reason="body_too_large",
        facts={"limit": f"{limit:,}"},
    )


def _bounded(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def bounded() -> HTTPReceiveMessage:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message["body"])
            if seen > limit:
                raise _too_large(limit)
        return message  # type: ignore[return-value]  # only HTTP scopes come here

    return bounded


async def _drop_body(receive: Receive) -> None:
    dropped = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DROPPED_S):
            while dropped < DROPPED_BYTES:
                message = await receive()
                if message["type"] != "http.request":
                    return
                dropped += len(message["body"])
                if not message["more_body"]:
                    return


async def _refuse(error: SluiceError, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    if error.http_status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_s)))
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    body = msgspec.json.encode(error_body(error))
    await send({"type": "http.response.body", "body": body, "more_body": False})
