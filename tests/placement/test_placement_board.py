"""The board under any history: no job lost, doubled, or waiting for a worker that is gone."""

import random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.placement.board import Board
from appliance.placement.fleet import Fleet, Job, Speed
from appliance.placement.names import PolicyName
from appliance.placement.policies import make_policy

pytestmark = pytest.mark.unit

SPEED = Speed(step_s=0.01, input_s=0.0001, output_s=0.0003, chunk=512)
WORKERS = 3
SLOTS = 2
NAMES: list[PolicyName] = [
    "hybrid",
    "pull",
    "cost",
    "round_robin",
    "weighted_round_robin",
    "least_connections",
    "sglang",
]


def fits(job: Job) -> bool:
    return True


def board(policy: PolicyName, *, workers: int = WORKERS, slots: int = SLOTS) -> Board:
    fleet = Fleet(SPEED, np.full(workers, slots, dtype=np.int64))
    return Board(make_policy(policy, random.Random(1)), fleet)


def job(number: int, *, tokens: int = 2048, blocks: tuple[int, ...] = (), at_s: float = 0.0) -> Job:
    return Job(number, tokens, 50.0, blocks, at_s)


def test_the_worker_that_holds_the_prefix_gets_the_job_while_it_is_free() -> None:
    made = board("hybrid")
    made.fleet.stored((1, 2, 3), 2)
    assert made.arrived(job(0, blocks=(1, 2, 3)), 0.0) == 2


def test_a_job_waits_for_all_when_nobody_has_room_and_no_prefix_pays() -> None:
    made = board("hybrid", slots=1)
    for number in range(3):
        worker = made.arrived(job(number), 0.0)
        assert worker is not None
        made.take(worker, 0.0, fits)
    assert made.arrived(job(3), 0.0) is None
    assert made.shared == 1


def test_a_prefix_does_not_bind_to_a_worker_that_is_far_behind() -> None:
    made = board("hybrid")
    made.fleet.stored((1,), 0)
    made.fleet.placed(job(90, tokens=1_000_000), 0, 0.0)
    assert made.arrived(job(0, blocks=(1,)), 0.0) != 0


def test_a_prefix_counts_as_held_from_the_placement_on_so_a_burst_stays_together() -> None:
    made = board("cost", slots=64)
    blocks = tuple(range(100))
    first = made.arrived(job(0, tokens=51_300, blocks=blocks), 0.0)
    assert first is not None
    assert made.fleet.matched(job(1, tokens=51_300, blocks=blocks), first) == 51_200
    assert made.fleet.matched(job(1, tokens=51_300, blocks=(0, 1, 777)), first) == 1024


def test_a_placement_counts_as_load_at_once() -> None:
    made = board("least_connections")
    placed = [made.arrived(job(number), 0.0) for number in range(6)]
    assert sorted(placed, key=str) == [0, 0, 1, 1, 2, 2]


def test_the_waiting_work_of_a_stalled_worker_moves_and_it_gets_nothing_new() -> None:
    made = board("round_robin")
    for number in range(9):
        made.arrived(job(number), 0.0)
    for worker in range(WORKERS):
        for _ in range(SLOTS):
            made.take(worker, 0.0, fits)
    for worker in (1, 2):  # these two say something, worker 0 does not
        held = next(j for j, w in made._running.values() if w == worker)
        made.first_token(held, 29.0)
    assert made.stalled(31.0) == [0]
    assert made.own(0) == 0
    assert made.shared == 1
    assert board_least(made) != 0


def board_least(made: Board) -> int | None:
    return make_policy("cost", random.Random(1)).place(job(99), made.fleet, 31.0)


def test_a_draining_worker_ends_what_it_runs_and_its_waiting_work_goes_first_elsewhere() -> None:
    made = board("round_robin", workers=2, slots=1)
    for number in range(4):
        made.arrived(job(number), 0.0)
    ran = made.take(0, 0.0, fits)
    assert ran is not None
    made.draining(0)
    assert made.arrived(job(9), 0.0) == 1
    assert made.own(0) == 0
    assert made.shared == 1
    made.ended(ran, 1.0)
    assert made.take(0, 1.0, fits) is None


def test_a_slow_worker_is_given_less_by_policies_that_price() -> None:
    made = board("cost", slots=64)
    for number in range(8):
        slow = job(number)
        made.fleet.placed(slow, 0, number)
        made.fleet.started(slow, float(number))
        made.fleet.first_token(slow, number + 5.0)
        made.fleet.ended(slow, number + 5.0)
    assert made.fleet.pace[0] > 2
    assert {made.arrived(job(50 + n), 10.0) for n in range(4)} == {1, 2}


def test_weights_follow_slots() -> None:
    made = board("weighted_round_robin", workers=2)
    made.fleet.slots[1] = 6
    placed = [made.arrived(job(number), 0.0) for number in range(8)]
    assert placed.count(1) == 6


class AnyHistory(RuleBasedStateMachine):
    """Against three plain sets: waiting, running, gone."""

    @initialize(policy=st.sampled_from(NAMES))
    def begins(self, policy: PolicyName) -> None:
        self.made = board(policy)
        self.now_s = 0.0
        self.number = 0
        self.waiting: set[int] = set()
        self.jobs: dict[int, Job] = {}
        self.running: dict[int, tuple[Job, int]] = {}
        self.first: set[int] = set()
        self.live = set(range(WORKERS))

    @rule(tokens=st.integers(1, 5000), tail=st.integers(0, 3))
    def arrives(self, tokens: int, tail: int) -> None:
        blocks = (7, 70 + tail, 700 + tail)[: tokens // 512]
        new = job(self.number, tokens=tokens, blocks=blocks, at_s=self.now_s)
        self.waiting.add(self.number)
        self.jobs[self.number] = new
        self.number += 1
        worker = self.made.arrived(new, self.now_s)
        assert worker is None or worker in self.live

    @rule(worker=st.integers(0, WORKERS - 1), room=st.booleans())
    def takes(self, worker: int, room: bool) -> None:
        taken = self.made.take(worker, self.now_s, lambda job: room)
        if taken is not None:
            assert room
            assert worker in self.live
            self.waiting.remove(int(taken.id))
            self.running[int(taken.id)] = (taken, worker)

    @rule(worker=st.integers(0, WORKERS - 1), data=st.data())
    def takes_by_itself(self, worker: int, data: st.DataObject) -> None:
        """Live, a worker pulls what it likes, and news of it may come twice."""
        free = self.made.fleet.free(worker) > 0
        if worker in self.live and free and self.waiting:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            taken = self.jobs[number]
            for _ in range(2):
                self.made.started(taken, worker, self.now_s)
            self.waiting.remove(number)
            self.running[number] = (taken, worker)

    @rule(data=st.data())
    def gives_a_first_token(self, data: st.DataObject) -> None:
        silent = sorted(self.running.keys() - self.first)
        if silent:
            number = data.draw(st.sampled_from(silent))
            self.first.add(number)
            self.made.first_token(self.running[number][0], self.now_s)

    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        if self.running:
            number = data.draw(st.sampled_from(sorted(self.running)))
            self.made.ended(self.running.pop(number)[0], self.now_s)

    @rule(data=st.data())
    def is_cancelled(self, data: st.DataObject) -> None:
        if self.waiting:
            number = data.draw(st.sampled_from(sorted(self.waiting)))
            self.waiting.remove(number)
            assert self.made.cancelled(number)
            assert not self.made.cancelled(number)

    @rule(worker=st.integers(0, WORKERS - 1))
    def dies_and_comes_back(self, worker: int) -> None:
        returned = {int(job.id) for job in self.made.lost(worker)}
        assert returned == {n for n, (_, holder) in self.running.items() if holder == worker}
        for number in returned:
            del self.running[number]
            self.first.discard(number)
            self.waiting.add(number)
        assert not self.made.fleet._holders or not any(
            mask >> worker & 1 for mask in self.made.fleet._holders.values()
        )
        self.made.fleet.joined(worker, SLOTS, self.now_s)
        self.live.add(worker)

    @rule(worker=st.integers(0, WORKERS - 1))
    def drains(self, worker: int) -> None:
        self.made.draining(worker)
        self.live.discard(worker)

    @rule(seconds=st.floats(0.0, 40.0))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds
        self.made.stalled(self.now_s)

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        if not hasattr(self, "made"):
            return
        known = [int(name) for name in self.made.known()]
        assert sorted(known) == sorted(self.waiting | self.running.keys())
        assert all(self.made.own(worker) == 0 for worker in set(range(WORKERS)) - self.live)

    @invariant()
    def loads_are_what_is_there(self) -> None:
        if not hasattr(self, "made"):
            return
        fleet = self.made.fleet
        for worker in range(WORKERS):
            running = sum(holder == worker for _, holder in self.running.values())
            assert fleet.running[worker] == running <= SLOTS
            assert fleet.bound[worker] == self.made.own(worker)
            assert fleet.backlog_s[worker] >= -1e-9
            if not running and not self.made.own(worker):
                assert fleet.backlog_s[worker] == 0

    def teardown(self) -> None:
        """Nothing starves: with every worker well, everything is served."""
        if not hasattr(self, "made"):
            return
        for worker in range(WORKERS):
            self.made.fleet.joined(worker, SLOTS, self.now_s)
            self.live.add(worker)
        for _ in range(2 * (len(self.waiting) + len(self.running)) + 2):
            self.now_s += 1.0
            for number in sorted(self.running):
                taken, _ = self.running.pop(number)
                if number not in self.first:
                    self.made.first_token(taken, self.now_s)
                self.made.ended(taken, self.now_s)
            for worker in range(WORKERS):
                self.takes(worker, True)
        assert not self.waiting


AnyHistory.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestAnyHistory = AnyHistory.TestCase
