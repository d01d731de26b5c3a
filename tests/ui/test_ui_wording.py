"""The words for each state, in both languages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Conflict, Invalid, Overloaded, SluiceError, Unavailable, WaitedOut
from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Session
from appliance.schema.status import FaqStatus, PlacementStatus, QueueStatus, Status
from ui.answers import UNREACHABLE
from ui.link import LinkState
from ui.texts import Texts
from ui.texts_en import ENGLISH
from ui.texts_zh import CHINESE
from ui.turns import LiveTurn
from ui.wording import (
    Stages,
    child_state,
    duration,
    ending,
    error_words,
    level_word,
    link_banner,
    memory,
    moment,
    ordinal,
    priority_words,
    queue_lines,
    run_cause,
    session_title,
    stages,
    tier_words,
    trouble,
)

pytestmark = pytest.mark.unit

TURN = LiveTurn(id="r", question="?", created_at_ms=0)
MATCH = Match(id="e", question="q", phrasing="p", answer="a", category="", language="", score=1.0)


def test_loading_tells_the_model_and_how_far_it_is() -> None:
    loading = replace(TURN, phase="loading", model="big", percent=40)
    assert stages(ENGLISH, loading) == Stages(("received",), "Loading the model big, 40 %")
    assert stages(CHINESE, loading).now == "正在加载模型 big，40 %"


def test_waiting_tells_place_and_time() -> None:
    waiting = replace(TURN, phase="waiting", place=3, eta_s=12.2)
    assert stages(ENGLISH, waiting) == Stages(("received",), "You are 3rd, about 12 s")
    assert stages(CHINESE, waiting).now == "您排在第 3 位，约 12 秒"
    assert stages(ENGLISH, replace(waiting, eta_s=None)).now == "You are 3rd in the queue"


def test_the_stages_pile_up() -> None:
    answering = replace(TURN, phase="answering", has_searched=True, matches=(MATCH,) * 2)
    assert stages(ENGLISH, answering) == Stages(
        ("received", "admitted", "FAQ entries: 2"), "answering"
    )
    assert stages(ENGLISH, TURN) == Stages((), "sent")
    assert stages(ENGLISH, replace(TURN, phase="received")) == Stages((), "received")
    assert stages(ENGLISH, replace(TURN, phase="admitted")).now == "admitted"
    nothing = replace(TURN, phase="retrieved", has_searched=True)
    assert stages(ENGLISH, nothing).now == "no FAQ entry fits"
    assert stages(ENGLISH, replace(TURN, phase="answering")).passed == ("received", "admitted")


def test_a_broken_connection_and_a_stop_are_said_last() -> None:
    answering = replace(TURN, phase="answering")
    assert "reconnecting" in stages(ENGLISH, replace(answering, interrupted=True)).now
    assert stages(ENGLISH, replace(answering, cancelling=True)).now == "stopping"


def test_the_end_tells_reason_length_speed_and_first_word() -> None:
    done = replace(
        TURN,
        phase="done",
        finish_reason="stop",
        usage=Usage(completion_tokens=182),
        timings=Timings(first_token_ms=720, tokens_per_s=24.13),
    )
    words = ending(ENGLISH, done).replace("\u00a0", " ")
    assert words == "finished · 182 tokens · 24.1 tokens/s · first word after 0.7 s"
    assert "cut" in ending(ENGLISH, replace(done, finish_reason="length"))
    assert ending(ENGLISH, replace(TURN, phase="done")) == "finished"


def test_what_went_wrong_is_said_with_what_to_do() -> None:
    refused = trouble(ENGLISH, replace(TURN, phase="refused", message="full", retry_after_s=12))
    assert refused is not None
    assert (refused.title, refused.reason) == ("Not taken now", "full")
    assert "12 s" in refused.next_step
    failed = trouble(ENGLISH, replace(TURN, phase="failed", message="m", hint="restart it"))
    assert failed is not None
    assert failed.next_step == "restart it"
    for phase in ("failed", "cancelled", "lost"):
        plain = trouble(CHINESE, replace(TURN, phase=phase))
        assert plain is not None
        assert plain.next_step
    assert trouble(ENGLISH, replace(TURN, phase="done")) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Invalid("too long", hint="shorten it"), "Not accepted: too long\nshorten it"),
        (Conflict("it has ended"), "That is not possible now: it has ended\nLook at its present"),
        (Overloaded("full", retry_after_s=3), "The server is busy: full\nTry again in about 3 s."),
        (WaitedOut("late"), "The server is busy: late\nTry again in a moment."),
        (Unavailable("no way", reason=UNREACHABLE), "The server cannot be reached.\nIt is tried"),
        (SluiceError("boom\x1b[2J"), "The server made a mistake: boom\nTry again"),
    ],
)
def test_an_error_says_what_happened_and_what_to_do(error: SluiceError, words: str) -> None:
    assert error_words(ENGLISH, error).startswith(words)
    assert "\n" in error_words(CHINESE, error)


def test_the_banner_speaks_only_of_trouble() -> None:
    address = "http://127.0.0.1:1"
    assert link_banner(ENGLISH, LinkState("up"), address) == ""
    assert address in link_banner(ENGLISH, LinkState("connecting"), address)
    assert address in link_banner(ENGLISH, LinkState("away"), address)
    assert "worker: loading" in link_banner(ENGLISH, LinkState("starting", "worker: loading"), "")
    assert "Ctrl+Q" in link_banner(ENGLISH, LinkState("refused"), address)


@pytest.mark.parametrize(
    ("number", "word"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (22, "22nd")]
)
def test_ordinals_are_english_where_english_is_spoken(number: int, word: str) -> None:
    assert ordinal(ENGLISH, number) == word
    assert ordinal(CHINESE, number) == str(number)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.04, "<0.1 s"),
        (0.42, "0.4 s"),
        (3, "3 s"),
        (12.4, "12 s"),
        (200, "3 min"),
        (9000, "2 h"),
    ],
)
def test_durations_have_one_unit(seconds: float, words: str) -> None:
    assert duration(ENGLISH, seconds) == words


@given(st.floats(0, 1e9))
def test_every_duration_can_be_said(seconds: float) -> None:
    assert duration(CHINESE, seconds)


def test_moments_are_as_short_as_they_can_be() -> None:
    now = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)

    def said(at: datetime) -> str:
        return moment(int(at.timestamp() * 1000), int(now.timestamp() * 1000), UTC)

    assert said(now - timedelta(hours=3)) == "09:00"
    assert said(now - timedelta(days=2)) == "03-03"
    assert said(now - timedelta(days=200)) == "2025-08"


def test_moments_are_told_in_the_zone_given() -> None:
    noon_ms = int(datetime(2026, 3, 5, 12, 0, tzinfo=UTC).timestamp() * 1000)
    assert moment(noon_ms, noon_ms, timezone(timedelta(hours=8))) == "20:00"


def test_a_session_without_title_is_called_by_its_first_question() -> None:
    session = Session(id="s", uid="u", title=" ", created_at_ms=0, last_active_at_ms=0)
    assert session_title(ENGLISH, session, "How\nso?") == "How so?"
    assert session_title(ENGLISH, session, "") == "Untitled"


def test_sizes_and_states_are_short() -> None:
    assert [memory(size) for size in (0, 15_200_000, 1_340_000_000)] == ["", "15 MB", "1.3 GB"]
    assert child_state(CHINESE, "backing_off") == "等待重启"
    assert child_state(CHINESE, "new_state\x1b[2J") == "new_state"


@pytest.mark.parametrize(
    ("texts", "word"), [(ENGLISH, "hybrid: 40 %"), (CHINESE, "（hybrid）：40 %")]
)
def test_placement_is_told_where_there_is_a_choice(texts: Texts, word: str) -> None:
    placement = PlacementStatus(
        policy="hybrid", pools=("main",), prompt_tokens=1000, matched_tokens=400
    )
    status = Status(
        version="0",
        uptime_s=1.0,
        ready=True,
        children=(),
        workers=(),
        queue=QueueStatus(waiting=0, running=0, capacity=4, bound=64),
        faq=FaqStatus(entries=0, phrasings=0, indexed=True, detail=""),
        sessions_following=0,
        placement=placement,
    )
    (line,) = queue_lines(texts, status)
    assert word in line
    alone = msgspec.structs.replace(status, placement=PlacementStatus(policy="hybrid"))
    assert queue_lines(texts, alone) == ()


def test_advice_is_in_the_readers_language() -> None:
    late = Conflict("the model is in use", hint="wait for its answers")
    assert error_words(ENGLISH, late).endswith("wait for its answers")
    assert error_words(CHINESE, late).splitlines()[1] == CHINESE.error_conflict_next
    wrong = Invalid("unknown key", hint="did you mean port?")
    assert error_words(CHINESE, wrong).endswith(
        f"{CHINESE.error_invalid_next}（提示：did you mean port?）"
    )


def test_what_the_server_names_by_a_word_is_told_in_the_readers_language() -> None:
    assert (priority_words(CHINESE, "person"), tier_words(CHINESE, "standard")) == ("个人", "标准")
    assert (priority_words(ENGLISH, "other"), tier_words(CHINESE, "gold")) == ("other", "gold")
    assert level_word(CHINESE, "warning") == "警告"


def test_every_cause_of_asking_saved_questions_again_is_told_in_the_readers_language() -> None:
    causes = "start, edit of e-1, a new calibration, a new index, another embedding model"
    assert run_cause(CHINESE, causes) == "启动, 编辑, 重新校准, 新的索引, 更换嵌入模型"
    assert run_cause(ENGLISH, f"{causes}, a new question").endswith("model, a new question")
    assert run_cause(CHINESE, "moonshine") == "moonshine"
