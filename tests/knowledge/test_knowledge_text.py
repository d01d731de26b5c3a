"""How FAQ text is written down, and when two texts are the same."""

import unicodedata

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.knowledge.text import canonical, detect_language, tidied, tidied_line, tidied_text
from appliance.schema.faq import EntryPut

pytestmark = pytest.mark.unit

texts = st.text(max_size=60) | st.text(
    "aé\u0301 \t\r\n\x00\x1b\x85ﬁ密码\u3000=か゛\u3099~", max_size=30
)


@settings(deadline=None)
@given(texts)
def test_tidied_text_is_normal_trimmed_free_of_control_characters_and_stays_so(text: str) -> None:
    tidy = tidied_text(text)
    assert unicodedata.is_normalized("NFC", tidy)
    assert tidy == tidy.strip()
    assert not [c for c in tidy if unicodedata.category(c) == "Cc" and c not in "\n\t"]
    assert tidied_text(tidy) == tidy


@settings(deadline=None)
@given(texts)
def test_a_tidied_line_is_one_line(text: str) -> None:
    line = tidied_line(text)
    assert len(line.splitlines()) <= 1
    assert tidied_line(line) == line


@settings(deadline=None)
@given(texts)
def test_a_canonical_form_is_its_own(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I reset it?", "  how do I RESET it "),
        ("怎么重置密码？", "怎么重置密码"),
        ("ＶＰＮ　怎么连", "vpn 怎么连?"),
        ("café", "cafe\u0301"),
        ("Straße", "STRASSE"),
        ("WiFi 密码是多少", "WiFi密码是多少"),
        ("你好, 怎么退货", "你好，怎么退货"),
        ("怎么退货～", "怎么退货"),
        ("密 码", "密码"),
    ],
)
def test_texts_that_a_person_would_call_the_same_are_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), [("C", "C++"), ("???", "!!!a"), ("a b", "ab")])
def test_other_texts_are_not(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


def test_the_language_is_chinese_when_there_are_han_characters() -> None:
    assert detect_language("怎么连 VPN") == "zh"
    assert detect_language("How?") == "en"
    assert tidied(EntryPut(question="WiFi?", answer="连 LQ-Guest")).language == "zh"
    put = EntryPut(question="Who runs the canteen?", answer="Ask 张伟.", phrasings=("张伟",))
    assert tidied(put).language == "en"
    assert tidied(EntryPut(question="名前？", answer="a", language="ja")).language == "ja"


def test_empty_and_repeated_phrasings_are_dropped_and_the_rest_keep_their_order() -> None:
    put = EntryPut(
        question="Where is it?",
        answer="Here.",
        phrasings=("where is IT", " Which  room? ", "\x07", "which room", "Show me"),
    )
    assert tidied(put).phrasings == ("Which room?", "Show me")


@pytest.mark.parametrize(
    ("put", "field"),
    [
        (EntryPut(question=" \x00 ", answer="a"), "question"),
        (EntryPut(question="q", answer="\n\u3000"), "answer"),
        (EntryPut(question="\u0958" * 1500, answer="a"), "question"),  # NFC makes two of each
    ],
)
def test_a_text_that_is_out_of_bounds_once_tidied_is_invalid(put: EntryPut, field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}: ") as caught:
        tidied(put)
    assert caught.value.hint


@settings(deadline=None)
@given(st.builds(EntryPut, question=texts, answer=texts, phrasings=st.lists(texts).map(tuple)))
def test_a_tidied_entry_stays_as_it_is_and_within_the_schema(put: EntryPut) -> None:
    try:
        tidy = tidied(put)
    except Invalid:
        assume(False)
    assert tidied(tidy) == tidy
    assert msgspec.convert(msgspec.to_builtins(tidy), EntryPut) == tidy
