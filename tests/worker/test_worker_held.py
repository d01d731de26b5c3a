"""Who may start beside whom after a worker died."""

import pytest

from appliance.bus.leases import TRIAL_PIECES
from appliance.schema.requests import Work
from appliance.schema.sampling import Sampling
from appliance.worker.gauge import EngineStatus
from appliance.worker.held import Job, may_start, waiting

pytestmark = pytest.mark.unit


def job(name: str, *, deaths: int = 0, new_pieces: int = 0, since_step: int = 0) -> Job:
    work = Work(
        request_id=name,
        uid="u",
        session_id="",
        messages=(),
        sampling=Sampling(),
        created_at_ms=0,
        admitted_at_ms=0,
        deadline_at_ms=0,
    )
    return Job(
        work,
        "1-0",
        deaths=deaths,
        emitted=20 + new_pieces,
        resumed=20,
        computing=True,
        since_step=since_step,
    )


FRESH, SUSPECT, LONER = (job("a", deaths=deaths) for deaths in (0, 1, 2))
PROVEN = job("b", new_pieces=TRIAL_PIECES)
PROVEN_SUSPECT = job("c", deaths=1, new_pieces=TRIAL_PIECES)


@pytest.mark.parametrize(
    ("one", "others", "may"),
    [
        (FRESH, [FRESH, PROVEN, PROVEN_SUSPECT], True),
        (FRESH, [PROVEN, SUSPECT], False),
        (FRESH, [LONER], False),
        (SUSPECT, [], True),
        (SUSPECT, [PROVEN, PROVEN_SUSPECT], True),
        (SUSPECT, [FRESH], False),
        (SUSPECT, [SUSPECT], False),
        (SUSPECT, [LONER], False),
        (LONER, [], True),
        (LONER, [PROVEN], False),
    ],
)
def test_a_suspect_starts_when_all_are_proven_and_keeps_others_out_until_it_is(
    one: Job, others: list[Job], may: bool
) -> None:
    assert may_start(one, others, attempts=2) is may


def test_only_what_a_step_has_passed_over_counts_as_waiting() -> None:
    held = [job("a", new_pieces=3), job("b"), job("c", since_step=5), job("d", since_step=9)]
    assert waiting(held, EngineStatus(waiting=2, steps=10)) == {"c"}
    assert waiting(held, EngineStatus(waiting=2, steps=11)) == {"c", "d"}
    assert waiting(held, EngineStatus(waiting=0, steps=11)) == set()
