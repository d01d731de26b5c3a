"""What texts in requests may be."""

from typing import Any

import msgspec
import pytest

from appliance.schema.curation import RegressionPost
from appliance.schema.fields import AttributeName, Identifier, Language, Moment, Uid
from appliance.schema.sampling import TokenNumber
from appliance.schema.settings import SettingName
from appliance.schema.setup import WeightsName
from appliance.settings.limiter import Tier

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Uid, "bob"),
        (Identifier, "one"),
        (AttributeName, "name"),
        (Language, "en"),
        (Language, ""),
        (Moment, "2026-03-01"),
        (Moment, ""),
        (TokenNumber, "7"),
        (SettingName, "server.port"),
        (WeightsName, "qwen3-4b"),
    ],
)
def test_no_text_ends_in_a_line_break_that_may_not_hold_one(kind: Any, text: str) -> None:
    assert msgspec.convert(text, kind) == text
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(f"{text}\n", kind)


@pytest.mark.parametrize(
    ("kind", "values"),
    [(RegressionPost, {"question": "q?", "entry_id": "one"}), (Tier, {"name": "one"})],
)
def test_no_id_within_a_record_does_either(kind: type, values: dict[str, str]) -> None:
    msgspec.convert(values, kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({name: f"{text}\n" for name, text in values.items()}, kind)
