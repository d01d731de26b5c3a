"""Every error in one shape, whoever raised it: our tree, Litestar, or a bug.

An error says what happened and what to do next, and nothing else: no paths, no prompts, no
traceback. What we did not expect is logged in full and told as `internal`.
"""

import logging
import math
import re
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from appliance.bus import outage
from appliance.bus.client import RedisFault
from appliance.errors import NotFound, SluiceError
from appliance.knowledge.entries import VersionConflict
from appliance.knowledge.files.rows import ImportRefused
from appliance.knowledge.imports import ImportConflict
from appliance.schema.curation import EditConflict
from appliance.schema.problems import ErrorBody, ErrorDetail

log = logging.getLogger(__name__)

HINTS = {
    400: "the OpenAPI document at /schema/openapi.json says what is taken here",
    404: "the OpenAPI document at /schema/openapi.json lists every path",
    405: "the OpenAPI document at /schema/openapi.json lists the methods of each path",
    413: "send less",
}
REASONS = {405: "no_method"}
CODES = {401: "unauthorized", 403: "unauthorized", 404: "not_found", 409: "conflict"}


def error_body(error: SluiceError) -> ErrorBody:
    detail = ErrorDetail(
        code=error.code,
        type=error.code,
        message=error.message,
        hint=error.hint,
        reason=error.reason,
        facts=error.facts,
        retry_after_s=error.retry_after_s,
        errors=error.lines if isinstance(error, ImportRefused | ImportConflict) else (),
    )
    if isinstance(error, VersionConflict):
        fields = msgspec.structs.asdict(detail)
        detail = EditConflict(**fields, stored=error.stored, yours=error.yours)
    return ErrorBody(error=detail)


def no_route(path: str) -> NotFound:
    """What is said where no route is. OpenAI's other calls are refused by their names."""
    if path.startswith("/v1/"):
        return NotFound(
            f"{path[:200]} is not supported",
            hint="there are /v1/chat/completions, /v1/embeddings and /v1/models",
            reason="unsupported",
        )
    return NotFound("Not Found", hint=HINTS[404], reason="no_route")


def on_sluice_error(_: Request[Any, Any, Any], error: SluiceError) -> Response[ErrorBody]:
    headers = dict(error.headers)
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return Response(error_body(error), status_code=error.http_status, headers=headers)


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[ErrorBody]:
    """What Litestar itself refuses: unknown path, wrong method, a body that does not fit."""
    status = error.status_code
    if status == 404:
        return on_sluice_error(request, no_route(request.scope["path"]))
    if status >= 500:
        log.error("the HTTP layer failed: %s", error.detail)
    message = _worded(error)
    detail = ErrorDetail(
        code=CODES.get(status, "invalid" if status < 500 else "internal"),
        type=CODES.get(status, "invalid" if status < 500 else "internal"),
        message=message,
        hint=HINTS.get(status, HINTS[400]),
        reason=REASONS.get(status, "malformed" if status < 500 else "internal"),
        facts={"detail": message},
    )
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() == "allow"}
    return Response(ErrorBody(error=detail), status_code=status, headers=headers)


def on_store_error(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    log.debug("a request met an unavailable store: %s", error)
    return on_sluice_error(request, outage.told(error))


def on_unreadable(_: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    """The body decoder gives these two through: too deep a nesting, and bytes that are no text."""
    too_deep = isinstance(error, RecursionError)
    message = "the body is nested too deeply" if too_deep else "the body is not UTF-8 text"
    detail = ErrorDetail(
        code="invalid",
        type="invalid",
        message=message,
        hint=HINTS[400],
        reason="malformed",
        facts={"detail": message},
    )
    return Response(ErrorBody(error=detail), status_code=400)


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorBody]:
    log.exception("%s %s failed", request.method, request.scope["path"], exc_info=error)
    detail = ErrorDetail(
        code="internal",
        type="internal",
        message="something went wrong on our side",
        hint="the log has the details; `sluice doctor` checks the parts",
        reason="internal",
    )
    return Response(ErrorBody(error=detail), status_code=500)


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    SluiceError: on_sluice_error,
    HTTPException: on_http_error,
    RedisFault: on_store_error,
    RecursionError: on_unreadable,
    UnicodeDecodeError: on_unreadable,
    Exception: on_bug,
}


def _worded(error: HTTPException) -> str:
    """Litestar's detail and its list of field errors, in one sentence, bounded."""
    extra = error.extra if isinstance(error.extra, list) else []
    fields = [
        f"{item.get('key', '')}: {item.get('message', '')}".strip(": ")
        for item in extra[:5]
        if isinstance(item, dict)
    ]
    detail = re.sub(r"^Validation failed for .*", "the request does not fit", error.detail)
    return "; ".join([detail or "the request is not valid", *fields])[:1000]
