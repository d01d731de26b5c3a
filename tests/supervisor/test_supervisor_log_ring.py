"""The last lines of the log."""

import logging

import pytest

from appliance.log_ring import MAX_MESSAGE_CHARS, LogRing

pytestmark = pytest.mark.unit


@pytest.fixture
def ring() -> LogRing:
    return LogRing(3)


def log(ring: LogRing, level: int, message: str, *args: object) -> None:
    ring.handle(logging.LogRecord("appliance.x", level, "f.py", 1, message, args, None))


def read(ring: LogRing, **options: object) -> list[str]:
    wanted = {"level": "debug", "words": "", "after": 0, "limit": 100} | options
    return [line.message for line in ring.read(**wanted).items]  # type: ignore[arg-type]  # as above


def test_the_oldest_lines_are_forgotten_and_numbers_go_on(ring: LogRing) -> None:
    for n in range(5):
        log(ring, logging.INFO, "line %d", n)
    page = ring.read(level="debug", words="", after=0, limit=10)
    assert [(line.number, line.message) for line in page.items] == [
        (3, "line 2"),
        (4, "line 3"),
        (5, "line 4"),
    ]
    assert page.last == 5


def test_lines_are_chosen_by_level_words_place_and_number(ring: LogRing) -> None:
    log(ring, logging.DEBUG, "Small")
    log(ring, logging.WARNING, "small warning")
    log(ring, logging.CRITICAL, "big")
    assert read(ring, words="SMALL") == ["Small", "small warning"]
    assert read(ring, words="appliance.x", level="warning") == ["small warning", "big"]
    assert read(ring, level="error") == ["big"]
    assert read(ring, after=2) == ["big"]
    assert read(ring, limit=1) == ["big"]


def test_a_broken_or_endless_record_is_kept_as_far_as_it_goes(ring: LogRing) -> None:
    log(ring, logging.INFO, "%d", "no number")
    log(ring, logging.INFO, "x" * 10_000)
    assert read(ring) == ["%d", "x" * MAX_MESSAGE_CHARS]
