"""The fixed window, the token bucket and budgets, against lists of what was let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.limiter.budgets import Budget
from appliance.limiter.verdict import Action, Refuse, Run
from appliance.limiter.windows import FixedWindow, TokenBucket

pytestmark = pytest.mark.unit

STEPS = st.lists(st.floats(0.0, 30.0), min_size=1, max_size=80)


def runs(actions: list[Action]) -> list[str]:
    return [action.request_id for action in actions if isinstance(action, Run)]


@given(STEPS, st.integers(1, 5))
def test_no_window_lets_more_through_than_its_limit(steps: list[float], limit: int) -> None:
    window = FixedWindow(limit, 60.0)
    now_s, passed = 0.0, []
    for step in steps:
        now_s += step
        wait_s = window.take("k", now_s)
        if wait_s == 0:
            passed.append(now_s)
        else:
            assert window.left("k", now_s) == 0
            assert window.left("k", now_s + wait_s) == limit
    for start in range(40):
        assert sum(start * 60 <= at < start * 60 + 60 for at in passed) <= limit


def test_keys_of_a_window_are_apart_and_forgotten_together() -> None:
    window = FixedWindow(1, 60.0)
    assert window.take("a", 0.0) == 0
    assert window.take("b", 0.0) == 0
    assert window.take("a", 20.0) == 40.0
    assert window.take("a", 60.0) == 0
    assert window.take("a", 59.0) > 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["arrive", "cancel", "use"]), st.floats(0.0, 5.0)), max_size=80
    )
)
def test_a_bucket_never_grants_more_than_it_held_and_was_refilled_with(
    events: list[tuple[str, float]],
) -> None:
    bucket = TokenBucket(3, 0.5, 10, 0.0)
    now_s, granted, used, number = 0.0, [], 0, 0
    for kind, step_s in events:
        now_s += step_s
        actions = bucket.tick(now_s)
        if kind == "arrive":
            number += 1
            actions += bucket.arrived(f"r{number}", deadline_s=now_s + 8.0, now_s=now_s)
        granted += runs(actions)
        if granted and kind == "cancel":
            granted += runs(bucket.cancelled(granted.pop(), now_s=now_s))
        elif granted and kind == "use":
            bucket.used(granted.pop())
            used += 1
        assert used + len(granted) <= 3 + 0.5 * now_s + 1e-6


def test_grants_go_to_who_waits_longest_and_cancelled_ones_are_not_lost() -> None:
    bucket = TokenBucket(1, 0.1, 2, 0.0)
    assert runs(bucket.arrived("a", deadline_s=100, now_s=0)) == ["a"]
    assert bucket.arrived("b", deadline_s=100, now_s=0) == []
    assert bucket.arrived("c", deadline_s=5, now_s=0) == []
    (full,) = bucket.arrived("d", deadline_s=100, now_s=0)
    assert isinstance(full, Refuse)
    assert full.retry_after_s == pytest.approx(30.0)
    assert runs(bucket.cancelled("a", now_s=1)) == ["b"]
    assert bucket.next_due_s() == 5
    (late,) = bucket.tick(5)
    assert isinstance(late, Refuse)
    assert (late.request_id, late.reason) == ("c", "waited_out")
    assert bucket.waiting == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60), st.floats(0.0, 40.0), st.booleans()),
        max_size=60,
    )
)
def test_a_budget_is_never_passed_and_comes_back(
    events: list[tuple[int, int, float, bool]],
) -> None:
    budget = Budget(100, 60.0)
    now_s, open_holds, used = 0.0, [], []
    for amount, real, step_s, refund in events:
        now_s += step_s
        if budget.reserve(amount, now_s):
            open_holds.append(amount)
        else:
            wait_s = budget.retry_after_s(amount, now_s)
            assert 0 < wait_s <= 61.0
        if open_holds and real % 2:
            hold = open_holds.pop(0)
            if refund:
                budget.refund(hold)
            else:
                budget.settle(hold, min(real, hold), now_s)
                used.append((now_s, min(real, hold)))
        recent = sum(n for at_s, n in used if at_s > now_s - 60.0)
        assert recent + sum(open_holds) <= 100
        assert recent <= budget.used(now_s) <= sum(n for at, n in used if at > now_s - 61.5)
    for hold in open_holds:
        budget.refund(hold)
    assert budget.left(now_s + 61.0) == 100
