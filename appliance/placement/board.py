"""The waiting work: one line for all workers and one for each, and who takes what.

A job is in exactly one place: the shared line, one worker's line, or one worker's hands. Work of
a worker that is lost, stalled or draining goes back to the front of the shared line in its old
order, so that nothing waits for a worker that will not come. Beside the policy's decisions the
board makes none: `take` looks at a worker's own line first, then lets the policy pull.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from itertools import islice

from appliance.placement.fleet import Fleet, Job
from appliance.placement.policies import Policy


@dataclass
class Board:
    """Owns who waits where. `fleet` learns of each step at once."""

    policy: Policy
    fleet: Fleet
    _shared: OrderedDict[int | str, Job] = field(default_factory=OrderedDict)
    _lines: dict[int, deque[Job]] = field(default_factory=dict)
    _running: dict[int | str, tuple[Job, int]] = field(default_factory=dict)

    @property
    def shared(self) -> int:
        return len(self._shared)

    def own(self, worker: int) -> int:
        """Jobs bound to this worker that it has not taken yet."""
        return len(self._lines.get(worker, ()))

    def holder(self, job_id: int | str) -> int | None:
        """The worker that runs this job."""
        found = self._running.get(job_id)
        return found[1] if found else None

    def known(self) -> Iterator[int | str]:
        """Every job, wherever it is."""
        yield from self._shared
        for line in self._lines.values():
            yield from (job.id for job in line)
        yield from self._running

    def arrived(self, job: Job, now_s: float) -> int | None:
        """Where it waits: the worker it was bound to, or None for the shared line."""
        worker = self.policy.place(job, self.fleet, now_s)
        if worker is None:
            self._shared[job.id] = job
        else:
            self._lines.setdefault(worker, deque()).append(job)
            self.fleet.placed(job, worker, now_s)
        return worker

    def wanted_by(self, worker: int, now_s: float, held: Container[int | str]) -> Job | None:
        """Which of the `held` jobs of the shared line this worker has room for now."""
        if not (self.fleet.live[worker] and self.policy.ready(worker, self.fleet)):
            return None
        waiting = (job for job in self._shared.values() if job.id in held)
        head = list(islice(waiting, self.policy.window))
        index = self.policy.pull(worker, head, self.fleet, now_s)
        return None if index is None else head[index]

    def bind(self, job: Job, worker: int, now_s: float) -> None:
        """From the shared line into this worker's own."""
        del self._shared[job.id]
        self._lines.setdefault(worker, deque()).append(job)
        self.fleet.placed(job, worker, now_s)

    def take(self, worker: int, now_s: float, fits: Callable[[Job], bool]) -> Job | None:
        """What this worker starts now, if it has a slot and `fits` says it has the memory."""
        if self.fleet.free(worker) <= 0:
            return None
        line = self._lines.get(worker)
        if line:
            if not fits(line[0]):
                return None
            job = line.popleft()
        else:
            if not (self._shared and self.fleet.live[worker]):
                return None
            if not self.policy.ready(worker, self.fleet):
                return None
            head = list(islice(self._shared.values(), self.policy.window))
            index = self.policy.pull(worker, head, self.fleet, now_s)
            if index is None or not fits(head[index]):
                return None
            job = head[index]
            del self._shared[job.id]
            self.fleet.placed(job, worker, now_s)
        self.fleet.started(job, now_s)
        self._running[job.id] = (job, worker)
        return job

    def started(self, job: Job, worker: int, now_s: float) -> None:
        """A worker says that it has taken this job, from wherever it was, known or not."""
        holder = self._running.get(job.id)
        if holder is not None:
            if holder[1] == worker:
                return
            self.ended(holder[0], now_s)  # it was given back, and that was not heard of
        if job not in self._lines.get(worker, ()):
            self.cancelled(job.id)
            self.fleet.placed(job, worker, now_s)
        else:
            self._lines[worker].remove(job)
        self.fleet.started(job, now_s)
        self._running[job.id] = (job, worker)

    def first_token(self, job: Job, now_s: float) -> None:
        self.fleet.first_token(job, now_s)

    def ended(self, job: Job, now_s: float) -> None:
        """It left its slot, for whatever reason."""
        del self._running[job.id]
        self.fleet.ended(job, now_s)

    def cancelled(self, job_id: int | str) -> bool:
        """Takes a waiting job out; False when it runs or is unknown."""
        if self._shared.pop(job_id, None) is not None:
            return True
        for line in self._lines.values():
            for job in line:
                if job.id == job_id:
                    line.remove(job)
                    self.fleet.withdrawn(job)
                    return True
        return False

    def lost(self, worker: int) -> list[Job]:
        """A worker died: its waiting work goes to all; what it ran is returned and goes first."""
        waiting = self._taken_back(worker)
        ran = [job for job, holder in self._running.values() if holder == worker]
        for job in ran:
            del self._running[job.id]
        self.fleet.lost(worker)
        self._to_front(ran + waiting)
        return ran

    def draining(self, worker: int) -> None:
        """An operator empties a worker: it ends what it runs, and its waiting work moves."""
        waiting = self._taken_back(worker)
        self.fleet.closed(worker)
        self._to_front(waiting)

    def stalled(self, now_s: float) -> list[int]:
        """Workers with bound work that have said nothing for too long; their work moves."""
        found = [w for w, line in self._lines.items() if line and self.fleet.stalled(w, now_s)]
        for worker in found:
            self._to_front(self._taken_back(worker))
            self.fleet.suspected(worker)
        return found

    # Below: helpers.

    def _taken_back(self, worker: int) -> list[Job]:
        waiting = list(self._lines.pop(worker, ()))
        for job in waiting:
            self.fleet.withdrawn(job)
        return waiting

    def _to_front(self, jobs: list[Job]) -> None:
        for job in reversed(jobs):
            self._shared[job.id] = job
            self._shared.move_to_end(job.id, last=False)
