"""What is reserved for a text covers what models make of it."""

import pytest

from appliance.access.forecast import text_tokens

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("2718" * 750, 3_000),
        ('{"a": [1, 2]}', 11),
        ("abc def ghi", 3),
        ("\u98df\u5802\u51e0\u70b9\u5f00", 5),
    ],
)
def test_digits_signs_and_ideographs_count_one_each(text: str, tokens: int) -> None:
    assert text_tokens(text) == tokens
