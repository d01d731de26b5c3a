"""The fair queue, as a pure state machine and against a naive model of it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.limiter.queue import Action, Admit, FairQueue, Refuse, Wait

pytestmark = pytest.mark.unit

FAR = 1e9


def queue(
    *, capacity: int = 0, bound: int = 100, per_user: int = 100, news: float = 1.0
) -> FairQueue:
    made = FairQueue(
        bound=bound,
        bound_per_user=per_user,
        news_interval_s=news,
        no_worker_after_s=60.0,
        now_s=0.0,
    )
    made.workers_changed(capacity, now_s=0.0)
    return made


def admitted(actions: list[Action]) -> list[str]:
    return [action.request_id for action in actions if isinstance(action, Admit)]


def places(actions: list[Action]) -> dict[str, int]:
    return {action.request_id: action.place for action in actions if isinstance(action, Wait)}


def test_a_request_runs_at_once_while_there_is_capacity() -> None:
    assert queue(capacity=1).arrived("a", "u", deadline_s=FAR, now_s=0) == [Admit("a", 0)]


def test_a_request_beyond_capacity_is_told_its_place_and_runs_when_a_slot_is_free() -> None:
    limiter = queue(capacity=1)
    limiter.arrived("a", "u", deadline_s=FAR, now_s=0)
    (told,) = limiter.arrived("b", "v", deadline_s=FAR, now_s=1)
    assert isinstance(told, Wait)
    assert told.place == 1
    assert told.eta_s is not None
    assert told.eta_s > 0
    assert admitted(limiter.ended("a", now_s=5)) == ["b"]


def test_users_take_turns_so_a_flooder_delays_only_himself() -> None:
    limiter = queue(capacity=1)
    for n in range(10):
        limiter.arrived(f"flood{n}", "flooder", deadline_s=FAR, now_s=0)
    limiter.arrived("mine", "quiet", deadline_s=FAR, now_s=0)
    served = ["flood0"]
    while len(served) < 11:
        served += admitted(limiter.ended(served[-1], now_s=1))
    assert served.index("mine") <= 2
    assert [name for name in served if name != "mine"] == [f"flood{n}" for n in range(10)]


def test_places_are_the_order_in_which_slots_are_given() -> None:
    limiter = queue(capacity=1, news=0.0)
    limiter.arrived("running", "z", deadline_s=FAR, now_s=0)
    told: dict[str, int] = {}
    for number, uid in enumerate(["a", "a", "b", "c", "b", "a"]):
        told |= places(limiter.arrived(f"{uid}{number}", uid, deadline_s=FAR, now_s=0))
    order = sorted(told, key=lambda request_id: told[request_id])
    served: list[str] = []
    last = "running"
    for _ in order:
        (last,) = admitted(limiter.ended(last, now_s=0))
        served.append(last)
    assert served == order


def test_news_of_a_place_is_rate_limited_and_sent_when_due() -> None:
    limiter = queue(capacity=1, news=1.0)
    for name in ("a", "b", "c", "d"):
        limiter.arrived(name, name, deadline_s=FAR, now_s=0)
    assert places(limiter.ended("a", now_s=0.5)) == {}
    assert limiter.next_due_s(0.5) == pytest.approx(1.0)
    assert places(limiter.tick(1.0)) == {"c": 1, "d": 2}
    assert limiter.next_due_s(1.0) == FAR


def test_the_queue_is_bounded_in_all_and_per_user() -> None:
    limiter = queue(capacity=0, bound=3, per_user=2)
    for n in range(2):
        limiter.arrived(f"a{n}", "a", deadline_s=FAR, now_s=0)
    (refused,) = limiter.arrived("a2", "a", deadline_s=FAR, now_s=0)
    assert isinstance(refused, Refuse)
    assert refused.reason == "user_queue_full"
    limiter.arrived("b0", "b", deadline_s=FAR, now_s=0)
    (refused,) = limiter.arrived("c0", "c", deadline_s=FAR, now_s=0)
    assert isinstance(refused, Refuse)
    assert refused.reason == "queue_full"
    assert refused.retry_after_s > 0


def test_a_wait_that_cannot_end_before_the_deadline_is_refused_on_arrival() -> None:
    limiter = queue(capacity=1)
    limiter.arrived("a", "u", deadline_s=FAR, now_s=0)
    limiter.service_s = 30.0
    (refused,) = limiter.arrived("b", "v", deadline_s=10.0, now_s=0)
    assert isinstance(refused, Refuse)
    assert refused.reason == "deadline"


def test_a_deadline_that_passes_in_the_queue_refuses_the_request() -> None:
    limiter = queue(capacity=1)
    limiter.arrived("a", "u", deadline_s=FAR, now_s=0)
    limiter.arrived("b", "v", deadline_s=100.0, now_s=0)
    assert limiter.next_due_s(1.0) == 100.0
    assert [a.request_id for a in limiter.tick(100.0) if isinstance(a, Refuse)] == ["b"]
    assert limiter.waiting == 0


def test_without_any_worker_for_long_everybody_is_refused() -> None:
    limiter = queue(capacity=0)
    limiter.arrived("a", "u", deadline_s=FAR, now_s=1)
    assert limiter.next_due_s(1.0) == 60.0
    (refused,) = limiter.tick(60.0)
    assert refused == Refuse("a", "no_worker", 60.0)
    (refused,) = limiter.arrived("b", "u", deadline_s=FAR, now_s=61)
    assert isinstance(refused, Refuse)
    limiter.workers_changed(1, now_s=62)
    assert admitted(limiter.arrived("c", "u", deadline_s=FAR, now_s=62)) == ["c"]


def test_a_notice_that_comes_twice_changes_nothing() -> None:
    limiter = queue(capacity=1)
    limiter.arrived("a", "u", deadline_s=FAR, now_s=0)
    limiter.arrived("b", "u", deadline_s=FAR, now_s=0)
    assert limiter.arrived("a", "u", deadline_s=FAR, now_s=0) == []
    assert limiter.arrived("b", "u", deadline_s=FAR, now_s=0) == []
    assert admitted(limiter.ended("a", now_s=1)) == ["b"]
    assert limiter.ended("a", now_s=1) == []


@given(st.lists(st.floats(0.1, 100.0), min_size=5, max_size=50))
def test_the_expected_wait_follows_how_long_slots_are_held(held: list[float]) -> None:
    limiter = queue(capacity=1)
    now_s = 0.0
    for n, length_s in enumerate(held * 10):
        limiter.arrived(f"r{n}", "u", deadline_s=FAR, now_s=now_s)
        now_s += length_s
        limiter.ended(f"r{n}", now_s=now_s)
    assert min(held) * 0.99 <= limiter.service_s <= max(held) * 1.01


class AnyHistory(RuleBasedStateMachine):
    """Whatever happens, slots are never exceeded, and each request is heard of once."""

    def __init__(self) -> None:
        super().__init__()
        self.limiter = queue(capacity=2, bound=6, per_user=4, news=0.0)
        self.now_s = 0.0
        self.number = 0
        self.running: set[str] = set()
        self.waiting: set[str] = set()
        self.verdicts: Counter[str] = Counter()

    def note(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Wait):
                assert action.request_id in self.waiting
                continue
            self.verdicts[action.request_id] += 1
            self.waiting.discard(action.request_id)
            if isinstance(action, Admit):
                self.running.add(action.request_id)

    @rule(uid=st.sampled_from("abc"), patience_s=st.floats(0.0, 200.0))
    def arrives(self, uid: str, patience_s: float) -> None:
        request_id = f"{uid}{self.number}"
        self.number += 1
        self.waiting.add(request_id)
        self.note(
            self.limiter.arrived(
                request_id, uid, deadline_s=self.now_s + patience_s, now_s=self.now_s
            )
        )

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(request_id)
        self.note(self.limiter.ended(request_id, now_s=self.now_s))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def gives_up(self, data: st.DataObject) -> None:
        request_id = data.draw(st.sampled_from(sorted(self.waiting)))
        self.waiting.discard(request_id)
        self.note(self.limiter.ended(request_id, now_s=self.now_s))

    @rule(seconds=st.floats(0.0, 80.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.note(self.limiter.tick(self.now_s))

    @rule(capacity=st.integers(0, 4))
    def workers_change(self, capacity: int) -> None:
        self.note(self.limiter.workers_changed(capacity, now_s=self.now_s))

    @invariant()
    def holds(self) -> None:
        assert self.limiter.running == len(self.running)
        assert self.limiter.waiting == len(self.waiting) <= 6
        assert set(self.limiter.known()) == self.running | self.waiting
        assert all(count == 1 for count in self.verdicts.values())
        if self.waiting:
            assert len(self.running) >= self.limiter.capacity


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
