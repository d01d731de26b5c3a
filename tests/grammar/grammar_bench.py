"""A JSON-schema validator for the tests, written apart from what it judges."""

from typing import Any

_PYTHON = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "integer": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    ),
}


def is_valid(value: Any, schema: Any, root: Any) -> bool:
    """Whether a JSON value fits a schema, for the keywords that the tests use."""
    if schema is True:
        return True
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].split("/")[1:]:
            target = target[part]
        return is_valid(value, target, root)
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_PYTHON[kind](value) for kind in kinds):
            return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "anyOf" in schema and not any(is_valid(value, one, root) for one in schema["anyOf"]):
        return False
    if not all(is_valid(value, one, root) for one in schema.get("allOf", [])):
        return False
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9))
    if isinstance(value, dict):
        return _is_valid_object(value, schema, root)
    if isinstance(value, list):
        return _is_valid_array(value, schema, root)
    if _PYTHON["number"](value):
        below = "exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"]
        return below and bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _is_valid_object(value: dict[str, Any], schema: Any, root: Any) -> bool:
    named = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", [])) and all(
        is_valid(one, named.get(name, more), root) for name, one in value.items()
    )


def _is_valid_array(value: list[Any], schema: Any, root: Any) -> bool:
    first = schema.get("prefixItems", [])
    fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
    return bool(fits) and all(
        is_valid(one, first[number] if number < len(first) else schema.get("items", True), root)
        for number, one in enumerate(value)
    )
