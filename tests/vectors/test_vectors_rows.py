"""The border of the index: vectors, texts, names and filters."""

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.vectors.rows import (
    Row,
    check_collection,
    check_row,
    check_text,
    check_vector,
    equals_all,
    is_one_of,
    quoted,
)

pytestmark = pytest.mark.unit

GOOD = Row(pk="e:0", entry_id="e", digest="d", category="密码", language="zh", vector=(0.6, 0.8))


def changed(**fields: object) -> Row:
    values = {name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | fields
    return Row(**values)


def test_a_good_row_passes() -> None:
    check_row(GOOD, 2)


@pytest.mark.parametrize(
    "vector",
    [
        (math.nan, 1.0),
        (math.inf, 1.0),
        (-math.inf, 1.0),
        (0.0, 0.0),
        (1e-300, 0.0),
        (1e300, 1e300),
        (),
        (1.0,),
        (1.0, 2.0, 3.0),
    ],
)
def test_a_vector_that_would_poison_the_index_is_refused(vector: tuple[float, ...]) -> None:
    with pytest.raises(Invalid):
        check_vector(vector, 2)
    with pytest.raises(Invalid):
        check_row(changed(vector=vector), 2)


@settings(deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_what_passes_has_a_finite_cosine_with_itself(vector: list[float]) -> None:
    try:
        check_vector(vector, len(vector))
    except Invalid:
        return
    norm = math.sqrt(sum(x * x for x in vector))
    assert sum(x * x for x in vector) / norm / norm == pytest.approx(1.0)


@pytest.mark.parametrize("field", ["pk", "entry_id", "digest", "category", "language"])
@pytest.mark.parametrize("value", ["x" * 600, "密" * 200, "a\0b", "a\nb", "\ud800"])
def test_texts_the_index_cannot_hold_or_name_are_refused(field: str, value: str) -> None:
    if field == "category" and value == "x" * 600:
        value = "x" * 513
    with pytest.raises(Invalid, match=field):
        check_row(changed(**{field: value}), 2)


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "faq\n", "é", "a" * 101, "a;drop"])
def test_a_collection_is_named_by_a_plain_identifier(name: str) -> None:
    with pytest.raises(Invalid):
        check_collection(name)
    check_collection("faq_e5_small_384")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_quoted_value_is_one_literal_without_unicode_escapes(value: str) -> None:
    try:
        check_text("value", value, 500)
    except Invalid:
        return
    literal = quoted(value)
    assert json.loads(literal) == value
    assert re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', literal)


def test_a_filter_joins_what_is_given() -> None:
    assert equals_all(category=None, language=None) == ""
    assert equals_all(category="a", language=None) == 'category == "a"'
    assert equals_all(category='a"', language="zh") == 'category == "a\\"" and language == "zh"'
    assert equals_all(category="") == 'category == ""'
    assert is_one_of("entry_id", ["a", 'b"]']) == 'entry_id in ["a", "b\\"]"]'
    with pytest.raises(Invalid):
        equals_all(category="a\x00")
