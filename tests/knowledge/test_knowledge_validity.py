"""When an entry answers: dates are whole days, and a bad period is refused with its field."""

import datetime
import time
from collections.abc import Iterator

import pytest

from appliance.errors import Invalid
from appliance.knowledge.entries import content, first_version
from appliance.knowledge.text import tidied
from appliance.knowledge.validity import check_period, is_valid
from appliance.schema.faq import EntryPut

pytestmark = pytest.mark.unit


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).astimezone()


def answers(moment: str, valid_from: str = "", valid_until: str = "") -> bool:
    put = EntryPut(
        question="Is the pool open?", answer="Yes.", valid_from=valid_from, valid_until=valid_until
    )
    put = tidied(put)
    entry = first_version(put, at_ms=0, entry_id="f1")
    assert content(entry) == put
    return is_valid(entry, at(moment))


def test_without_a_period_an_entry_always_answers() -> None:
    assert answers("1999-01-01T00:00")
    assert answers("2999-01-01T00:00")


def test_a_date_is_the_whole_day() -> None:
    period = {"valid_from": "2026-06-01", "valid_until": "2026-06-30"}
    assert not answers("2026-05-31T23:59:59", **period)
    assert answers("2026-06-01T00:00", **period)
    assert answers("2026-06-30T23:59:59", **period)
    assert not answers("2026-07-01T00:00", **period)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("day", "last", "over"),
    [
        ("2026-03-29", "2026-03-29T21:59:59+00:00", "2026-03-29T22:00:00+00:00"),
        ("2026-10-25", "2026-10-25T22:59:59+00:00", "2026-10-25T23:00:00+00:00"),
    ],
)
def test_a_day_on_which_the_clocks_change_ends_at_midnight(day: str, last: str, over: str) -> None:
    assert answers(last, valid_until=day)
    assert not answers(over, valid_until=day)


def test_a_time_with_an_offset_is_that_moment_everywhere() -> None:
    period = {"valid_until": "2026-06-30T12:00+08:00"}
    assert answers("2026-06-30T03:59:59+00:00", **period)
    assert not answers("2026-06-30T04:00:00+00:00", **period)


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "field"),
    [
        ("2026-02-30", "", "valid_from"),
        ("", "2026-13-01", "valid_until"),
        ("2026-06-02", "2026-06-01", "valid_until"),
        ("2026-06-02T10:00", "2026-06-02T10:00", "valid_until"),
        ("", "9999-12-31", "valid_until"),
    ],
)
def test_a_period_that_cannot_be_is_refused(valid_from: str, valid_until: str, field: str) -> None:
    with pytest.raises(Invalid, match=f"^{field}: "):
        check_period(valid_from, valid_until)
