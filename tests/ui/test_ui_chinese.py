"""What the server says has a Chinese sentence: nobody who reads Chinese is answered in English."""

import re

import pytest

from appliance.settings.listing import declared
from ui.texts_zh_settings import MEANINGS

pytestmark = pytest.mark.unit

HAN = re.compile(r"[\u4e00-\u9fff]")


def test_every_setting_is_explained_in_chinese() -> None:
    assert sorted(MEANINGS) == sorted(one.name for one in declared())
    assert [key for key, text in MEANINGS.items() if not HAN.search(text)] == []


def test_the_keys_an_explanation_names_are_named_in_chinese_too() -> None:
    missing = [
        (one.name, name)
        for one in declared()
        for name in re.findall(r"`([^`]+)`", one.description)
        if name not in MEANINGS[one.name]
    ]
    assert missing == []
