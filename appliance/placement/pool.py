"""The live placement of one pool: a board, and the workers of flesh and blood behind its numbers.

Workers come and go under ids of their own; here each has a number while it lives. What a worker
holds in its cache is believed, not known: the prompts placed on it, the last used ones, as many
as it has room for, and the conversations it names itself in its reports.

Live, work that stands in the shared stream is taken at once by whoever has a slot. So while no
worker has room, up to a policy's `window` of requests are held before they are written anywhere,
and whoever has room first is given one of them as the policy would `pull` it.

Pure: reports, news and a clock in; workers out, and whose own stream has to be given back.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from appliance.bus.placing import HELD, Told
from appliance.placement.board import Board
from appliance.placement.fleet import Fleet, Job, Speed
from appliance.placement.policies import Policy
from appliance.placement.prefixes import BLOCK_TOKENS, Held
from appliance.schema.status import PlacedWorker, WorkerStatus

SIZE_AT_FIRST = 4
# Only ratios matter, each worker's real pace is learned: the starter model on two cores, and an
# 8B model on one data-centre GPU (see `simulator.constants`).
CPU = Speed(step_s=0.0145, input_s=0.00526, output_s=0.00885, chunk=128)
GPU = Speed(step_s=0.012, input_s=0.0001, output_s=0.00035, chunk=2048)
PACE_KEPT_S = 60.0
PACE_ALIKE = 1.1


@dataclass
class _Seat:
    number: int
    held: Held
    is_draining: bool = False
    measured_s: float | None = None
    faded_s: float = 0.0


class PoolPlacement:
    """Owns the board of one pool."""

    def __init__(self, policy: Policy, stall_s: float) -> None:
        fleet = Fleet(CPU, np.zeros(0, dtype=np.int64), stall_s)
        fleet.grown(SIZE_AT_FIRST)
        self.board = Board(policy, fleet)
        self.prompt_tokens = self.matched_tokens = 0
        self.placed = self.shared = 0
        self._seats: dict[str, _Seat] = {}
        self._ids: dict[int, str] = {}
        self._jobs: dict[str, Job] = {}
        self._has_first: set[str] = set()
        self._held: set[int | str] = set()
        self._let_go: list[str] = []

    @property
    def workers(self) -> int:
        return len(self._seats)

    def known(self) -> list[str]:
        """Every request it counts as waiting or running."""
        return list(self._jobs)

    def runs(self, request_id: str) -> bool:
        job = self._jobs.get(request_id)
        return job is not None and self.board.holder(job.id) is not None

    def reported(self, found: Iterable[WorkerStatus], now_s: float) -> set[str]:
        """Who works now. Returns those whose waiting work must be given back."""
        reports = {status.id: status for status in found}
        gone = self._seats.keys() - reports.keys()
        for worker_id in gone:
            seat = self._seats.pop(worker_id)
            del self._ids[seat.number]
            self.board.lost(seat.number)
        emptied = set(gone)
        for worker_id, status in reports.items():
            if worker_id not in self._seats:
                self._joined(status, now_s)
            seat = self._seats[worker_id]
            if status.state == "draining":
                if not seat.is_draining:
                    self.board.draining(seat.number)
                seat.is_draining = True
                emptied.add(worker_id)
        self._paced(now_s)
        return emptied

    def stalled(self, now_s: float) -> set[str]:
        """Workers that have work and say nothing; theirs that waits must be given back."""
        return {self._ids[number] for number in self.board.stalled(now_s)}

    def wanted(self, told: Told, output_tokens: float, warm: dict[str, str], now_s: float) -> str:
        """The worker a request is bound to, "" for any, HELD for the first with room.

        `warm` names a session's worker.
        """
        if told.request_id in self._held:
            return HELD
        if told.request_id in self._jobs:  # asked again, its first answer was lost
            return ""
        job = Job(
            told.request_id, told.input_tokens, output_tokens, told.blocks, now_s, BLOCK_TOKENS
        )
        host = self._seats.get(warm.get(told.session_id, ""))
        if host is not None:  # known from its own report, after a change of loops too
            self._holds(host, told.blocks[: told.history])
        before = {seat.number: self._fleet.matched(job, seat.number) for seat in self._live()}
        self._jobs[told.request_id] = job
        number = self.board.arrived(job, now_s)
        self.prompt_tokens += job.input_tokens
        if number is not None:
            return self._placed(job, number, before.get(number, 0))
        if self.workers > 1 and len(self._held) < self.board.policy.window:
            self._held.add(job.id)
            return HELD
        self.shared += 1
        return ""

    def released(self, now_s: float) -> dict[str, str]:
        """Held requests that have a worker now, "" for any; to be asked after all news."""
        found = dict.fromkeys(self._let_go, "")
        self._let_go = []
        while self._held:
            waits_s = self._fleet.waits_s()
            for seat in sorted(self._live(), key=lambda one: float(waits_s[one.number])):
                job = self.board.wanted_by(seat.number, now_s, self._held)
                if job is not None:
                    break
            else:
                break
            matched = self._fleet.matched(job, seat.number)
            self._held.discard(job.id)
            self.board.bind(job, seat.number, now_s)
            found[str(job.id)] = self._placed(job, seat.number, matched)
        return found

    def taken(self, request_id: str, worker_id: str, output_tokens: float, now_s: float) -> None:
        """A worker has taken it, the one it was meant for or another."""
        seat = self._seats.get(worker_id)
        if seat is None:
            return
        self._held.discard(request_id)
        job = self._jobs.setdefault(request_id, Job(request_id, 1, output_tokens, (), now_s))
        self.board.started(job, seat.number, now_s)
        self._holds(seat, job.blocks)

    def first(self, request_id: str, now_s: float) -> None:
        """Its prompt is computed."""
        if self.runs(request_id) and request_id not in self._has_first:
            self._has_first.add(request_id)
            job = self._jobs[request_id]
            number = self.board.holder(job.id)
            self.board.first_token(job, now_s)
            self._paced(now_s, number)

    def ended(self, request_id: str, now_s: float) -> None:
        """It ended, wherever it was."""
        job = self._jobs.pop(request_id, None)
        if job is None:
            return
        self._has_first.discard(request_id)
        if request_id in self._held:
            self._held.discard(request_id)
            self._let_go.append(request_id)
        if self.board.holder(job.id) is None:
            self.board.cancelled(job.id)
        else:
            self.board.ended(job, now_s)

    def status(self) -> tuple[PlacedWorker, ...]:
        fleet = self._fleet
        return tuple(
            PlacedWorker(
                id=worker_id,
                bound=int(fleet.bound[seat.number]),
                running=int(fleet.running[seat.number]),
                slots=int(fleet.slots[seat.number]),
                backlog_s=round(float(fleet.backlog_s[seat.number]), 3),
                pace=round(float(fleet.pace[seat.number]), 3),
                takes_new=bool(np.isfinite(fleet.penalty_s[seat.number])),
            )
            for worker_id, seat in self._seats.items()
        )

    # Below: helpers.

    def _placed(self, job: Job, number: int, matched: int) -> str:
        self.placed += 1
        self.matched_tokens += matched
        self._holds(self._seats[self._ids[number]], job.blocks)
        return self._ids[number]

    @property
    def _fleet(self) -> Fleet:
        return self.board.fleet

    def _live(self) -> list[_Seat]:
        return list(self._seats.values())

    def _joined(self, status: WorkerStatus, now_s: float) -> None:
        free = set(range(len(self._fleet.slots))) - self._ids.keys()
        if not free:
            size = len(self._fleet.slots)
            self._fleet.grown(2 * size)
            free = {size}
        number = min(free)
        if not self._seats:
            self._fleet.speed = GPU if _is_on_gpu(status) else CPU
        most = max(1, status.cache_tokens or status.context_tokens) // BLOCK_TOKENS
        self._seats[status.id] = _Seat(number, Held(most))
        self._ids[number] = status.id
        self._fleet.joined(number, status.slots, now_s)

    def _paced(self, now_s: float, measured: int | None = None) -> None:
        """Workers nobody has measured yet are taken to be like those that were.

        The constants may be far off; whoever is measured first would look fast, and get it all.
        What was measured long ago fades, or one that was slow in a busy moment would never be
        asked again while others are idle, and so never be known to be fast.
        """
        seats = self._live()
        for seat in seats:
            if seat.number == measured:
                seat.measured_s = seat.faded_s = now_s
        known = [one for one in seats if one.measured_s is not None]
        fresh = [one for one in known if now_s - (one.measured_s or 0.0) < PACE_KEPT_S]
        pace = self._fleet.pace
        numbers = [one.number for one in fresh or known]
        mean = float(pace[numbers].mean()) if numbers else 1.0
        for seat in seats:
            if seat.measured_s is None:
                pace[seat.number] = mean
            elif fresh and now_s - seat.faded_s >= PACE_KEPT_S:
                seat.faded_s = now_s
                half = math.sqrt(float(pace[seat.number]) * mean)
                alike = 1 / PACE_ALIKE < half / mean < PACE_ALIKE
                pace[seat.number] = mean if alike else half

    def _holds(self, seat: _Seat, blocks: tuple[int, ...]) -> None:
        self._fleet.stored(blocks, seat.number)
        for block in seat.held.used(blocks):
            self._fleet.evicted(block, seat.number)


def _is_on_gpu(status: WorkerStatus) -> bool:
    """An integrated GPU reads the machine's memory: it is no faster at answers than the CPU."""
    return any(one.layers and one.kind == "gpu" for one in status.devices)
