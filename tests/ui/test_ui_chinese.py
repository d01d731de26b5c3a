"""What the server says has a Chinese sentence: nobody who reads Chinese is answered in English."""

import ast
import inspect
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from appliance import errors
from appliance.errors import Conflict, NotFound, Overloaded, SluiceError
from appliance.limiter.verdict import Reason
from appliance.schema.curation import LineConflict
from appliance.schema.faq import LineError
from appliance.schema.status import Alarm
from appliance.settings.listing import declared
from ui.said import conflict_said, error_said, failure_said, line_said, shortage
from ui.texts_en import ENGLISH
from ui.texts_zh import CHINESE
from ui.texts_zh_alarms import ALARMS
from ui.texts_zh_errors import ERRORS, FAILED, Said
from ui.texts_zh_faq_errors import CONFLICTS, FAQ_ERRORS, SHORTAGES
from ui.texts_zh_settings import MEANINGS
from ui.turns import LiveTurn
from ui.wording import alarm_words, error_words, refusal, trouble

pytestmark = pytest.mark.unit

HAN = re.compile(r"[\u4e00-\u9fff]")
APPLIANCE = Path(inspect.getfile(errors)).parent
ANSWERING = (
    *("access", "api", "bus", "fleet", "grammar"),
    *("knowledge", "limiter", "people", "settings"),
)
KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SluiceError) and name != "CannotBoot"
}
KINDS.add("super().__init__")
WORDED = {**ERRORS, **FAQ_ERRORS}


@dataclass(frozen=True)
class Raised:
    """Where an error is made: its reason, None where there is none, and the names of its facts."""

    place: str
    reason: str | None
    facts: frozenset[str]


def calls(names: set[str], *packages: str) -> Iterator[tuple[str, ast.Call]]:
    for package in packages:
        for path in sorted((APPLIANCE / package).resolve().rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                    yield f"{path.relative_to(APPLIANCE.parent)}:{node.lineno}", node


def given(call: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in call.keywords if one.arg == name), None)


def named(facts: ast.expr | None) -> frozenset[str]:
    """The names of facts that are written down as a dictionary."""
    keys = facts.keys if isinstance(facts, ast.Dict) else []
    return frozenset(str(key.value) for key in keys if isinstance(key, ast.Constant))


def raised(*packages: str) -> list[Raised]:
    found = []
    for place, call in calls(KINDS, *packages):
        reason, facts = given(call, "reason"), given(call, "facts")
        if reason is None and ast.unparse(call.func) == "super().__init__":
            continue  # of something else, or as its callers say
        if reason is not None and not isinstance(reason, ast.Constant):
            continue  # handed on from where it is known
        known = str(reason.value) if reason is not None else None
        names = named(facts)
        if isinstance(facts, ast.Name) and known in WORDED:  # they are told by other tests
            names = frozenset(places(WORDED[known].what))
        found.append(Raised(place, known, names))
    return found


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


RAISED = raised(*ANSWERING)
TAKING = [one for one in raised("../models", "backup", "cli") if one.reason]
"""Where models are taken out of files, as the first start does; those without a reason are told in
a terminal alone."""


def test_every_error_that_the_api_answers_with_has_a_reason() -> None:
    assert len(RAISED) > 100
    assert len(TAKING) > 20
    assert [one.place for one in RAISED if not one.reason] == []


def test_every_reason_has_a_chinese_sentence() -> None:
    wordless = [one for one in (*RAISED, *TAKING) if one.reason not in WORDED]
    assert [one for one in wordless if not refusal(CHINESE, one.reason or "")] == []
    ours = set(get_args(Reason)) - {"rule"}  # the operator's rule has words of its own
    assert [reason for reason in ours if not refusal(CHINESE, reason)] == []


def test_a_sentence_has_places_only_for_what_every_such_error_tells() -> None:
    bad = [
        one
        for one in (*RAISED, *TAKING)
        if one.reason in WORDED and not places(WORDED[one.reason].what) <= one.facts
    ]
    assert bad == []


def test_every_reason_of_a_failed_answer_has_a_chinese_sentence() -> None:
    wordless = []
    for place, call in calls({"Failed", "self._requests.reject", "requests.reject", "Unfit"}, ""):
        reason = given(call, "reason") or (call.args[1] if len(call.args) > 1 else None)
        if isinstance(reason, ast.Constant) and not failure_said(CHINESE, str(reason.value)).what:
            wordless.append(place)
    assert wordless == []
    assert [reason for reason, said in FAILED.items() if places(said.what)] == []


def test_every_alarm_has_a_chinese_sentence_of_what_it_tells() -> None:
    told = {
        str(code.value): named(given(call, "facts"))
        for _, call in calls({"Alarm"}, "")
        if isinstance(code := given(call, "code"), ast.Constant)
    }
    assert sorted(told) == sorted(ALARMS)
    assert [name for name in told if not places(ALARMS[name].what) <= told[name]] == []


@pytest.mark.parametrize("table", [ERRORS, FAQ_ERRORS, FAILED, ALARMS, CONFLICTS, SHORTAGES])
def test_the_sentences_are_chinese_and_stand_before_what_can_be_done(
    table: Mapping[str, Said],
) -> None:
    for reason, said in table.items():
        assert HAN.search(said.what), reason
        assert not said.what.endswith("。"), reason
        assert not said.then or said.then.endswith(("。", "？")), reason


def test_an_error_is_told_in_the_language_of_the_reader() -> None:
    error = Conflict(
        "7 requests use m",
        hint="wait for them or cancel them",
        reason="model_in_use",
        facts={"name": "m\x1b[31m", "count": 7},
    )
    assert error_words(ENGLISH, error) == (
        "That is not possible now: 7 requests use m\nwait for them or cancel them"
    )
    assert error_words(CHINESE, error) == (
        "现在无法这样做：有 7 个请求正在使用 m\n请等它们结束，或取消它们。"
    )


def test_without_a_next_step_of_its_own_the_code_has_one() -> None:
    error = NotFound(
        "user u has no tag t", hint="GET lists them", reason="no_tag", facts={"tag": "t"}
    )
    assert error_words(CHINESE, error).splitlines() == [
        "对象已不存在：该用户没有标签 t",
        CHINESE.error_not_found_next,
    ]


def test_a_limit_is_told_with_the_time_to_wait() -> None:
    error = Overloaded("no more", reason="requests_per_minute", retry_after_s=3)
    assert "您本分钟的提问次数已用完" in error_words(CHINESE, error)
    assert "3 秒" in error_words(CHINESE, error)


def test_what_a_newer_server_says_is_told_in_its_own_words() -> None:
    assert error_said(CHINESE, "from_tomorrow", {}) == Said("")
    assert error_said(CHINESE, "no_model", {}) == Said("")
    assert "new things" in error_words(CHINESE, Conflict("new things", reason="from_tomorrow"))
    assert line_said(CHINESE, LineError(line=1, message="odd")) == "odd"
    assert shortage(CHINESE, "odd", "") == "odd"
    unknown = Alarm(code="odd", message="It is odd", hint="look")
    assert "It is odd" in alarm_words(CHINESE, unknown)


def test_lines_of_a_file_are_told_in_the_language_of_the_reader() -> None:
    line = LineError(
        line=2, message="3 cells", reason="cell_count", facts={"cells": "3", "columns": "4"}
    )
    late = LineConflict(line=2, id="e-1", kind="edited_since", message="e-1 was edited since")
    assert (line_said(ENGLISH, line), conflict_said(ENGLISH, late)) == (
        "3 cells",
        "e-1 was edited since",
    )
    assert line_said(CHINESE, line) == "有 3 个单元格，而表头有 4 列"
    assert conflict_said(CHINESE, late) == "e-1 在导出之后已被修改"


def test_a_failed_answer_says_why_in_the_language_of_the_reader() -> None:
    turn = LiveTurn(
        id="r",
        question="q",
        created_at_ms=0,
        phase="failed",
        reason="worker_lost",
        message="2 died",
    )
    english, chinese = trouble(ENGLISH, turn), trouble(CHINESE, turn)
    assert english is not None
    assert chinese is not None
    assert english.reason == "2 died"
    assert (chinese.reason, chinese.next_step) == (
        FAILED["worker_lost"].what,
        FAILED["worker_lost"].then,
    )


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
