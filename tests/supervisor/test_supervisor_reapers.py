"""What the reapers conclude from the states of workers' processes."""

from typing import Any, cast

import pytest

from appliance.background.reaper import Reaper
from appliance.runtime.reapers import Reapers
from appliance.schema.status import ChildStatus

pytestmark = pytest.mark.unit


class Heard:
    def __init__(self) -> None:
        self.losses: list[tuple[str, bool, str]] = []

    def lost(self, worker_name: str, *, died: bool, words: str = "") -> None:
        self.losses.append((worker_name, died, words))


def told(*changes: tuple[str, str]) -> list[tuple[str, bool, str]]:
    """Losses told to the reaper of the pool, of changes of one worker's state and detail."""
    heard = Heard()
    reapers = Reapers(lambda pool: cast(Reaper, heard))
    reapers.watch("pool")
    for state, detail in changes:
        status: dict[str, Any] = {"pid": 1, "restarts": 0, "uptime_s": 1.0, "rss_bytes": 0}
        child = ChildStatus(name="worker-1", state=state, detail=detail, **status)
        reapers.child_changed(child, "pool")
    return heard.losses


def test_what_had_the_name_before_is_gone_once_however_often_a_start_tells_its_progress() -> None:
    start = [("starting", ""), ("starting", "10 %"), ("starting", "100 %"), ("ready", "")]
    assert told(*start) == [("worker-1", False, "")]


def test_every_death_counts_with_its_last_words() -> None:
    death = [("starting", ""), ("ready", ""), ("backing_off", "was ended by SIGKILL")]
    died = ("worker-1", True, "was ended by SIGKILL")
    assert told(*death, *death) == [("worker-1", False, ""), died] * 2


def test_one_that_was_stopped_did_not_die() -> None:
    assert told(("starting", ""), ("ready", ""), ("stopping", ""), ("stopped", "")) == [
        ("worker-1", False, ""),
        ("worker-1", False, ""),
    ]


def test_an_unwatched_pool_hears_nothing() -> None:
    reapers = Reapers(lambda pool: cast(Reaper, Heard()))
    status: dict[str, Any] = {"pid": None, "restarts": 0, "uptime_s": 0.0, "rss_bytes": 0}
    child = ChildStatus(name="worker-1", state="failed", detail="", **status)
    reapers.child_changed(child, "elsewhere")
