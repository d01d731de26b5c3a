"""Continuous batching as rules: nobody starves, no bound is broken, nobody leaves twice."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.worker.backend import Shape
from appliance.worker.schedule import Scheduler, Share

pytestmark = pytest.mark.unit


@dataclass(frozen=True)
class Arrival:
    at_step: int
    length: int
    new_tokens: int
    leaves_after: int | None  # cancelled after so many steps, None: runs to its end


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    slots = draw(st.integers(1, 5))
    context = draw(st.integers(2, 40))
    return Shape(
        slots=slots,
        context_tokens=context,
        cache_tokens=draw(st.integers(context, 120)),
        step_tokens=draw(st.integers(slots, slots + 12)),
    )


arrival_lists = st.lists(
    st.builds(
        Arrival,
        at_step=st.integers(0, 20),
        length=st.integers(1, 39),
        new_tokens=st.integers(1, 20),
        leaves_after=st.none() | st.integers(0, 10),
    ),
    max_size=12,
)


class Ledger:
    """Runs a scheduler against a made-up model and keeps its own account of everything."""

    def __init__(self, shape: Shape, arrivals: list[Arrival]) -> None:
        self.shape = shape
        self.scheduler = Scheduler(shape)
        self.arrivals = {
            f"r{n}": arrival
            for n, arrival in enumerate(arrivals)
            if arrival.length < shape.context_tokens
        }
        self.order: list[str] = []
        self.admitted: list[str] = []
        self.slots: dict[str, int] = {}
        self.known: dict[str, int] = {}
        self.cached: Counter[str] = Counter()
        self.added: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.age: Counter[str] = Counter()

    def run(self) -> None:
        step = 0
        while sum(self.left.values()) < len(self.arrivals):
            assert step < 10_000, "it never ends"
            self.arrive(step)
            self.admit()
            self.step(self.scheduler.plan())
            self.cancel()
            step += 1

    def arrive(self, step: int) -> None:
        for request_id, arrival in self.arrivals.items():
            if arrival.at_step == step:
                self.scheduler.submit(
                    request_id, length=arrival.length, new_tokens=arrival.new_tokens
                )
                self.order.append(request_id)
                self.known[request_id] = arrival.length

    def admit(self) -> None:
        for admission in self.scheduler.admit():
            assert admission.slot not in self.slots.values()
            assert 0 <= admission.slot < self.shape.slots
            self.slots[admission.request_id] = admission.slot
            self.admitted.append(admission.request_id)
        reserved = sum(map(self.most, self.slots))
        assert reserved <= self.shape.cache_tokens
        assert self.scheduler.free_cells == self.shape.cache_tokens - reserved

    def most(self, request_id: str) -> int:
        arrival = self.arrivals[request_id]
        return min(arrival.length + arrival.new_tokens, self.shape.context_tokens)

    def step(self, shares: list[Share]) -> None:
        assert bool(shares) == bool(self.slots), "a step is empty only when nothing runs"
        assert sum(share.count for share in shares) <= self.shape.step_tokens
        planned = {share.request_id: share for share in shares}
        assert len(planned) == len(shares), "a sequence is in a step once"
        for request_id in self.slots:
            if self.known[request_id] - self.cached[request_id] == 1:
                assert request_id in planned, "every running answer advances"
        prompts = [one for one in self.admitted if self.is_prompt(one)]
        if prompts:
            assert prompts[0] in planned, "the oldest prompt advances"
        self.scheduler.decoded(shares)
        for share in shares:
            self.advance(share)

    def is_prompt(self, request_id: str) -> bool:
        return request_id in self.slots and self.known[request_id] - self.cached[request_id] > 1

    def advance(self, share: Share) -> None:
        one = share.request_id
        assert share.count > 0
        assert share.slot == self.slots[one]
        assert share.start == self.cached[one]
        self.cached[one] += share.count
        assert share.last == (self.cached[one] == self.known[one])
        if not share.last:
            return
        self.known[one] += 1
        self.added[one] += 1
        self.scheduler.sampled(one)
        assert self.scheduler.room(one) == self.most(one) - self.known[one]
        if self.scheduler.room(one) == 0:
            self.leave(one)

    def leave(self, request_id: str) -> None:
        slot = self.scheduler.remove(request_id)
        assert slot == self.slots.pop(request_id, None)
        self.left[request_id] += 1

    def cancel(self) -> None:
        for request_id in self.order:
            if self.left[request_id]:
                continue
            self.age[request_id] += 1
            leaves_after = self.arrivals[request_id].leaves_after
            if leaves_after is not None and self.age[request_id] > leaves_after:
                self.leave(request_id)


@given(shapes(), arrival_lists)
@settings(max_examples=300)
def test_every_request_leaves_once_and_no_bound_is_broken_on_the_way(
    shape: Shape, arrivals: list[Arrival]
) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    assert all(ledger.left[one] == 1 for one in ledger.arrivals)
    assert ledger.scheduler.free_cells == shape.cache_tokens
    assert (ledger.scheduler.running, ledger.scheduler.waiting) == (0, 0)


@given(shapes(), arrival_lists)
@settings(max_examples=200)
def test_requests_start_in_the_order_they_came(shape: Shape, arrivals: list[Arrival]) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    started = set(ledger.admitted)
    assert ledger.admitted == [one for one in ledger.order if one in started]


@given(shapes(), arrival_lists)
@settings(max_examples=200)
def test_an_answer_that_nobody_stops_gets_all_its_tokens(
    shape: Shape, arrivals: list[Arrival]
) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    for request_id, arrival in ledger.arrivals.items():
        if arrival.leaves_after is None:
            assert ledger.added[request_id] == ledger.most(request_id) - arrival.length


def test_a_long_prompt_gets_what_running_answers_leave_of_a_step() -> None:
    scheduler = Scheduler(Shape(slots=2, context_tokens=100, cache_tokens=200, step_tokens=8))
    scheduler.submit("short", length=1, new_tokens=50)
    scheduler.submit("long", length=20, new_tokens=10)
    scheduler.admit()
    shares = {share.request_id: share for share in scheduler.plan()}
    assert (shares["short"].count, shares["short"].last) == (1, True)
    assert (shares["long"].count, shares["long"].last) == (7, False)


def test_a_large_request_at_the_head_is_not_overtaken() -> None:
    scheduler = Scheduler(Shape(slots=3, context_tokens=60, cache_tokens=60, step_tokens=8))
    scheduler.submit("first", length=10, new_tokens=10)
    scheduler.submit("large", length=40, new_tokens=10)
    scheduler.submit("small", length=1, new_tokens=1)
    assert [one.request_id for one in scheduler.admit()] == ["first"]
    scheduler.remove("first")
    assert [one.request_id for one in scheduler.admit()] == ["large", "small"]


@pytest.mark.parametrize(
    "sizes",
    [
        {"slots": 0},
        {"slots": 9, "step_tokens": 8},
        {"context_tokens": 1},
        {"context_tokens": 100, "cache_tokens": 99},
    ],
)
def test_sizes_that_contradict_each_other_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(Invalid):
        Shape(**sizes)
