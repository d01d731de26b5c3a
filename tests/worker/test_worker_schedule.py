"""Continuous batching as rules: nobody starves, no bound is broken, no cell leaks or is misused."""

from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Invalid
from appliance.worker.actions import Adopt, Cut, Leave, Restore, Span, Start
from appliance.worker.backend import Shape
from appliance.worker.prefix import Owner
from appliance.worker.schedule import Scheduler

pytestmark = pytest.mark.unit

TOPICS = 2  # prompts on the same topic begin with the same tokens


@dataclass(frozen=True)
class Arrival:
    at_step: int
    topic: int
    common: int  # tokens from the topic, the others are its own
    length: int
    new_tokens: int
    drafts: int
    scope: str
    session: str
    public: int
    leaves_after: int | None  # cancelled after so many steps, None: runs to its end
    kept: bool  # whether its cells may stay warm
    saved: int  # of its tokens there is a snapshot
    restores: bool  # whether the snapshot can be used

    def tokens(self, number: int) -> list[int]:
        return [
            1000 * (self.topic + 1) + n if n < self.common else 10_000 * (number + 1) + n
            for n in range(self.length)
        ]


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    slots = draw(st.integers(1, 5))
    context = draw(st.integers(2, 60))
    return Shape(
        slots=slots,
        warm_sequences=draw(st.integers(0, 4)),
        warm_tokens=draw(st.integers(0, 80)),
        context_tokens=context,
        cache_tokens=draw(st.integers(context, 150)),
        step_tokens=draw(st.integers(slots, slots + 20)),
    )


arrival_lists = st.lists(
    st.builds(
        Arrival,
        at_step=st.integers(0, 20),
        topic=st.integers(0, TOPICS - 1),
        common=st.integers(0, 59),
        length=st.integers(1, 59),
        new_tokens=st.integers(1, 20),
        drafts=st.integers(0, 4),
        scope=st.sampled_from(["", "ann", "bob"]),
        session=st.sampled_from(["", "s"]),
        public=st.integers(0, 40),
        leaves_after=st.none() | st.integers(0, 10),
        kept=st.booleans(),
        saved=st.just(0) | st.integers(0, 59),
        restores=st.booleans(),
    ),
    max_size=12,
)


@dataclass
class Cell:
    token: int
    position: int
    public: bool
    readers: set[str]  # scopes that wrote it or were given it
    holders: set[int]


class Cache:
    """Cells as a plain list, knowing nothing of trees."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []

    def held(self, sequence: int) -> list[Cell]:
        mine = [cell for cell in self.cells if sequence in cell.holders]
        return sorted(mine, key=lambda cell: cell.position)

    def cut(self, sequence: int, length: int) -> None:
        for cell in self.held(sequence)[length:]:
            cell.holders.discard(sequence)
        self.cells = [cell for cell in self.cells if cell.holders]


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
        self.cache = Cache()
        self.order: list[str] = []
        self.admitted: list[str] = []
        self.running: dict[str, int] = {}
        self.known: dict[str, list[int]] = {}
        self.added: Counter[str] = Counter()
        self.left: Counter[str] = Counter()
        self.age: Counter[str] = Counter()

    def run(self) -> None:
        step = 0
        while sum(self.left.values()) < len(self.arrivals):
            assert step < 10_000, "it never ends"
            self.arrive(step)
            self.advance()
            self.step(step)
            self.cancel()
            self.check()
            step += 1

    def arrive(self, step: int) -> None:
        for number, (request_id, arrival) in enumerate(self.arrivals.items()):
            if arrival.at_step == step:
                self.known[request_id] = arrival.tokens(number)
                self.scheduler.submit(
                    request_id,
                    self.known[request_id],
                    owner=Owner(
                        scope=arrival.scope, session=arrival.session, public_tokens=arrival.public
                    ),
                    new_tokens=arrival.new_tokens,
                    saved=min(arrival.saved, arrival.length - 1),
                )
                self.order.append(request_id)

    def advance(self) -> None:
        for action in self.scheduler.advance():
            match action:
                case Start(request_id=request_id, sequence=sequence):
                    assert not self.cache.held(sequence), "a sequence starts empty"
                    assert sequence not in self.running.values()
                    assert 0 <= sequence < self.shape.sequences
                    self.running[request_id] = sequence
                    self.admitted.append(request_id)
                case Adopt():
                    self.adopt(action)
                case Cut(sequence=sequence, length=length):
                    assert sequence not in self.running.values(), "only idle ones make room"
                    self.cache.cut(sequence, length)
                case Leave():
                    self.see_leaving(action)
                case Restore():
                    self.restore(action)
        assert len(self.running) <= self.shape.slots

    def see_leaving(self, leave: Leave) -> None:
        """What leaves is told while its cells are still there."""
        assert leave.sequence not in self.running.values()
        held = [cell.token for cell in self.cache.held(leave.sequence)]
        assert leave.tokens.tolist() == held
        assert leave.owner.scope

    def restore(self, restore: Restore) -> None:
        arrival, known = self.arrivals[restore.request_id], self.known[restore.request_id]
        assert restore.sequence == self.running[restore.request_id]
        assert not self.cache.held(restore.sequence), "cells are restored into an empty sequence"
        assert restore.tokens == min(arrival.saved, arrival.length - 1)
        tokens = known[: restore.tokens] if arrival.restores else []
        for position, token in enumerate(tokens):
            public = position < arrival.public
            cell = Cell(token, position, public, {arrival.scope}, {restore.sequence})
            self.cache.cells.append(cell)
        assert len(self.cache.cells) <= self.shape.cache_tokens, "room was made before"
        self.scheduler.restored(restore.request_id, len(tokens))

    def adopt(self, adopt: Adopt) -> None:
        arrival, known = self.arrivals[adopt.request_id], self.known[adopt.request_id]
        self.cache.cut(adopt.sequence, 0)
        cells = self.cache.held(adopt.source)[: adopt.tokens]
        assert [cell.token for cell in cells] == known[: len(cells)]
        assert len(cells) == adopt.tokens < len(known)
        for cell in cells:
            own = arrival.scope and arrival.scope in cell.readers
            assert own or (cell.public and cell.position < arrival.public), "somebody's text"
            cell.readers.add(arrival.scope)
            cell.holders.add(adopt.sequence)

    def most(self, request_id: str) -> int:
        arrival = self.arrivals[request_id]
        return min(arrival.length + arrival.new_tokens, self.shape.context_tokens)

    def step(self, number: int) -> None:
        budget = self.shape.slots + number % self.shape.step_tokens
        wishes = {one: self.arrivals[one].drafts for one in self.scheduler.decoding}
        spans = self.scheduler.plan(budget, wishes)
        assert bool(spans) == bool(self.running), "a step is empty only when nothing runs"
        assert sum(span.count for span in spans) <= min(budget, self.shape.step_tokens)
        outputs = sum(span.last + span.drafts for span in spans)
        assert outputs <= self.shape.slots + self.shape.drafts
        planned = {span.request_id: span for span in spans}
        assert len(planned) == len(spans), "a sequence is in a step once"
        for request_id in self.running:
            if self.is_decoding(request_id):
                assert request_id in planned, "every running answer advances"
        prompts = [one for one in self.running if not self.is_decoding(one)]
        if prompts:
            oldest = min(prompts, key=self.order.index)
            assert oldest in planned, "the oldest prompt advances"
        for span in spans:
            self.compute(span)
        assert len(self.cache.cells) <= self.shape.cache_tokens
        for span in spans:
            if span.last:
                self.sample(span, right=number % (span.drafts + 1))

    def is_decoding(self, request_id: str) -> bool:
        held = self.cache.held(self.running[request_id])
        return len(self.known[request_id]) - len(held) == 1

    def compute(self, span: Span) -> None:
        arrival, known = self.arrivals[span.request_id], self.known[span.request_id]
        assert span.sequence == self.running[span.request_id]
        assert span.start == len(self.cache.held(span.sequence))
        assert span.count > 0
        assert span.last == (span.start + span.count - span.drafts == len(known))
        tokens = known[span.start : span.start + span.count] + [0] * span.drafts
        for position, token in enumerate(tokens, start=span.start):
            public = position < arrival.public
            cell = Cell(token, position, public, {arrival.scope}, {span.sequence})
            self.cache.cells.append(cell)
        self.scheduler.decoded(span, tokens)

    def sample(self, span: Span, *, right: int) -> None:
        """The model says zeros; of the drafts, which are zeros too, the first `right` are right."""
        one = span.request_id
        for _ in range(right + 1):
            self.known[one].append(0)
            self.added[one] += 1
            self.scheduler.sampled(one)
            assert self.scheduler.room(one) == self.most(one) - len(self.known[one])
        for cut in self.scheduler.confirmed(span, right):
            self.cache.cut(cut.sequence, cut.length)
        assert self.is_decoding(one)
        if self.scheduler.room(one) == 0:
            self.leave(one, keep=True)

    def leave(self, request_id: str, *, keep: bool) -> None:
        cuts = self.scheduler.remove(request_id, keep=keep)
        sequence = self.running.pop(request_id, None)
        assert sequence is not None or not cuts
        assert keep or sequence in [cut.sequence for cut in cuts] or sequence is None
        for cut in cuts:
            if isinstance(cut, Leave):
                self.see_leaving(cut)
                continue
            assert cut.sequence not in self.running.values()
            self.cache.cut(cut.sequence, cut.length)
        self.left[request_id] += 1

    def cancel(self) -> None:
        for request_id in self.order:
            if self.left[request_id]:
                continue
            self.age[request_id] += 1
            arrival = self.arrivals[request_id]
            if arrival.leaves_after is not None and self.age[request_id] > arrival.leaves_after:
                self.leave(request_id, keep=arrival.kept)

    def check(self) -> None:
        """Both accounts agree: no cell leaks, and what runs can always finish."""
        tree = self.scheduler.tree
        assert tree.used_cells == len(self.cache.cells)
        for sequence in (*self.running.values(), *tree.idle):
            tokens = [cell.token for cell in self.cache.held(sequence)]
            assert tree.tokens(sequence).tolist() == tokens
        assert len(tree.idle) <= self.shape.warm_sequences
        active = set(self.running.values())
        held = sum(bool(cell.holders & active) for cell in self.cache.cells)
        assert tree.active_cells() == held
        to_come = sum(
            self.most(one) - len(self.cache.held(sequence))
            for one, sequence in self.running.items()
        )
        assert held + to_come <= self.shape.cache_tokens


@given(shapes(), arrival_lists)
@settings(max_examples=300, deadline=None)
def test_every_request_leaves_once_and_no_bound_is_broken_on_the_way(
    shape: Shape, arrivals: list[Arrival]
) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    assert all(ledger.left[one] == 1 for one in ledger.arrivals)
    assert (ledger.scheduler.running, ledger.scheduler.waiting) == (0, 0)
    for cut in ledger.scheduler.clear():
        ledger.cache.cut(cut.sequence, cut.length)
    assert not ledger.cache.cells
    assert ledger.scheduler.tree.used_cells == 0


@given(shapes(), arrival_lists)
@settings(max_examples=100, deadline=None)
def test_requests_start_in_the_order_they_came(shape: Shape, arrivals: list[Arrival]) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    started = set(ledger.admitted)
    assert ledger.admitted == [one for one in ledger.order if one in started]


@given(shapes(), arrival_lists)
@settings(max_examples=100, deadline=None)
def test_an_answer_that_nobody_stops_gets_all_its_tokens(
    shape: Shape, arrivals: list[Arrival]
) -> None:
    ledger = Ledger(shape, arrivals)
    ledger.run()
    for request_id, arrival in ledger.arrivals.items():
        if arrival.leaves_after is None:
            assert ledger.added[request_id] == ledger.most(request_id) - arrival.length


WIDE = Shape(slots=8, warm_sequences=8, context_tokens=500, cache_tokens=4000, step_tokens=64)


def drive(scheduler: Scheduler, *, steps: int = 1) -> list[list[Span]]:
    """Run some steps whose drafts are all refused; the answers' tokens are zeros."""
    done = []
    for _ in range(steps):
        scheduler.advance()
        spans = scheduler.plan(WIDE.step_tokens, {})
        for span in spans:
            scheduler.decoded(span, PROMPT[span.start : span.start + span.count])
            if span.last:
                scheduler.sampled(span.request_id)
        done.append(spans)
    return done


PROMPT = [*range(1, 201), *range(1000, 1100)]


def test_a_prompt_that_many_bring_at_once_is_computed_once() -> None:
    scheduler = Scheduler(WIDE)
    for n in range(8):
        own = [2000 + 100 * n + k for k in range(10)]
        owner = Owner(scope=f"u{n}", public_tokens=200)
        scheduler.submit(f"r{n}", PROMPT[:200] + own, owner=owner, new_tokens=5)
    computed = sum(span.count for spans in drive(scheduler, steps=6) for span in spans)
    assert {*scheduler.decoding} == {f"r{n}" for n in range(8)}
    answered = 8 * 6  # at most
    assert computed <= 200 + 8 * 10 + answered
    assert scheduler.tree.used_cells <= 200 + 8 * 10 + answered


def test_private_prompts_of_different_people_are_not_held_for_each_other() -> None:
    scheduler = Scheduler(WIDE)
    for n in range(2):
        scheduler.submit(f"r{n}", PROMPT[:30], owner=Owner(scope=f"u{n}"), new_tokens=5)
    [spans] = drive(scheduler)
    assert [span.count for span in spans] == [30, 30]


def test_when_a_leader_leaves_the_next_one_leads() -> None:
    scheduler = Scheduler(WIDE)
    for n in range(3):
        owner = Owner(scope="u")
        scheduler.submit(f"r{n}", [*PROMPT[:200], n], owner=owner, new_tokens=5)
    [spans] = drive(scheduler)
    assert [span.request_id for span in spans] == ["r0"]
    scheduler.remove("r0", keep=False)
    [spans] = drive(scheduler)
    assert [(span.request_id, span.start) for span in spans] == [("r1", 0)]


def test_ended_requests_keep_a_bounded_part_of_the_cache() -> None:
    shape = Shape(slots=1, warm_tokens=250, context_tokens=300, cache_tokens=2000, step_tokens=300)
    scheduler = Scheduler(shape)
    for n in range(6):
        prompt = [1000 * n + k for k in range(100)]
        scheduler.submit(f"r{n}", prompt, owner=Owner(scope="a", session=f"s{n}"), new_tokens=5)
        scheduler.advance()
        [span] = scheduler.plan(shape.step_tokens, {})
        scheduler.decoded(span, prompt)
        scheduler.remove(f"r{n}", keep=True)
        assert scheduler.tree.used_cells == min(100 * (n + 1), 200)
    kept = {scheduler.tree.tokens(one)[0] for one in scheduler.tree.idle}
    assert kept == {4000, 5000}, "the latest stay"


def test_a_long_prompt_gets_what_running_answers_leave_of_a_step() -> None:
    scheduler = Scheduler(Shape(slots=2, context_tokens=100, cache_tokens=200, step_tokens=8))
    scheduler.submit("short", [1], owner=Owner(scope="a"), new_tokens=50)
    scheduler.submit("long", PROMPT[:20], owner=Owner(scope="b"), new_tokens=10)
    scheduler.advance()
    spans = {span.request_id: span for span in scheduler.plan(8, {"short": 3})}
    assert (spans["short"].count, spans["short"].drafts, spans["short"].last) == (4, 3, True)
    assert (spans["long"].count, spans["long"].last) == (4, False)
    spans = {span.request_id: span for span in scheduler.plan(8, {"short": 9})}
    assert spans["long"].count == 1, "drafts leave a prompt without a token"


def test_a_large_request_at_the_head_is_not_overtaken() -> None:
    scheduler = Scheduler(Shape(slots=3, context_tokens=60, cache_tokens=60, step_tokens=8))
    owner = Owner(scope="a")
    scheduler.submit("first", PROMPT[:10], owner=owner, new_tokens=10)
    scheduler.submit("large", PROMPT[100:140], owner=owner, new_tokens=10)
    scheduler.submit("small", [1], owner=owner, new_tokens=1)

    def started() -> list[str]:
        return [one.request_id for one in scheduler.advance() if isinstance(one, Start)]

    assert started() == ["first"]
    scheduler.remove("first", keep=True)
    assert started() == ["large", "small"]


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


def test_the_few_tokens_of_a_template_are_taken_over_too() -> None:
    scheduler = Scheduler(WIDE)
    template = Owner(scope="a", session="s", public_tokens=5)
    scheduler.submit("first", PROMPT[:100], owner=template, new_tokens=5)
    drive(scheduler)
    scheduler.remove("first", keep=True)
    other = Owner(scope="b", public_tokens=5)
    scheduler.submit("second", [*PROMPT[:5], *PROMPT[150:200]], owner=other, new_tokens=5)
    adopt = next(one for one in scheduler.advance() if isinstance(one, Adopt))
    assert adopt.tokens == 5
    assert scheduler.unshared(adopt) == [], "a warm conversation is worth more than a template"
    [span] = scheduler.plan(100, {})
    assert (span.start, span.count) == (0, 55)
    assert len(scheduler.tree.idle) == 1


def test_an_idle_source_that_cannot_be_shared_is_dropped() -> None:
    scheduler = Scheduler(WIDE)
    owner = Owner(scope="a", session="s")
    scheduler.submit("first", PROMPT[:100], owner=owner, new_tokens=5)
    drive(scheduler)
    scheduler.remove("first", keep=True)
    scheduler.submit("second", PROMPT[:120], owner=owner, new_tokens=5)
    adopt = next(one for one in scheduler.advance() if isinstance(one, Adopt))
    assert scheduler.unshared(adopt) == [Cut(adopt.source)]
    assert not scheduler.tree.idle
