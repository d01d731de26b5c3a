"""Four ways to answer, by calibrated bars; opposites are never answered directly."""

from typing import Any

import msgspec
import pytest

from appliance.knowledge.calibration import (
    NOTHING_LEARNED,
    OUTSIDE_WEIGHT,
    SAMPLES_MIN,
    WEIGHTS,
    Outcome,
    Sample,
    learned,
)
from appliance.knowledge.decision import decide
from appliance.knowledge.opposites import are_opposite
from appliance.schema.answers import Match
from appliance.schema.faq import Calibration
from appliance.settings.faq import Faq

pytestmark = pytest.mark.unit

LEARNED = msgspec.structs.replace(
    NOTHING_LEARNED,
    stamp="m",
    direct_bar=0.5,
    score_floor=0.1,
    similarity_floor=0.5,
    guess_closeness=0.9,
)


def match(
    name: str, score: float, similarity: float = 0.6, phrasing: str = "", answer: str = ""
) -> Match:
    return Match(
        id=name,
        question=f"{name}?",
        phrasing=phrasing or f"{name}?",
        answer=answer or f"{name}!",
        category="",
        language="en",
        score=score,
        similarity=similarity,
    )


def made(
    *found: Match,
    question: str = "what?",
    calibration: Calibration = LEARNED,
    whole: bool = True,
    **faq: Any,
) -> tuple[str, list[str]]:
    decided = decide(question, found, calibration, Faq(**faq), whole=whole)
    return decided.kind, [one.id for one in decided.matches]


CHINESE, ENGLISH = ("在哪里停车？", "在大楼后面。"), ("Where do I park?", "Behind the house.")


@pytest.mark.parametrize("calibration", [NOTHING_LEARNED, LEARNED])
@pytest.mark.parametrize(
    ("question", "own", "other"),
    [("停车场在哪里？", CHINESE, ENGLISH), ("And parking?", ENGLISH, CHINESE)],
)
def test_a_question_in_another_language_than_the_entry_is_answered(
    question: str, own: tuple[str, str], other: tuple[str, str], calibration: Calibration
) -> None:
    def decided(similarity: float, phrasing: str, answer: str) -> str:
        one = match("a", 0.05, similarity, phrasing, answer)
        return made(one, question=question, calibration=calibration)[0]

    assert decided(0.31, *other) == "compose"
    assert decided(0.19, *other) == "no_answer", "small talk"
    assert decided(0.31, *own) == "no_answer"
    assert decided(0.31, other[0], own[1]) == "no_answer", "a name does not make a language"


def test_the_very_words_of_a_phrasing_are_answered_directly_without_any_calibration() -> None:
    found = match("a", 1.0, 1.0), match("b", 0.9)
    assert made(*found, calibration=NOTHING_LEARNED) == ("direct", ["a"])
    assert made(*found, whole=False) == ("direct", ["a"])
    assert made(*found, direct="exact") == ("direct", ["a"])
    assert made(*found, direct="off")[0] != "direct"


SHARED = ("How do I get in?", "How do I reset my password?", "Who lets me in?")
SHARED_ZH = ("忘记密码怎么办？", "怎么重置密码？", "怎么登录？")


@pytest.mark.parametrize("texts", [SHARED, SHARED_ZH])
def test_a_phrasing_of_two_entries_is_asked_back_and_a_pick_is_answered(
    texts: tuple[str, str, str],
) -> None:
    shared, first, second = texts
    both = [match("a", 1.0, phrasing=shared), match("b", 1.0, phrasing=shared)]
    one, other = (
        msgspec.structs.replace(each, question=question)
        for each, question in zip(both, (first, second), strict=True)
    )
    assert made(one, other) == ("did_you_mean", ["a", "b"])
    assert made(one, other, did_you_mean=False) == ("compose", ["a", "b"])
    picked = msgspec.structs.replace(other, question=shared)
    assert made(one, picked) == ("direct", ["b"])
    assert made(one, picked, direct="off") == ("compose", ["b"])


@pytest.mark.parametrize("question", ["How do I get in?", "忘记密码怎么办？"])
def test_two_entries_with_one_question_are_not_offered_for_picking_one_would_change_nothing(
    question: str,
) -> None:
    one, other = (
        msgspec.structs.replace(match(name, 1.0, phrasing=question), question=question)
        for name in ("a", "b")
    )
    assert made(one, other) == ("compose", ["a", "b"])
    worded = [msgspec.structs.replace(each, phrasing="?") for each in (one, other)]
    assert made(*worded) == ("compose", ["a", "b"]), "nor by what both are called besides"


def test_an_entry_that_was_picked_is_not_offered_again_where_nothing_is_answered_directly() -> None:
    found = match("a", 1.0), match("b", 0.95)
    assert made(*found, direct="off")[0] == "compose"


def test_evidence_is_the_score_less_half_of_the_next_one() -> None:
    assert made(match("a", 0.6), match("b", 0.2)) == ("direct", ["a"])
    assert made(match("a", 0.6), match("b", 0.21))[0] == "compose"


@pytest.mark.parametrize(
    "without",
    [{"calibration": NOTHING_LEARNED}, {"whole": False}, {"direct": "exact"}, {"direct": "off"}],
)
def test_near_is_not_enough_without(without: dict[str, Any]) -> None:
    assert made(match("a", 0.9), match("b", 0.1), **without)[0] == "compose"


def test_opposites_are_left_to_the_model() -> None:
    near = match("a", 0.9, phrasing="How do I open an account?")
    assert made(near, question="How can I open my account?")[0] == "direct"
    assert made(near, question="How do I close an account?")[0] == "compose"


def test_where_the_first_is_a_guess_three_are_offered() -> None:
    found = [match(name, score) for name, score in zip("abcd", (0.3, 0.28, 0.2, 0.19), strict=True)]
    assert made(*found) == ("did_you_mean", ["a", "b", "c"])
    assert made(*found, did_you_mean=False) == ("compose", ["a", "b"])


def test_entries_far_behind_the_best_are_kept_from_the_model() -> None:
    assert made(match("a", 0.4), match("b", 0.15)) == ("compose", ["a"])


def test_below_both_floors_nothing_counts() -> None:
    assert made(match("a", 0.09, 0.49)) == ("no_answer", [])
    assert made(match("a", 0.09, 0.51))[0] == "compose"
    assert made(match("a", 0.11, 0.2))[0] == "compose"
    assert made() == ("no_answer", [])
    assert made(match("a", 0.9, 0.37), calibration=NOTHING_LEARNED) == ("no_answer", [])


def test_by_words_alone_little_has_to_be_shared_and_nothing_is_answered_directly() -> None:
    near, far = (
        msgspec.structs.replace(match(name, 0.9, similarity), by_words=True)
        for name, similarity in (("a", 0.16), ("b", 0.14))
    )
    for calibration in (LEARNED, NOTHING_LEARNED):
        found = decide("what?", [near, far], calibration, Faq(), whole=True)
        assert (found.kind, [one.id for one in found.matches]) == ("compose", ["a"])
        assert decide("what?", [far], calibration, Faq(), whole=True).kind == "no_answer"


@pytest.mark.parametrize(
    ("question", "phrasing"),
    [
        ("How do I open an account?", "how can I close my account"),
        ("怎么开户", "如何销户？"),
        ("怎么开通短信提醒", "怎样关闭短信提醒"),
        ("Can I activate my card?", "Can I deactivate my card?"),
        ("My card works abroad", "My card doesn't work abroad"),
        ("为什么能登录", "为什么不能登录"),
        ("对不起，为什么不能登录", "为什么能登录"),
        ("包裹收到了怎么办", "没收到包裹怎么办"),
        ("how to unblock my card", "how to block my card"),
        ("怎么开立账户", "怎么注销账户"),
        ("怎么开通自动续费", "怎么取消自动续费"),
        ("怎么预订会议室", "怎么取消预订会议室"),
        ("怎么预订会议室", "会议室预订怎么取消"),
        ("怎么打开蓝牙", "怎么关掉蓝牙"),
        ("怎么加入群聊", "怎么退出群聊"),
        ("怎么连接投影", "怎么断开投影"),
        ("怎么上传文件", "怎么下载文件"),
        ("怎么转入公积金", "怎么转出公积金"),
        ("套餐怎么升级", "套餐怎么降级"),
        ("几点可以入住", "几点退房"),
        ("怎么绑定手机号", "怎么解除绑定手机号"),
        ("How do I turn on notifications?", "How do I turn notifications off?"),
        ("Can I switch the heating on?", "switch off the heating"),
        ("How do I accept an invitation?", "How do I decline an invitation?"),
        ("How do I book a room?", "How do I cancel a booking?"),
        ("How do I book a room?", "How do I cancel the room I booked?"),
        ("When can I check in?", "When do I have to check out?"),
        ("Where do I upload a form?", "Where do I download a form?"),
        ("How do I connect the meter?", "How do I disconnect the meter?"),
        ("How do I join the group?", "How do I leave the group?"),
        ("I can’t log in", "I can log in"),
        ("I opened an account by mistake, how do I close it?", "How do I open an account?"),
        ("How do I close the account I opened?", "How do I open an account?"),
        ("我不小心开通了自动续费，怎么取消？", "怎么开通自动续费"),
    ],
)
def test_opposites_are_told_apart(question: str, phrasing: str) -> None:
    assert are_opposite(question, phrasing)
    assert are_opposite(phrasing, question)


@pytest.mark.parametrize(
    ("question", "phrasing"),
    [
        ("How do I open an account?", "I want to open an account"),
        ("How do I open or close an account?", "how to close my account"),
        ("能不能开户", "可以开户吗"),
        ("我想开户", "怎么开户"),
        ("My card is not working", "my card doesn't work"),
        ("Where is the key?", "where are the keys"),
        ("How do I open an account?", "How do I open or close an account?"),
        ("I opened an account by mistake, how do I close it?", "How do I close an account?"),
        ("How do I cancel a booking?", "I booked a room, how do I cancel it?"),
        ("turn off notifications on my phone", "How do I turn notifications off?"),
        ("怎么取消预订会议室", "会议室怎么取消预约"),
        ("怎么申请取消自动续费", "取消自动续费"),
        ("怎么开通或取消自动续费", "怎么取消自动续费"),
        ("我不小心开通了自动续费，怎么取消？", "怎么取消自动续费"),
        ("怎么解除绑定", "怎么解绑"),
        ("上传/下载文件", "怎么下载文件"),
        ("未来几年的假期怎么排", "往后几年的假期怎么排"),
        ("对不起，怎么退货", "怎么退货"),
        ("不锈钢水杯怎么退货", "水杯怎么退货"),
        ("手机不断重启怎么办", "手机总是重启怎么办"),
        ("我不得不退房，怎么办", "我要退房，怎么办"),
    ],
)
def test_the_same_question_is_no_opposite(question: str, phrasing: str) -> None:
    assert not are_opposite(question, phrasing)


# -- calibration


def outcome(evidence: float, *, right: bool = True, outside: float = 0.0, **more: Any) -> Outcome:
    fields = {"among_three": True, "score": evidence, "similarity": 0.6, "closeness": 0.0}
    return Outcome(right=right, evidence=evidence, outside=outside, **(fields | more))


def calibrated(outcomes: list[Outcome]) -> Calibration:
    samples = [Sample(tuple(one for _ in WEIGHTS)) for one in outcomes]
    return learned(samples, stamp="m", phrasings=999, at_ms=1)


def test_the_bar_keeps_its_promise_on_what_it_was_learned_from() -> None:
    outcomes = [outcome(n / 400, right=n > 100 or n % 3 > 0, outside=n / 900) for n in range(400)]
    bar = calibrated(outcomes).direct_bar
    assert bar is not None
    passed = [one for one in outcomes if one.evidence >= bar]
    outside = sum(one.outside >= bar for one in outcomes) * OUTSIDE_WEIGHT
    wrong = sum(not one.right for one in passed) + outside
    assert len(passed) > 100
    assert wrong + 0.5 <= 0.01 * (len(passed) + outside)


def test_without_fifty_sure_ones_there_is_no_bar() -> None:
    assert calibrated([outcome(0.9) for _ in range(49)]).direct_bar is None
    assert calibrated([outcome(0.9) for _ in range(51)]).direct_bar == 0.9


def test_near_questions_without_an_entry_raise_the_bar() -> None:
    safe = calibrated([outcome(0.3 + n / 1000) for n in range(400)])
    near = calibrated([outcome(0.3 + n / 1000, outside=0.5) for n in range(400)])
    assert safe.direct_bar == pytest.approx(0.3)
    assert near.direct_bar is not None
    assert near.direct_bar > 0.5


def test_too_few_phrasings_teach_nothing() -> None:
    assert calibrated([outcome(0.9)] * (SAMPLES_MIN - 1)) == msgspec.structs.replace(
        NOTHING_LEARNED, stamp="m", phrasings=999, samples=SAMPLES_MIN - 1, made_at_ms=1
    )


def test_nearly_all_right_ones_pass_the_floors_and_guesses_are_found_by_their_closeness() -> None:
    sure = [outcome(0.2 + n / 1000, closeness=0.3) for n in range(100)]
    guesses = [outcome(0.1, right=n % 2 > 0, closeness=0.95) for n in range(40)]
    found = calibrated(sure + guesses)
    assert found.score_floor is not None
    assert sum(one.score < found.score_floor for one in sure) <= 5
    assert found.guess_closeness == 0.95
    assert calibrated(sure).guess_closeness is None


def test_the_weight_that_finds_most_is_taken() -> None:
    best = 4
    samples = [
        Sample(
            tuple(outcome(0.5, right=place == best or n % 2 > 0) for place in range(len(WEIGHTS)))
        )
        for n in range(60)
    ]
    assert learned(samples, stamp="m", phrasings=60, at_ms=1).lexical == WEIGHTS[best]
