"""The virtual clock: arrivals, workers and slow spells in order of time, through the live rules.

The limiter (or none), the board and the policy are the very classes the appliance runs; the world
only carries out what they decide and tells them what happens. Requests larger than a worker's KV
cache are refused. Memory is bounded by the requests under way and by a few numbers per request.
"""

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from appliance.limiter.core import Limiter, Rules
from appliance.limiter.verdict import Action, Ask, Forecast, Refuse, Run, Usage, Wait
from appliance.placement.board import Board
from appliance.placement.fleet import Fleet, Job, Speed
from appliance.placement.names import PolicyName
from appliance.placement.policies import Policy, make_policy
from appliance.simulator.constants import Constants
from appliance.simulator.record import Record
from appliance.simulator.trace import BLOCK_TOKENS
from appliance.simulator.worker import NEVER, Sequence, SimWorker
from appliance.simulator.workload import CALM, Arrival, Source, Workload
from appliance.worker.precedence import PACE_S, Precedence

LimiterName: TypeAlias = Literal["none", "service"]
OUTPUT_MOST = 4096
SPREAD = 1.5  # the 80 % quantile told to the limiter, as a multiple of the predicted median
STALL_EVERY_S = 5.0
CAPACITY_WORKERS, CAPACITY_REQUESTS = 8, 4000


@dataclass(frozen=True)
class Scene:
    """What is simulated beside the workload. `kept_pace` as in the worker's settings."""

    constants: Constants
    workers: int
    policy: PolicyName
    limiter: LimiterName = "none"
    rules: Rules = field(default_factory=Rules)
    kept_pace: float = 0.0


@dataclass(slots=True)
class _Open:
    """A request under way."""

    number: int
    arrival: Arrival
    job: Job
    promised_s: float | None = None


class World:
    """One run. `run` returns its record; a world is used once."""

    def __init__(self, scene: Scene, workload: Source, policy: Policy | None = None) -> None:
        self._scene = scene
        self._workload = workload
        constants = scene.constants
        speed = Speed(
            constants.step_s, constants.input_s, constants.output_s, constants.chunk_tokens
        )
        slots = np.full(scene.workers, constants.slots, dtype=np.int64)
        self._fleet = Fleet(speed, slots)
        choices = random.Random(f"ties {workload.seed}")
        self._board = Board(policy or make_policy(scene.policy, choices), self._fleet)
        self._limiter: Limiter | None = None
        if scene.limiter == "service":
            self._limiter = Limiter(scene.rules, 0.0)
            self._limiter.workers_changed(int(slots.sum()), 0.0)
        self._workers = [self._new_worker(number) for number in range(scene.workers)]
        self._ready: OrderedDict[int, None] = OrderedDict.fromkeys(range(scene.workers))
        self._due: list[tuple[float, int, int]] = []
        self._open: dict[int, _Open] = {}
        self._asked: dict[str, int] = {}
        self._stall_at_s = STALL_EVERY_S
        self.record = Record(scene.workers)

    def run(self) -> Record:
        """Until the last request has ended."""
        spells = self._workload.spells(self._scene.workers)
        spell = next(spells, None)
        arrivals = enumerate(self._workload.arrivals())
        following = next(arrivals, None)
        while following is not None or self._open:
            arrival_s = following[1].at_s if following else NEVER
            due_s = self._due[0][0] if self._due else NEVER
            spell_s = spell.at_s if spell else NEVER
            if spell is not None and spell_s <= arrival_s and spell_s <= due_s:
                self._slow(spell.worker, spell.slowness, spell_s)
                spell = next(spells, None)
            elif following is not None and arrival_s <= due_s:
                self._arrives(*following)
                following = next(arrivals, None)
            else:
                self._step(*heapq.heappop(self._due))
        self.record.busy_s = [worker.busy_s for worker in self._workers]
        return self.record

    # Below: helpers in call order.

    def _new_worker(self, number: int) -> SimWorker:
        fleet, kept = self._fleet, self._scene.kept_pace
        return SimWorker(
            self._scene.constants,
            number,
            lambda block: fleet.evicted(block, number),
            lambda blocks: fleet.stored(blocks, number),
            BLOCK_TOKENS,
            Precedence(kept=kept, gap_s=PACE_S) if kept else None,
        )

    def _slow(self, number: int, slowness: float, now_s: float) -> None:
        worker = self._workers[number]
        self._happen(worker, now_s)
        worker.slow_down(slowness, now_s)
        self._schedule(worker)

    def _arrives(self, number: int, arrival: Arrival) -> None:
        self.record.arrived(number, arrival)
        now_s = arrival.at_s
        if now_s >= self._stall_at_s:
            self._board.stalled(now_s)
            self._stall_at_s = now_s + STALL_EVERY_S
        if arrival.input_tokens + arrival.output_tokens > self._scene.constants.kv_tokens:
            self.record.refused(number, "too_large")
            return
        job = Job(number, arrival.input_tokens, arrival.predicted_tokens, arrival.blocks, now_s)
        self._open[number] = _Open(number, arrival, job)
        if self._limiter is None:
            self._place(self._open[number], now_s)
            return
        self._asked[str(number)] = number
        self._perform(self._limiter.arrived(_ask(number, arrival), now_s), now_s)

    def _perform(self, actions: list[Action], now_s: float) -> None:
        for action in actions:
            if isinstance(action, Run):
                request = self._open[self._asked[action.request_id]]
                if request.promised_s is not None:
                    self.record.admitted(request.promised_s, action.waited_s)
                self._place(request, now_s)
            elif isinstance(action, Wait):
                request = self._open[self._asked[action.request_id]]
                if request.promised_s is None:
                    request.promised_s = action.eta_s
            elif isinstance(action, Refuse):
                number = self._asked.pop(action.request_id)
                del self._open[number]
                self.record.refused(number, action.reason)

    def _place(self, request: _Open, now_s: float) -> None:
        number = self._board.arrived(request.job, now_s)
        if number is not None:
            self._offer(number, now_s)
            return
        for number in list(self._ready):  # who has had room for longest asks first
            if self._offer(number, now_s) or not self._board.shared:
                return
            self._ready.pop(number, None)

    def _offer(self, number: int, now_s: float) -> bool:
        """The worker takes what it may; True when it took something."""
        worker = self._workers[number]
        took = False
        while True:
            job = self._board.take(number, now_s, self._fits(worker))
            if job is None:
                break
            if not took:
                self._happen(worker, now_s)
            took = True
            arrival = self._open[int(job.id)].arrival
            worker.start(job, arrival.output_tokens, now_s, arrival.uid)
        if took:
            self._schedule(worker)
        self._ready.pop(number, None)
        if self._board.policy.ready(number, self._fleet):
            self._ready[number] = None
        return took

    def _fits(self, worker: SimWorker) -> Callable[[Job], bool]:
        return lambda job: worker.fits(job, self._open[int(job.id)].arrival.output_tokens)

    def _step(self, at_s: float, version: int, number: int) -> None:
        worker = self._workers[number]
        if version == worker.version:
            self._happen(worker, at_s)
            self._offer(number, at_s)
            self._schedule(worker)

    def _happen(self, worker: SimWorker, now_s: float) -> None:
        """Everything the worker did until now."""
        for happening in worker.advance(now_s):
            job = happening.sequence.job
            request = self._open[int(job.id)]
            if not happening.ended:
                cached = happening.sequence.matched_blocks * BLOCK_TOKENS
                self.record.first_token(request.number, request.arrival, happening.at_s, cached)
                self._board.first_token(job, happening.at_s)
                continue
            self._board.ended(job, happening.at_s)
            self.record.ended(request.number, request.arrival, happening.at_s)
            del self._open[request.number]
            if self._limiter is not None:
                del self._asked[str(request.number)]
                self._perform(
                    self._limiter.ended(str(request.number), _usage(happening.sequence), now_s),
                    now_s,
                )

    def _schedule(self, worker: SimWorker) -> None:
        due_s = worker.next_s
        if due_s != NEVER:
            heapq.heappush(self._due, (due_s, worker.version, worker.number))


def capacity(constants: Constants, workers: int, workload: Workload) -> float:
    """Requests per second when all of the workload is there from the start and workers pull.

    This is what a load of 1 means in every comparison. For many workers it is taken from a few:
    with few requests for each, the time until the last one has ended says little.
    """
    if workers > CAPACITY_WORKERS:
        part = replace(workload, count=min(workload.count, CAPACITY_REQUESTS))
        return capacity(constants, CAPACITY_WORKERS, part) * workers / CAPACITY_WORKERS
    saturating = replace(workload, rate=1e9, disturbance=CALM)
    record = World(Scene(constants, workers, "pull"), saturating).run()
    return record.report().served / record.end_s


def _ask(number: int, arrival: Arrival) -> Ask:
    forecast = Forecast(arrival.predicted_tokens, SPREAD * arrival.predicted_tokens, OUTPUT_MOST)
    return Ask(
        request_id=str(number),
        uid=arrival.uid,
        tier="standard",
        priority="person",
        input_tokens=arrival.input_tokens,
        cached_tokens=0,
        output=forecast,
        deadline_s=NEVER,
    )


def _usage(sequence: Sequence) -> Usage:
    cached = sequence.matched_blocks * BLOCK_TOKENS
    return Usage(sequence.job.input_tokens - cached, cached, sequence.output_tokens)
