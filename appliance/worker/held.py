"""What a worker holds, and when the next of it may start: pure rules.

After a worker's death each request it was computing is a suspect (`bus.leases` says why). So
that a second death tells who did it, a suspect starts only when all others here have proven
themselves by adding to their answers, and until it has too, nothing else starts. One that died
`attempts` times without being caught runs from start to end alone.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from appliance.bus.leases import TRIAL_PIECES
from appliance.schema.requests import Work
from appliance.worker.gauge import EngineStatus


@dataclass
class Job:
    """A request this worker holds. `held` is its lease, empty until it was taken; `entry` is the
    name of its stream entry (`bus.work`).

    `emitted` pieces and `tokens` were written so far, over all attempts; `resumed` pieces of them
    by earlier ones. `keeps_tokens` is false where those were another model's tokens. The engine
    had made `since_step` steps when it got the request.
    """

    work: Work
    entry: str
    held: str = ""
    attempt: int = 0
    deaths: int = 0
    emitted: int = 0
    resumed: int = 0
    tokens: int = 0
    keeps_tokens: bool = True
    computing: bool = False
    since_step: int = 0
    first_token_at_ms: int = 0
    unwanted: bool = False

    @property
    def request_id(self) -> str:
        return self.work.request_id

    @property
    def engine_id(self) -> str:
        """Names this attempt to the engine, so that what an earlier one leaves is not mixed up."""
        return f"{self.request_id}:{self.attempt}"

    @property
    def proven(self) -> bool:
        return self.emitted - self.resumed >= TRIAL_PIECES


def may_start(job: Job, others: Iterable[Job], attempts: int) -> bool:
    """Whether a job may join the `others`, which this worker is computing."""
    if job.deaths >= attempts:
        return not any(True for _ in others)
    return all(
        other.deaths < attempts and (other.proven or not (job.deaths or other.deaths))
        for other in others
    )


def waiting(held: Collection[Job], status: EngineStatus) -> set[str]:
    """Ids of the requests of which the engine says that no step has had them yet.

    It starts requests in the order in which it gets them. What it said before it ended two steps
    with a request says nothing about that one: it may be stuck in the request's first step.
    """
    silent = [job for job in held if job.computing and job.emitted == job.resumed]
    last = silent[len(silent) - status.waiting :] if status.waiting else ()
    return {job.request_id for job in last if status.steps >= job.since_step + 2}
