"""The OpenAPI document: what Litestar knows, with bodies and errors as they really are.

Litestar knows the paths and parameters. Bodies are described by msgspec, which checks them: so what
the document allows is what is taken (Litestar reads `tuple[str, ...]` as "a string or anything",
and leaves out that unknown fields are refused). Errors have one shape, told as each operation's
`default` response.
"""

from typing import Any

import msgspec
from litestar import Litestar, Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.routes import HTTPRoute

from appliance.schema.problems import ErrorBody

METHODS = ("get", "post", "put", "patch", "delete")
PLACE = "#/components/schemas/{name}"

Json = dict[str, Any]


# What the types of these handlers do not say.
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
ALSO: dict[tuple[str, str], dict[str, Json]] = {
    ("/v1/chat/completions", "post"): {"text/event-stream": {}},
    ("/api/sessions/{session_id}/export", "get"): {"application/json": {}, "text/markdown": {}},
    ("/api/faq/export", "get"): {
        one: {}
        for one in ("application/json", "application/jsonl", "text/csv", "text/markdown", XLSX)
    },
}


def described(application: Litestar, document: Json) -> Json:
    """Litestar's document with the bodies as msgspec takes and gives them."""
    handlers = _handlers(application)
    kinds = {key: (_body(handler), _answer(handler)) for key, handler in handlers.items()}
    known = [kind for pair in kinds.values() for kind in pair if kind is not None]
    schemas, components = msgspec.json.schema_components([ErrorBody, *known], ref_template=PLACE)
    by_kind = dict(zip(map(repr, [ErrorBody, *known]), schemas, strict=True))
    paths = {
        path: {
            method: _operation(
                operation, *kinds[path, method], by_kind, also=ALSO.get((path, method), {})
            )
            for method, operation in item.items()
        }
        for path, item in document["paths"].items()
    }
    kept = document.get("components", {})
    return {
        **document,
        "paths": paths,
        "components": {**kept, "schemas": {**kept.get("schemas", {}), **components}},
    }


def _handlers(application: Litestar) -> dict[tuple[str, str], HTTPRouteHandler]:
    return {
        (route.path_format, method.lower()): handler
        for route in application.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        for method in handler.http_methods
    }


def _body(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_data_field
    return field.raw if field is not None and _is_ours(field.annotation) else None


def _answer(handler: HTTPRouteHandler) -> Any:
    field = handler.parsed_return_field
    inner = field.inner_types[0] if field.inner_types and "Response" in str(field.origin) else field
    return inner.raw if _is_ours(inner.annotation) else None


def _is_ours(kind: Any) -> bool:
    return "appliance." in repr(kind)


def _operation(
    operation: Json, body: Any, answer: Any, by_kind: dict[str, Json], *, also: Json
) -> Json:
    made = dict(operation)
    if body is not None and "requestBody" in made:
        made["requestBody"] = _with_schema(made["requestBody"], by_kind[repr(body)])
    error = {"application/json": {"schema": by_kind[repr(ErrorBody)]}}
    made["responses"] = {
        status: _with_schema(response, by_kind[repr(answer)]) if answer is not None else response
        for status, response in operation["responses"].items()
        if status < "400"
    } | {"default": {"description": "What went wrong and what to do next", "content": error}}
    if also:
        response = made["responses"]["200"]
        made["responses"]["200"] = {**response, "content": response.get("content", {}) | also}
    return made


def _with_schema(part: Json, schema: Json) -> Json:
    return {
        **part,
        "content": {
            kind: {**content, "schema": schema} if "json" in kind else content
            for kind, content in part.get("content", {}).items()
        },
    }


class DocumentPlugin(JsonRenderPlugin):
    """`/schema/openapi.json`."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: Json) -> bytes:
        return self.render_json(request, described(request.app, openapi_schema))
