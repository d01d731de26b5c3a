"""The placement policies, each a pure function of a job, the fleet and the time.

`place` names the worker a job is bound to, or None: it waits where any worker may take it.
`pull` names which of the first waiting jobs a worker with room takes, or None: none yet.
`ready` says whether a worker would take one more.

`Cost` is a global scheduler by price alone. The rest are baselines for the comparison: round
robin, smooth weighted round robin (nginx), least connections, and a router like SGLang's (cache
aware: shortest queue when the load is uneven, longest match when it is long enough, else the
worker with the least cached). Ties are broken at random.
"""

import random
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from appliance.placement.fleet import Fleet, Job
from appliance.placement.names import PolicyName


class Policy(Protocol):
    """What every policy answers."""

    window: int

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None: ...

    def pull(self, worker: int, head: Sequence[Job], fleet: Fleet, now_s: float) -> int | None: ...

    def ready(self, worker: int, fleet: Fleet) -> bool: ...


class _Oldest:
    """Taking work: whenever a slot is free, the oldest."""

    window = 1

    def pull(self, worker: int, head: Sequence[Job], fleet: Fleet, now_s: float) -> int | None:
        return 0 if head else None

    def ready(self, worker: int, fleet: Fleet) -> bool:
        return fleet.free(worker) > 0


class Pull(_Oldest):
    """Nothing is bound; idle workers take the oldest."""

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        return None


class RoundRobin(_Oldest):
    """Each worker in turn."""

    def __init__(self) -> None:
        self._last = -1

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        size = len(fleet.slots)
        for step in range(1, size + 1):
            worker = (self._last + step) % size
            if fleet.live[worker]:
                self._last = worker
                return worker
        return None


class WeightedRoundRobin(_Oldest):
    """In turn, more often the more slots a worker has and the faster it shows itself."""

    def __init__(self) -> None:
        self._current: npt.NDArray[np.float64] | None = None

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        if not fleet.live.any():
            return None
        weights = np.where(fleet.live, fleet.slots / fleet.pace, 0.0)
        if self._current is None or len(self._current) != len(weights):
            self._current = np.zeros(len(weights))
        self._current += weights
        worker = int(np.argmax(np.where(fleet.live, self._current, -np.inf)))
        self._current[worker] -= weights.sum()
        return worker


class LeastConnections(_Oldest):
    """The worker with the fewest requests, waiting ones included."""

    def __init__(self, choices: random.Random) -> None:
        self._choices = choices

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        return _least(fleet.running + fleet.bound + fleet.penalty_s, self._choices)


class Cost(_Oldest):
    """The worker expected to give the first token soonest, what it holds of the prompt counted."""

    def __init__(self, choices: random.Random) -> None:
        self._choices = choices

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        return _least(fleet.prices_s(job, fleet.matches(job)), self._choices)


class SglangLike(_Oldest):
    """SGLang's cache-aware router with its published defaults."""

    MATCH_LEAST = 0.5
    UNEVEN_COUNT = 32
    UNEVEN_RATIO = 1.1

    def __init__(self, choices: random.Random) -> None:
        self._choices = choices
        self._cached: dict[int, int] = {}

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        counts = fleet.running + fleet.bound
        live = counts[fleet.live]
        if not len(live):
            return None
        most, least = int(live.max()), int(live.min())
        if most - least > self.UNEVEN_COUNT and most > self.UNEVEN_RATIO * least:
            return self._chosen(_least(counts + fleet.penalty_s, self._choices), job)
        found = [match for match in fleet.matches(job) if fleet.live[match.worker]]
        if found and found[0].tokens > self.MATCH_LEAST * job.input_tokens:
            return self._chosen(found[0].worker, job)
        cached = np.array([self._cached.get(w, 0) for w in range(len(counts))], dtype=np.float64)
        return self._chosen(_least(cached + fleet.penalty_s, self._choices), job)

    def _chosen(self, worker: int | None, job: Job) -> int | None:
        if worker is not None:
            self._cached[worker] = self._cached.get(worker, 0) + job.input_tokens
        return worker


class Hybrid:
    """Bound where the KV cache pays and nobody is cheaper; else to whoever has room first.

    1. The worker that would give the first token soonest, its KV match counted, gets the job if
       it has room now.
    2. Otherwise it is bound to that worker's own queue only if its match saves more than
       `saving_least` of the prompt.
    3. Otherwise the cheapest worker with room gets it, and with none it waits for all.

    A worker has room while the prompts ahead of it take at most `ahead_steps` full steps: a
    prompt is bound as late as possible, yet no step runs half empty. Of the first `window`
    waiting jobs a worker takes the one with the most waiting time, to a power above one, per
    second of prompt it does not hold: short and known prompts go first, and the power of time
    leaves nobody behind (after "highest response ratio next", Brinch Hansen 1971).
    Constants are in full steps, so that they mean the same on fast and slow machines.
    """

    def __init__(
        self,
        choices: random.Random,
        *,
        window: int = 16,
        saving_least: float = 0.1,
        ahead_steps: float = 2.0,
        wait_steps: float = 1.5,
        prompt_steps: float = 5.0,
        power: float = 1.5,
    ) -> None:
        self._choices = choices
        self.window = window
        self._saving_least = saving_least
        self._ahead_steps = ahead_steps
        self._wait_steps = wait_steps
        self._prompt_steps = prompt_steps
        self._power = power

    def place(self, job: Job, fleet: Fleet, now_s: float) -> int | None:
        matches = fleet.matches(job)
        prices = fleet.prices_s(job, matches)
        best = _least(prices, self._choices)
        if best is None or self.ready(best, fleet):
            return best
        saved = next((match.tokens for match in matches if match.worker == best), 0)
        if saved > self._saving_least * job.input_tokens:
            return best
        room = fleet.backlog_s <= self._ahead_steps * fleet.speed.full_step_s
        room &= fleet.running + fleet.bound < fleet.slots
        return _least(np.where(room, prices, np.inf), self._choices)

    def pull(self, worker: int, head: Sequence[Job], fleet: Fleet, now_s: float) -> int | None:
        if not head:
            return None
        step_s, token_s = fleet.speed.full_step_s, fleet.speed.token_s

        def urgency(index: int) -> float:
            job = head[index]
            waited_s = max(0.0, now_s - job.arrived_s) + self._wait_steps * step_s
            fresh_s = token_s * (job.input_tokens - fleet.matched(job, worker))
            return float(waited_s**self._power / (fresh_s + self._prompt_steps * step_s))

        return max(range(len(head)), key=urgency)

    def ready(self, worker: int, fleet: Fleet) -> bool:
        ahead_s = self._ahead_steps * fleet.speed.full_step_s
        taken = fleet.running[worker] + fleet.bound[worker]
        return bool(fleet.backlog_s[worker] <= ahead_s and taken < fleet.slots[worker])


def _least(prices: npt.NDArray[np.float64], choices: random.Random) -> int | None:
    """A worker with the least price, at random among equals; None when all are infinite."""
    least = prices.min(initial=np.inf)
    if least == np.inf:
        return None
    first = int(prices.argmin())
    equal = np.flatnonzero(prices == least)
    return first if len(equal) == 1 else int(equal[choices.randrange(len(equal))])


def make_policy(name: PolicyName, choices: random.Random) -> Policy:
    """The policy of this name, as configured for production."""
    match name:
        case "hybrid":
            return Hybrid(choices)
        case "pull":
            return Pull()
        case "cost":
            return Cost(choices)
        case "round_robin":
            return RoundRobin()
        case "weighted_round_robin":
            return WeightedRoundRobin()
        case "least_connections":
            return LeastConnections(choices)
        case "sglang":
            return SglangLike(choices)
