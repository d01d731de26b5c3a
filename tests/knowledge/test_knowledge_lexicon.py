"""Words: Chinese as Chinese, English without its plurals, and an index that forgets what left."""

import random

import pytest

from appliance.knowledge import lexicon
from appliance.knowledge.lexicon import Lexicon
from appliance.knowledge.words import is_spaced, terms

pytestmark = pytest.mark.unit


def filled(rows: dict[str, str]) -> Lexicon:
    words = Lexicon()
    for pk, text in rows.items():
        words.add(pk, text)
    return words


def found(words: Lexicon, text: str) -> dict[str, float]:
    return {hit.pk: round(hit.score, 4) for hit in words.search(text, 1_000)}


def test_chinese_gives_characters_and_pairs_and_latin_words_stay_whole() -> None:
    assert terms("重置ＷＬＡＮ密码") == ("重", "置", "重置", "wlan", "密", "码", "密码")
    assert terms("Ma carte a été volée; the cards' PINs") == (
        *("ma", "carte", "a", "ete", "volee"),
        *("the", "card", "pin"),
    )
    assert is_spaced("card")
    assert not is_spaced("card 卡")


def test_a_chinese_question_finds_the_row_that_shares_its_words() -> None:
    words = filled({"open": "怎么开户？", "close": "如何销户", "pass": "忘记密码怎么办"})
    assert next(iter(found(words, "密码忘了"))) == "pass"
    assert next(iter(found(words, "我要销户"))) == "close"


def test_the_same_words_score_one_and_unknown_words_lower_every_score() -> None:
    words = filled({"a": "order a new card", "b": "cancel the transfer"})
    assert found(words, "order a new card")["a"] == pytest.approx(1.0)
    assert found(words, "order a new crocodile")["a"] < 0.8
    assert found(words, "zebra") == {}
    assert found(words, "") == {}
    assert Lexicon().search("anything", 3) == []


def test_after_any_edits_it_is_as_if_it_were_built_from_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lexicon, "PACK_SLOTS", 5)
    chance = random.Random(1)
    vocabulary = ["alpha", "beta", "gamma", "delta", "开户", "销户", "转账"]
    words, rows = Lexicon(), dict[str, str]()
    for number in range(600):
        if rows and chance.random() < 0.45:
            gone = chance.choice(list(rows))
            del rows[gone]
            words.remove([gone, "never there"])
        else:
            rows[str(number)] = " ".join(chance.choices(vocabulary, k=chance.randint(1, 6)))
            words.add(str(number), rows[str(number)])
        if number % 50 == 0:
            asked = " ".join(chance.choices([*vocabulary, "unknown"], k=3))
            assert found(words, asked) == found(filled(rows), asked)
            assert len(words) == len(rows)
