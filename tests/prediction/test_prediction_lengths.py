"""The model in service: it learns from ends, and what it learned outlives the process."""

import numpy as np
import pytest

from appliance import keys
from appliance.bus.client import AWAY, Bus
from appliance.prediction.lengths import REMEMBERED, Lengths, kendall_tau

pytestmark = pytest.mark.integration

ASK = "write a long story"


async def lengths(bus: Bus) -> Lengths:
    made = Lengths(bus)
    await made.use("model-a", 4)
    return made


def teach(made: Lengths, answers: int, tokens: int) -> None:
    for n in range(answers):
        made.predict(f"r{n}", "ann", ASK, bound=4096, vector=[0.5] * 4)
        made.ended(f"r{n}", tokens=tokens, cut=False)


async def test_answers_teach_and_their_prediction_was_made_before(bus: Bus) -> None:
    made = await lengths(bus)
    teach(made, 50, 400)
    assert made.predict("x", "bob", ASK, bound=4096, vector=[0.5] * 4).p50 == pytest.approx(
        400, rel=0.1
    )
    found = made.quality()
    assert found.answers == 50
    assert found.error > 0.05, "the first answers were a surprise"


async def test_what_was_learned_outlives_the_process(bus: Bus) -> None:
    made = await lengths(bus)
    teach(made, 50, 400)
    await made.save()
    again = await lengths(bus)
    before = made.predict("x", "bob", ASK, bound=4096, vector=[0.5] * 4)
    after = again.predict("x", "bob", ASK, bound=4096, vector=[0.5] * 4)
    assert after.p50 == pytest.approx(before.p50, rel=1e-2)  # errors are looked at anew
    other = Lengths(bus)
    await other.use("model-b", 4)
    assert other.predict("x", "bob", ASK, bound=4096).p50 == pytest.approx(120, rel=0.01)


async def test_a_store_that_is_away_at_the_start_costs_nothing_that_was_learned(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await lengths(bus)
    teach(before, 50, 400)
    await before.save()

    async def away(key: str) -> bytes:
        raise AWAY[0]

    made = Lengths(bus)
    with monkeypatch.context() as patched:
        patched.setattr(bus, "get", away)
        await made.use("model-a", 4)
    teach(made, 1, 10)
    await made.save()
    await made.use("model-a", 4)
    learned = before.predict("x", "bob", ASK, bound=4096, vector=[0.5] * 4).p50
    found = made.predict("x", "bob", ASK, bound=4096, vector=[0.5] * 4).p50
    assert found == pytest.approx(learned, rel=1e-2)


@pytest.mark.parametrize("damaged", [b"", b"nonsense", b"\x86\xa5stamp"])
async def test_a_damaged_model_is_a_fresh_one(bus: Bus, damaged: bytes) -> None:
    await bus.set(keys.LENGTHS, damaged)
    made = await lengths(bus)
    assert made.predict("x", "bob", ASK, bound=4096).p50 == pytest.approx(120, rel=0.01)


async def test_refused_unknown_and_forgotten_requests_teach_nothing(bus: Bus) -> None:
    made = await lengths(bus)
    made.ended("never heard of", tokens=900, cut=False)
    made.predict("refused", "ann", ASK, bound=4096)
    made.ended("refused", tokens=0, cut=False)
    for n in range(REMEMBERED + 1):
        made.predict(f"r{n}", "ann", "", bound=4096)
    made.ended("r0", tokens=900, cut=False)
    assert made.quality().answers == 0


async def test_a_person_who_gets_long_answers_is_expected_to_again(bus: Bus) -> None:
    made = await lengths(bus)
    for n in range(200):
        uid, tokens = ("ann", 600) if n % 2 else ("bob", 60)
        made.predict(f"r{n}", uid, ASK, bound=4096)
        made.ended(f"r{n}", tokens=tokens, cut=False)
    ann = made.predict("a", "ann", ASK, bound=4096).p50
    bob = made.predict("b", "bob", ASK, bound=4096).p50
    assert ann > 2 * bob


def naive_tau(left: list[float], right: list[float]) -> float:
    agree = disagree = left_ties = right_ties = 0
    for i in range(len(left)):
        for j in range(i):
            a, b = left[i] - left[j], right[i] - right[j]
            agree += a * b > 0
            disagree += a * b < 0
            left_ties += a == 0
            right_ties += b == 0
    pairs = len(left) * (len(left) - 1) / 2
    below = ((pairs - left_ties) * (pairs - right_ties)) ** 0.5
    return (agree - disagree) / below if below else 0.0


@pytest.mark.parametrize(
    ("left", "right"),
    [([1.0, 2, 3], [1.0, 2, 3]), ([1.0, 2, 3, 3], [4.0, 3, 3, 1]), ([1.0, 1], [1.0, 2])],
)
def test_kendall_tau_is_that_of_counted_pairs(left: list[float], right: list[float]) -> None:
    assert kendall_tau(np.array(left), np.array(right)) == pytest.approx(naive_tau(left, right))
