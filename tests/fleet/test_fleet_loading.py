"""Loading on demand: whatever is asked for in whatever order, the bounds hold and all are served.

The oracle plays the caller: it does what is decided, with a load that takes a while and answers
that take a while, and checks the bounds after each step.
"""

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.fleet.loading import (
    Drain,
    Load,
    Refuse,
    Room,
    State,
    Unload,
    View,
    decide,
    next_due_s,
)

pytestmark = pytest.mark.unit

ROOM = Room(bound=2, ceiling_bytes=100, free_bytes=100, idle_unload_s=60.0)


def view(name: str, state: State = "on_disk", **more: float | None) -> View:
    return View(name=name, state=state, **more)  # type: ignore[arg-type] # ints are given for ints


def test_what_fits_is_loaded() -> None:
    models = [view("a", needed_bytes=60, wanted_since_s=1), view("b", needed_bytes=40)]
    assert decide(models, ROOM, now_s=2) == [Load("a")]


def test_one_load_at_a_time_and_the_oldest_wish_first() -> None:
    models = [view("a", wanted_since_s=5), view("b", wanted_since_s=3)]
    assert decide(models, ROOM, now_s=6) == [Load("b")]
    models = [view("a", wanted_since_s=5), view("b", "loading")]
    assert decide(models, ROOM, now_s=6) == []


def test_the_longest_idle_makes_room() -> None:
    models = [
        view("a", "loaded", needed_bytes=50, used_at_s=20),
        view("b", "loaded", needed_bytes=50, used_at_s=10),
        view("c", needed_bytes=50, wanted_since_s=30),
    ]
    assert decide(models, ROOM, now_s=31) == [Unload("b")]


def test_one_with_work_is_drained_and_then_unloaded() -> None:
    busy = view("a", "loaded", needed_bytes=80, users=2, used_at_s=30)
    wanted = view("b", needed_bytes=50, wanted_since_s=30)
    assert decide([busy, wanted], ROOM, now_s=31) == [Drain("a")]
    draining = view("a", "draining", needed_bytes=80, users=1, wanted_since_s=31)
    assert decide([draining, wanted], ROOM, now_s=32) == []
    drained = view("a", "draining", needed_bytes=80, wanted_since_s=31)
    assert decide([drained, wanted], ROOM, now_s=33) == [Unload("a")]


def test_those_who_waited_come_in_before_it_leaves_for_others() -> None:
    loaded = view("a", "loaded", needed_bytes=80, wanted_since_s=1, used_at_s=5)
    wanted = view("b", needed_bytes=50, wanted_since_s=2)
    assert decide([loaded, wanted], ROOM, now_s=6) == []
    entered = view("a", "loaded", needed_bytes=80, users=1, used_at_s=6)
    assert decide([entered, wanted], ROOM, now_s=6) == [Drain("a")]


def test_what_can_never_fit_is_refused_and_the_next_is_served() -> None:
    models = [
        view("giant", needed_bytes=101, wanted_since_s=1),
        view("b", needed_bytes=50, wanted_since_s=2),
    ]
    refused, loaded = decide(models, ROOM, now_s=3)
    assert isinstance(refused, Refuse)
    assert refused.name == "giant"
    assert loaded == Load("b")


def test_memory_that_others_hold_is_a_reason_to_refuse() -> None:
    room = Room(bound=2, ceiling_bytes=10**10, free_bytes=10**9, idle_unload_s=60.0)
    (refused,) = decide([view("a", needed_bytes=2 * 10**9, wanted_since_s=1)], room, now_s=2)
    assert isinstance(refused, Refuse)
    assert "needs about 2.0 GB of memory and 1.0 GB are free" in refused.message


def test_idle_models_leave_when_their_time_is_over() -> None:
    models = [view("a", "loaded", used_at_s=10), view("b", "loaded", users=1, used_at_s=10)]
    assert next_due_s(models, ROOM) == 70
    assert decide(models, ROOM, now_s=69) == []
    assert decide(models, ROOM, now_s=70) == [Unload("a")]


@dataclass
class _Model:
    needed: int
    state: State = "on_disk"
    left: int = 0  # steps until its load or unload is done
    running: list[int] = field(default_factory=list)  # steps until each answer is done
    waiting: list[int] = field(default_factory=list)  # since when each request waits
    late: int = 0  # steps that those who waited take to come in
    used_at: int = 0


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_bounds_hold_and_nobody_waits_for_ever(seed: int, bound: int) -> None:
    chance = random.Random(seed)
    room = Room(bound=bound, ceiling_bytes=100, free_bytes=1000, idle_unload_s=20.0)
    models = {name: _Model(needed=chance.randint(10, 120)) for name in "abcd"}
    served = refused = asked = 0
    for step in range(400):
        if step < 200 and chance.random() < 0.4:
            models[chance.choice("abcd")].waiting.append(step)
            asked += 1
        for one in models.values():
            one.left -= one.left > 0
            if not one.left and one.state in ("loading", "unloading"):
                one.state = "loaded" if one.state == "loading" else "on_disk"
                one.used_at, one.late = step, chance.randint(0, 3)
            one.late -= one.late > 0
            if one.state == "loaded" and not one.late:
                one.running += [chance.randint(1, 5) for _ in one.waiting]
                one.waiting = []
            if one.running:
                assert one.state in ("loaded", "draining"), "what works is never unloaded"
                served += one.running.count(1)
                one.running = [left - 1 for left in one.running if left > 1]
                one.used_at = step
        views = [
            View(
                name=name,
                state=one.state,
                needed_bytes=one.needed,
                users=len(one.running),
                wanted_since_s=one.waiting[0] if one.waiting else None,
                used_at_s=one.used_at,
            )
            for name, one in models.items()
        ]
        for action in decide(views, room, now_s=step):
            one = models[action.name]
            match action:
                case Load():
                    one.state, one.left = "loading", 3
                case Drain():
                    one.state = "draining"
                case Unload():
                    assert not one.running
                    one.state, one.left = "unloading", 2
                case Refuse():
                    assert one.needed > 100, "only what can never fit"
                    refused += len(one.waiting)
                    one.waiting = []
        up = [one for one in models.values() if one.state not in ("on_disk", "failed")]
        assert len(up) <= bound
        assert sum(one.needed for one in up) <= 100
    assert served + refused == asked
    assert all(one.state == "on_disk" for one in models.values()), "idle ones have left"
