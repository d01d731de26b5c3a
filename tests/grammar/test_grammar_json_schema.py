"""What a schema's grammar takes is JSON that fits the schema, told by a validator of its own."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from grammar_bench import is_valid
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.grammar.automaton import Automaton
from appliance.grammar.gbnf import parse
from appliance.grammar.integers import integer_range
from appliance.grammar.json_schema import json_grammar
from appliance.grammar.shortest import shortest

pytestmark = pytest.mark.unit

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "label": {"type": "string", "maxLength": 4},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 2},
            },
            "required": ["label"],
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: list[dict[str, Any]] = [
    TREE,
    {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 5},
            "level": {"enum": ["高", "低", None, 1.5]},
            "age": {"type": "integer", "minimum": -5, "exclusiveMaximum": 120},
            "tags": {"type": ["array", "null"], "items": {"type": "boolean"}, "minItems": 1},
        },
        "required": ["level", "name"],
        "additionalProperties": {"type": "number"},
    },
    {
        "type": "array",
        "prefixItems": [{"const": "a"}, {"type": "number"}],
        "items": {"type": "null"},
    },
    {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "array"}, "maxItems": 1}]},
    {"allOf": [{"properties": {"x": True}, "required": ["x"]}]},
    {"type": "string", "minLength": 2, "maxLength": 3},
    {},
]
UNSUPPORTED = {
    "pattern": {"type": "string", "pattern": "^a$"},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "minimum": {"type": "number", "minimum": 0},
    "patternProperties": {"type": "object", "patternProperties": {}},
    "not": {"not": {"type": "null"}},
    "allOf": {"allOf": [{"type": "null"}, {"type": "null"}]},
    "$ref must point inside": {"$ref": "https://example.com/schema.json"},
    "$ref #/nowhere": {"$ref": "#/nowhere"},
    "type must be": {"type": "date"},
    "required but not among": {"properties": {"a": True}, "required": ["b"]},
    "enum": {"enum": []},
    "no value of enum": {"type": "string", "enum": [1]},
    "maxItems is below": {"type": "array", "minItems": 3, "maxItems": 2},
    "maxLength above": {"type": "string", "maxLength": 10**9},
    "minLength must be": {"type": "string", "minLength": -1},
    "no integer is": {"type": "integer", "minimum": 3, "maximum": 2},
    "must be a whole number": {"type": "integer", "minimum": 0.5},
    "must be an object": {"items": 7},
    "longer than 200": {"properties": {"a" * 201: True}},
}


def fits(automaton: Automaton, text: str) -> bool:
    end = automaton.advance(automaton.start, text.encode())
    return end is not None and automaton.may_end(end)


def wander(automaton: Automaton, choose: Callable[[list[int]], int], limit: int = 400) -> str:
    """A text made by random steps that the grammar allows, as a model without a mind would."""
    position, said = automaton.start, b""
    while len(said) < limit:
        if automaton.may_end(position) and choose([0, 1, 2]) == 0:
            break
        allowed = [
            byte
            for byte in automaton.first_bytes(position).nonzero()[0].tolist()
            if automaton.advance(position, bytes((byte,))) is not None
        ]
        if not allowed:
            break
        # closing signs and digits more often, or nested values never end
        closing = [byte for byte in allowed if chr(byte) in '"}]:,0ntf']
        byte = choose(closing if closing and choose([0, 1]) else allowed)
        following = automaton.advance(position, bytes((byte,)))
        assert following is not None
        position, said = following, said + bytes((byte,))
    return said.decode(errors="replace") if automaton.may_end(position) else ""


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_whatever_is_said_under_a_schema_fits_it(schema: dict[str, Any]) -> None:
    automaton = Automaton(parse(json_grammar(schema)))
    dice = random.Random(3)
    ended = 0
    for _ in range(300):
        text = wander(automaton, dice.choice)
        if text:
            ended += 1
            assert is_valid(json.loads(text), schema, schema), text
    assert ended >= 30


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(len(SCHEMAS)))
def test_the_shortest_answer_to_a_schema_fits_it(schema: dict[str, Any]) -> None:
    assert is_valid(json.loads(shortest(parse(json_grammar(schema)))), schema, schema)


short_floats = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | short_floats | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


@given(json_values.filter(lambda value: isinstance(value, dict)), st.booleans())
def test_every_json_object_is_a_json_object(value: Any, escaped: bool) -> None:
    automaton = Automaton(parse(json_grammar()))
    text = json.dumps(value, ensure_ascii=escaped)
    assert fits(automaton, text), text


def test_what_does_not_fit_a_schema_is_not_taken() -> None:
    automaton = Automaton(parse(json_grammar(SCHEMAS[1])))
    for text in (
        '{"name":"abcdef","level":"高"}',
        '{"level":"高","name":"x"}',
        '{"name":"x"}',
        '{"name":"x","level":"中"}',
        '{"name":"x","level":"高","age":120}',
        '{"name":"x","level":"高","name":3}',
        '{"name":"x","level":"高","n\\u0061me":3}',
        '{"name":"x","level":"高","other":"text"}',
        '{"name":"\n","level":"高"}',
        '{"name":"\\ud800","level":"高"}',
        '{"name":"x","level":"高"} ',
    ):
        assert not fits(automaton, text), text
    assert fits(automaton, '{"name": "\\ud83d\\ude00", "level": "高", "age": -5, "names": 3}')


@given(st.integers(-2_000, 2_000), st.integers(-2_000, 2_000))
def test_an_integer_range_takes_its_integers_only(low: int, high: int) -> None:
    grammar = integer_range(low, high)
    assert bool(grammar) == (low <= high)
    if grammar:
        automaton = Automaton(parse(f"root ::= {grammar}"))
        near = {low - 1, low, low + 1, (low + high) // 2, high - 1, high, high + 1, 0, 9, 10, -10}
        assert {one for one in near if fits(automaton, str(one))} == {
            one for one in near if low <= one <= high
        }
        assert not fits(automaton, "007")
        assert not fits(automaton, "-0")


def test_formats_are_dates_times_and_uuids() -> None:
    for form, good, bad in (
        ("date", "2024-01-31", "2024-02-30"),
        ("time", "23:59:59Z", "24:00:00Z"),
        ("date-time", "2024-12-01T00:00:00.5+08:00", "2024-12-01 00:00:00Z"),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", "123"),
    ):
        automaton = Automaton(parse(json_grammar({"type": "string", "format": form})))
        assert fits(automaton, f'"{good}"')
        assert not fits(automaton, f'"{bad}"')


@pytest.mark.parametrize(("words", "schema"), UNSUPPORTED.items(), ids=list(UNSUPPORTED))
def test_what_cannot_be_held_is_refused_by_name(words: str, schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as refused:
        Automaton(parse(json_grammar({"type": "object", "properties": {"deep": schema}})))
    assert words in refused.value.message
    if words != "$ref #/nowhere":
        assert "/properties/deep" in refused.value.message


def test_a_schema_that_is_too_deep_or_too_wide_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"type": "array", "items": deep, "minItems": 1}
    wide = {
        "properties": {
            f"p{number}": {"type": "object", "properties": {"a": True}} for number in range(3000)
        }
    }
    for schema in (deep, wide):
        with pytest.raises(Invalid, match=r"deep|rules"):
            json_grammar(schema)
    with pytest.raises(Invalid, match="makes no text"):
        Automaton(parse(json_grammar({"$ref": "#"})))
