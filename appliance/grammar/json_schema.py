"""Turns a JSON schema into GBNF, so that a model can write nothing else.

Taken: `type` (also a list), `enum`, `const`, `properties` with `required` and
`additionalProperties`, `items`, `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`,
`minimum` and `maximum` (and their exclusive forms) of integers, the formats date, time, date-time
and uuid, `anyOf`, `oneOf` (as `anyOf`), `allOf` of one schema, and `$ref` inside the schema,
recursive ones too. Nothing is ever fetched. A keyword that restricts a value and is not taken is
an error, never silently dropped; annotations and other formats restrict nothing.

An object without `additionalProperties` has the named properties only, in the order of the
schema. Values of `enum` and property names are written as they are, not as \\u escapes.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from appliance.errors import Invalid
from appliance.grammar.gbnf import MAX_REPETITIONS
from appliance.grammar.integers import integer_range
from appliance.grammar.json_text import (
    FORMATS,
    PRIMITIVES,
    either,
    in_class,
    items,
    literal,
    quoted,
    types_of,
)

MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_RULES = 2_000
MAX_PROPERTY_CHARS = 200
MAX_INTEGER_DIGITS = 15

Schema = Mapping[str, Any]  # Any: JSON, checked where it is read

ANNOTATIONS = frozenset(
    (
        *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "title", "description"),
        *("default", "examples", "deprecated", "readOnly", "writeOnly", "format"),
        *("contentMediaType", "contentEncoding"),
    )
)
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_OF_TYPE = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}


def json_grammar(schema: Schema | bool | None = None) -> str:
    """GBNF of the JSON texts that fit the schema; without one, of any JSON object.

    Raises Invalid naming the place in the schema and what is wrong there.
    """
    if schema is None:
        return _Converter({}).text("object")
    if not isinstance(schema, Mapping):
        _fail("", "a schema must be an object")
    converter = _Converter(schema)
    return converter.text(converter.value(schema, "", 0))


class _Converter:
    """Rules by name. Those of primitives are always there: what is not used costs nothing."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._rules = dict(PRIMITIVES)
        self._references: dict[str, str] = {}

    def text(self, root: str) -> str:
        lines = [f"root ::= {root}", *(f"{name} ::= {rule}" for name, rule in self._rules.items())]
        return "\n".join(lines)

    def value(self, schema: Any, path: str, depth: int) -> str:
        """The expression of one schema: the name of a rule, or text in parentheses."""
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            _fail(path, "a schema must be an object")
        if depth > MAX_SCHEMA_DEPTH:
            _fail(path, f"schemas are nested more than {MAX_SCHEMA_DEPTH} deep")
        for keyword, make in self._combinations().items():
            if keyword in schema:
                _only(schema, path, keyword, "type" if keyword in ("enum", "const") else "")
                return make(schema, path, depth)
        kinds = schema.get("type", _implied_type(schema))
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if not kinds or any(kind not in _TYPES for kind in kinds):
            _fail(path, f"type must be one of {', '.join(_TYPES)}")
        allowed = [keyword for kind in kinds for keyword in _OF_TYPE.get(kind, ())]
        _only(schema, path, "type", *allowed)
        return either([self._of_type(kind, schema, path, depth) for kind in kinds])

    def _combinations(self) -> dict[str, Callable[[Schema, str, int], str]]:
        return {
            "$ref": self._reference,
            "enum": self._enumeration,
            "const": self._enumeration,
            "anyOf": lambda schema, path, depth: self._any_of("anyOf", schema, path, depth),
            "oneOf": lambda schema, path, depth: self._any_of("oneOf", schema, path, depth),
            "allOf": self._all_of,
        }

    def _of_type(self, kind: str, schema: Schema, path: str, depth: int) -> str:
        if kind == "object" and not schema.keys().isdisjoint(_OF_TYPE["object"]):
            return self._object(schema, path, depth)
        if kind == "array" and not schema.keys().isdisjoint(_OF_TYPE["array"]):
            return self._array(schema, path, depth)
        if kind == "string":
            return self._string(schema, path)
        if kind == "integer" and not schema.keys().isdisjoint(_OF_TYPE["integer"]):
            return self._integer(schema, path)
        return kind

    def _reference(self, schema: Schema, path: str, depth: int) -> str:
        pointer = schema["$ref"]
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            _fail(path, "$ref must point inside the schema (#/...); nothing is fetched")
        if pointer not in self._references:
            name = self._references[pointer] = f"ref-{len(self._references)}"
            target = _target(self._root, pointer, path)
            self._rules[name] = ""  # its place, for a schema that refers to itself
            self._rules[name] = self.value(target, pointer, depth + 1)
        return self._references[pointer]

    def _enumeration(self, schema: Schema, path: str, depth: int) -> str:
        values = schema.get("enum", [schema.get("const")])
        if not isinstance(values, list):
            _fail(path, "enum must be a list")
        kinds = schema.get("type", list(_TYPES))
        kinds = kinds if isinstance(kinds, list) else [kinds]
        fitting = [literal(value) for value in values if not types_of(value).isdisjoint(kinds)]
        if not fitting:
            _fail(path, "no value of enum or const is of the type")
        return either(fitting)

    def _any_of(self, keyword: str, schema: Schema, path: str, depth: int) -> str:
        options = schema[keyword]
        if not isinstance(options, list) or not options:
            _fail(path, f"{keyword} must be a list that is not empty")
        return either(
            [
                self.value(one, f"{path}/{keyword}/{number}", depth + 1)
                for number, one in enumerate(options)
            ]
        )

    def _all_of(self, schema: Schema, path: str, depth: int) -> str:
        parts = schema["allOf"]
        if not isinstance(parts, list) or len(parts) != 1:
            _fail(path, "allOf is supported with one schema in it")
        return self.value(parts[0], f"{path}/allOf/0", depth + 1)

    def _object(self, schema: Schema, path: str, depth: int) -> str:
        properties, required = schema.get("properties", {}), schema.get("required", [])
        if not isinstance(properties, Mapping):
            _fail(path, "properties must be an object")
        if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
            _fail(path, "required must be a list of names")
        more = schema.get("additionalProperties", not properties)
        if any(len(name) > MAX_PROPERTY_CHARS for name in properties):
            _fail(path, f"a property's name is longer than {MAX_PROPERTY_CHARS} characters")
        unnamed = [name for name in required if name not in properties]
        if unnamed:
            _fail(path, f"{unnamed[0]} is required but not among the properties")
        members = []
        for name, one in properties.items():
            value = self.value(one, f"{path}/properties/{name}", depth + 1)
            members.append((f'{literal(name)} ws ":" ws {value} ws', name in required))
        extra = ""
        if more is not False:
            key = self._other_key(list(properties)) if properties else "string"
            value = self.value(more, f"{path}/additionalProperties", depth + 1)
            extra = f'{key} ws ":" ws {value} ws'
        return self._rule(f'"{{" ws {self._members(members, extra)} "}}"', path)

    def _members(self, members: list[tuple[str, bool]], extra: str) -> str:
        """All members in order, optional ones or not, from the last to the first.

        `rest` is what may follow a member, `first` what may stand where none stands yet.
        """
        rest = f'("," ws {extra})*' if extra else ""
        first = f'({extra} ("," ws {extra})*)?' if extra else ""
        for member, required in reversed(members):
            rest_name = self._rule(rest, "") if rest else ""
            first_name = self._rule(first, "") if first else ""
            begun = f"{member} {rest_name}"
            if required:
                first, rest = begun, f'"," ws {begun}'
            else:
                first = f"{begun} | {first_name}" if first_name else f"({begun})?"
                rest = f'("," ws {member})? {rest_name}'
        return self._rule(first, "") if first else ""

    def _other_key(self, names: list[str]) -> str:
        """A property name that is none of these; without escapes, so none comes in disguise."""

        def after(prefix: str) -> str:
            longer = [name for name in names if name.startswith(prefix) and name != prefix]
            next_characters = sorted({name[len(prefix)] for name in longer})
            end = "" if prefix in names else '"\\"" | '
            excluded = "".join(in_class(one) for one in next_characters)
            options = [f'[^"\\\\\\x00-\\x1F{excluded}] plain* "\\""']
            options += [f"{quoted(one)} {after(prefix + one)}" for one in next_characters]
            return self._rule(end + " | ".join(options), "")

        return f'"\\"" {after("")}'

    def _array(self, schema: Schema, path: str, depth: int) -> str:
        first = schema.get("prefixItems", [])
        if not isinstance(first, list):
            _fail(path, "prefixItems must be a list of schemas")
        least, most = _bounds(schema, path, "minItems", "maxItems")
        fixed = [
            f"{self.value(one, f'{path}/prefixItems/{number}', depth + 1)} ws"
            for number, one in enumerate(first)
        ]
        if fixed:
            # A prefix is written whole: that is what asks for one.
            least, most = max(least, len(fixed)), most if most is None else max(most, len(fixed))
        more = schema.get("items", not fixed)
        if more is False:
            most = len(fixed)
        if most is not None and most < least:
            _fail(path, "maxItems is below minItems")
        item = "" if more is False else f"{self.value(more, f'{path}/items', depth + 1)} ws"
        return self._rule(f'"[" ws {items(fixed, item, least, most)} "]"', path)

    def _string(self, schema: Schema, path: str) -> str:
        form = FORMATS.get(str(schema.get("format", "")))
        if "minLength" not in schema and "maxLength" not in schema:
            return f"({form})" if form else "string"
        if form:
            _fail(path, "a length and this format cannot be combined")
        least, most = _bounds(schema, path, "minLength", "maxLength")
        return f'("\\"" char{{{least},{"" if most is None else most}}} "\\"")'

    def _integer(self, schema: Schema, path: str) -> str:
        low = _whole(schema, path, "minimum", 0, _whole(schema, path, "exclusiveMinimum", 1, None))
        high = _whole(
            schema, path, "maximum", 0, _whole(schema, path, "exclusiveMaximum", -1, None)
        )
        bound = 10**MAX_INTEGER_DIGITS - 1
        found = integer_range(-bound if low is None else low, bound if high is None else high)
        if not found:
            _fail(path, "no integer is in this range")
        return self._rule(found, path)

    def _rule(self, text: str, path: str) -> str:
        if len(self._rules) >= MAX_SCHEMA_RULES:
            _fail(path, f"the schema needs more than {MAX_SCHEMA_RULES} rules")
        name = f"r{len(self._rules)}"
        self._rules[name] = text
        return name


def _implied_type(schema: Schema) -> list[str] | str:
    for kind, keywords in _OF_TYPE.items():
        if not schema.keys().isdisjoint(keywords):
            return kind
    return list(_TYPES) if "format" not in schema else "string"


def _only(schema: Schema, path: str, *taken: str) -> None:
    for keyword in schema:
        if keyword not in taken and keyword not in ANNOTATIONS:
            _fail(path, f"the keyword {keyword} is not supported here")


def _bounds(schema: Schema, path: str, low: str, high: str) -> tuple[int, int | None]:
    """`low` and `high` as numbers of repetitions."""
    for keyword in (low, high):
        value = schema.get(keyword, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            _fail(path, f"{keyword} must be a whole number")
        if value > MAX_REPETITIONS:
            _fail(path, f"{keyword} above {MAX_REPETITIONS} is not supported")
    least, most = schema.get(low, 0), schema.get(high)
    if most is not None and most < least:
        _fail(path, f"{high} is below {low}")
    return least, most


def _whole(schema: Schema, path: str, keyword: str, step: int, other: int | None) -> int | None:
    """A bound of an integer moved by `step`, the tighter of it and `other`."""
    value = schema.get(keyword)
    if value is None:
        return other
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        _fail(path, f"{keyword} must be a whole number")
    if abs(value) >= 10**MAX_INTEGER_DIGITS:
        _fail(path, f"{keyword} has more than {MAX_INTEGER_DIGITS} digits")
    found = int(value) + step
    if other is None:
        return found
    return max(found, other) if keyword.endswith("inimum") else min(found, other)


def _target(root: Schema, pointer: str, path: str) -> Any:
    """What a JSON pointer (RFC 6901) names."""
    found: Any = root
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
            found = found[int(key)]
        else:
            _fail(path, f"$ref {pointer[:100]} points at nothing")
    return found


def _fail(path: str, message: str) -> NoReturn:
    raise Invalid(
        f"the JSON schema at {path[:200] or 'its root'}: {message}",
        hint="simplify the schema, or constrain the answer with `grammar`",
        reason="json_schema",
    )
