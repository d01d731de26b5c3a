"""The OpenAPI document as a page to read: no scripts, nothing from a network, no key.

Viewers from the package index bring megabytes of scripts or fetch them, and the one that brings
them does not know OpenAPI 3.1. What a reader needs is a list that folds.
"""

import html
from typing import Any

from litestar import Request
from litestar.enums import MediaType
from litestar.openapi.plugins import OpenAPIRenderPlugin

from appliance.api.document import METHODS, Json, described

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1b1b; background: #fff }
h2 { margin-top: 2.5rem } code, .method { font-family: ui-monospace, monospace }
.method { font-weight: 700; display: inline-block; min-width: 4.5rem }
details { border-top: 1px solid #ccc; padding: .4rem 0 } summary { cursor: pointer }
table { border-collapse: collapse; margin: .5rem 0 } td, th { text-align: left; padding: .15rem 1rem
  .15rem 0; vertical-align: top } th { font-weight: 600 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } a { color: #8cf } }
"""


class PagePlugin(OpenAPIRenderPlugin):
    """`/schema`: the same to read."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: Json) -> bytes:
        return page(described(request.app, openapi_schema)).encode()


def page(document: Json) -> str:
    """One HTML page: every operation by its first path words, and every schema."""
    title = f"{document['info']['title']} {document['info']['version']}"
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        words = path.strip("/").split("/")
        group = words[1] if len(words) > 1 else words[0]
        for method in METHODS:
            if method in item:
                groups.setdefault(group, []).append(_operation_html(method, path, item[method]))
    parts = [f"<h2>{_text(name)}</h2>{''.join(shown)}" for name, shown in sorted(groups.items())]
    schemas = [
        f'<details id="{_text(name)}" open><summary><code>{_text(name)}</code></summary>'
        f"{_text(schema.get('description', ''))}{_fields_html(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(title)}</title>'
        f"<style>{STYLE}</style><h1>{_text(title)}</h1><p>Every call but <code>/healthz</code> and "
        "this page carries <code>Authorization: Bearer KEY</code>. The document behind this page, "
        "for programs, is <code>/schema/openapi.json</code>.</p>"
        f"{''.join(parts)}<h2>Schemas</h2>{''.join(schemas)}</html>"
    )


def _operation_html(method: str, path: str, operation: Json) -> str:
    rows = [
        f"<tr><td><code>{_text(one['name'])}</code><td>{_text(one['in'])}"
        f"<td>{_kind_html(one['schema'])}<td>{_text(one.get('description', ''))}</tr>"
        for one in operation.get("parameters", [])
    ]
    body = operation.get("requestBody")
    if body:
        rows.append(f"<tr><td>body<td><td>{_content_html(body)}<td></tr>")
    rows += [
        f"<tr><td>{_text(status)}<td><td>{_content_html(response)}"
        f"<td>{_text(response.get('description', ''))}</tr>"
        for status, response in operation["responses"].items()
    ]
    told = _text(operation.get("description") or operation.get("summary", ""))
    return (
        f'<details><summary><span class="method">{method.upper()}</span> <code>{_text(path)}</code>'
        f"</summary><p>{told}</p><table>{''.join(rows)}</table></details>"
    )


def _content_html(part: Json) -> str:
    return ", ".join(
        f"{_kind_html(content.get('schema', {}))} <small>{_text(kind)}</small>"
        for kind, content in part.get("content", {}).items()
    )


def _fields_html(schema: Json) -> str:
    needed = schema.get("required", [])
    rows = [
        f"<tr><td><code>{_text(name)}</code><td>{_kind_html(field)}"
        f"<td>{'needed' if name in needed else ''}<td>{_text(field.get('description', ''))}</tr>"
        for name, field in schema.get("properties", {}).items()
    ]
    return f"<table>{''.join(rows)}</table>" if rows else f"<p>{_kind_html(schema)}</p>"


def _kind_html(schema: Json) -> str:
    """A type in a few words, with links to the schemas."""
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(map(_kind_html, schema[word]))
    if "enum" in schema or "const" in schema:
        return " | ".join(map(_text, map(str, schema.get("enum") or [schema["const"]])))
    kind = schema.get("type", "anything")
    name = " or ".join(kind) if isinstance(kind, list) else kind
    if isinstance(schema.get("items"), dict):
        return f"{_text(name)} of {_kind_html(schema['items'])}"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (
            *(("minimum", "from"), ("maximum", "to"), ("minLength", "at least")),
            *(("maxLength", "at most"), ("pattern", "like")),
        )
        if key in schema
    ]
    return _text(", ".join([name, *bounds]))


def _text(text: str) -> str:
    return html.escape(text)
