"""Quiet hours and when a message is delivered: rules over a clock."""

import datetime
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.people.quiet import (
    QuietHours,
    Wanted,
    after_quiet_hours,
    check_quiet,
    plan,
    quiet_hours,
)

pytestmark = pytest.mark.unit

SHANGHAI = "Asia/Shanghai"
DAY_MS = 86_400_000
NIGHT = quiet_hours("22:00-07:00", SHANGHAI)


def at(text: str, zone: str = SHANGHAI) -> int:
    moment = datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone))
    return int(1000 * moment.timestamp())


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-03-01 21:59", "2026-03-01 21:59"),
        ("2026-03-01 22:00", "2026-03-02 07:00"),
        ("2026-03-01 23:30", "2026-03-02 07:00"),
        ("2026-03-02 00:00", "2026-03-02 07:00"),
        ("2026-03-02 06:59", "2026-03-02 07:00"),
        ("2026-03-02 07:00", "2026-03-02 07:00"),
    ],
)
def test_a_message_in_the_night_waits_for_the_morning(now: str, then: str) -> None:
    assert after_quiet_hours(at(now), NIGHT) == at(then)


def test_quiet_hours_within_a_day_end_on_that_day() -> None:
    noon = quiet_hours("12:00 - 14:30", SHANGHAI)
    assert after_quiet_hours(at("2026-03-01 13:00"), noon) == at("2026-03-01 14:30")
    assert after_quiet_hours(at("2026-03-01 15:00"), noon) == at("2026-03-01 15:00")


def test_the_end_is_what_the_clocks_show_when_they_change() -> None:
    berlin = quiet_hours("22:00-07:00", "Europe/Berlin")
    found = after_quiet_hours(at("2026-03-28 23:00", "Europe/Berlin"), berlin)
    assert found == at("2026-03-29 07:00", "Europe/Berlin")
    assert found - at("2026-03-28 23:00", "Europe/Berlin") == 7 * 3_600_000, "an hour is skipped"


@pytest.mark.parametrize(
    "text",
    [
        "22：00-07：00",
        "22:00～07:00",
        "22:00—07:00",
        "22:00——7:00",
        "22:00 – 07:00",
        "２２:00至07:00",
    ],
)
def test_hours_are_read_from_any_keyboard(text: str) -> None:
    assert quiet_hours(text, SHANGHAI) == NIGHT
    check_quiet({"quiet_hours": text, "timezone": SHANGHAI})


@pytest.mark.parametrize(
    "attributes", [{"quiet_hours": "22-7"}, {"quiet_hours": "夜里"}, {"timezone": "Nowhere/Else"}]
)
def test_what_cannot_be_read_is_refused_where_it_is_set(attributes: dict[str, str]) -> None:
    with pytest.raises(Invalid, match=next(iter(attributes))):
        check_quiet(attributes)
    check_quiet(dict.fromkeys(attributes, ""))
    check_quiet(dict.fromkeys(attributes))


@pytest.mark.parametrize("text", ["", "22-7", "25:00-07:00", "22:00", "08:00-08:00", "夜里"])
def test_hours_that_cannot_be_read_are_none(text: str) -> None:
    assert quiet_hours(text, SHANGHAI) is None


@pytest.mark.parametrize("zone", ["Nowhere/Else", "../etc/passwd", "\0", "", "x" * 300])
def test_a_zone_that_is_none_is_the_machines(zone: str) -> None:
    found = quiet_hours("22:00-07:00", zone)
    assert found is not None
    assert found.zone is None
    after_quiet_hours(at("2026-03-01 23:00"), found)


@given(
    st.integers(0, 2**41),
    st.times(),
    st.times(),
    st.sampled_from(sorted(zoneinfo.available_timezones())[::25]),
)
def test_what_comes_out_is_never_earlier_nor_a_day_later(
    now: int, start: datetime.time, end: datetime.time, zone: str
) -> None:
    quiet = QuietHours(start, end, zoneinfo.ZoneInfo(zone))
    assert now <= after_quiet_hours(now, quiet) <= now + DAY_MS + 2 * 3_600_000


def test_an_urgent_message_does_not_wait_and_a_dated_one_does() -> None:
    now = at("2026-03-01 23:00")
    calm = plan(Wanted(), NIGHT, now_ms=now, kept_ms=DAY_MS)
    assert (calm.deliver_at_ms, calm.reason) == (at("2026-03-02 07:00"), "quiet_hours")
    urgent = plan(Wanted(urgent=True), NIGHT, now_ms=now, kept_ms=DAY_MS)
    assert (urgent.deliver_at_ms, urgent.reason) == (now, "")
    noon = at("2026-03-02 12:00")
    dated = plan(Wanted(deliver_at_ms=noon), NIGHT, now_ms=now, kept_ms=DAY_MS)
    assert (dated.deliver_at_ms, dated.reason) == (noon, "asked")
    assert dated.expires_at_ms == noon + DAY_MS


def test_a_time_that_has_passed_is_now() -> None:
    now = at("2026-03-01 12:00")
    assert plan(Wanted(deliver_at_ms=1), NIGHT, now_ms=now, kept_ms=DAY_MS).deliver_at_ms == now


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(expires_at_ms=at("2026-03-02 06:00")), "quiet hours"),
        (Wanted(expires_at_ms=at("2026-03-01 22:00")), "would expire"),
        (Wanted(deliver_at_ms=at("2026-03-04 12:00")), "too far away"),
    ],
)
def test_what_nobody_would_get_to_read_is_refused(wanted: Wanted, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        plan(wanted, NIGHT, now_ms=at("2026-03-01 23:00"), kept_ms=DAY_MS)
