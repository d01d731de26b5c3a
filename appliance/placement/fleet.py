"""What is known of the workers: their load as promised and told, and which prefixes they hold.

Everything a policy may look at is here, and it is the same for all of them. A placement counts as
load at once, at its predicted size, and is corrected by what the worker tells: a request started,
gave its first token, ended. Loads are arrays over workers, so that a thousand of them cost one
vector operation; holders of a prefix block are one integer with a bit per worker.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Vector: TypeAlias = npt.NDArray[np.float64]

PACE_LEARNING = 0.2
PACE_LEAST, PACE_MOST = 0.25, 20.0
HOLDERS_LOOKED_AT = 16


@dataclass(slots=True)
class Job:
    """An admitted request. `blocks` name its prompt's prefix, one id per full block of tokens."""

    id: int | str
    input_tokens: int
    output_tokens: float
    blocks: tuple[int, ...]
    arrived_s: float
    block_tokens: int = 512


class Match(NamedTuple):
    worker: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Speed:
    """A step of `chunk` prompt tokens and d running sequences takes a sum of these (seconds)."""

    step_s: float
    input_s: float
    output_s: float
    chunk: int

    @property
    def full_step_s(self) -> float:
        """Seconds of a step full of prompt tokens."""
        return self.step_s + self.input_s * self.chunk

    @property
    def token_s(self) -> float:
        """Seconds of a prompt token on an otherwise idle worker, its part of the step included."""
        return self.input_s + self.step_s / self.chunk


@dataclass(slots=True)
class _Placed:
    """What one placement added to its worker's load, so that exactly that is taken off again."""

    worker: int
    input_s: float
    output_tokens: float
    started_s: float | None = None
    ahead_s: float = 0.0
    prefilled: bool = False


@dataclass
class Fleet:
    """Loads of `size` workers. Workers are numbered; a number is reused after `lost`."""

    speed: Speed
    slots: npt.NDArray[np.int64]
    stall_s: float = 30.0
    _placed: dict[int | str, _Placed] = field(default_factory=dict)
    _holders: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = len(self.slots)
        self.live = np.ones(size, dtype=np.bool_)
        self.running = np.zeros(size, dtype=np.int64)
        self.bound = np.zeros(size, dtype=np.int64)
        self.backlog_s = np.zeros(size)
        self.output_tokens = np.zeros(size)
        self.pace = np.ones(size)
        self.news_s = np.zeros(size)
        # Added to every estimate: nobody can be given work while this is infinite.
        self.penalty_s = np.zeros(size)

    # --- what policies ask ----------------------------------------------------------------

    def prices_s(self, job: Job, matches: Iterable["Match"] = ()) -> Vector:
        """Expected seconds until each worker gives the job's first token."""
        token_s = self.speed.token_s
        prices = self.waits_s() + job.input_tokens * token_s * self.pace
        for match in matches:
            prices[match.worker] -= match.tokens * token_s * self.pace[match.worker]
        return prices

    def waits_s(self) -> Vector:
        """Expected seconds until each worker could begin with a new prompt."""
        over = self.running + self.bound + 1 - self.slots
        wait_s: Vector = self.backlog_s * self.pace + self.penalty_s
        if over.max(initial=0) > 0:
            speed = self.speed
            step_s = speed.step_s + speed.output_s * self.running
            tokens = self.output_tokens / np.maximum(1, self.running + self.bound)
            hold_s = tokens * step_s * self.pace
            wait_s = wait_s + np.maximum(0, over) * hold_s / self.slots
        return wait_s

    def matched(self, job: Job, worker: int) -> int:
        """Prompt tokens this worker has in its KV cache already."""
        blocks, bit = job.blocks, 1 << worker
        holders = self._holders
        if not blocks or not holders.get(blocks[0], 0) & bit:
            return 0
        low, high = 1, len(blocks)
        while low < high:  # a held block implies the ones before it
            middle = (low + high + 1) // 2
            if holders.get(blocks[middle - 1], 0) & bit:
                low = middle
            else:
                high = middle - 1
        return min(low * job.block_tokens, job.input_tokens - 1)

    def matches(self, job: Job) -> list[Match]:
        """The workers with the longest matches, longest first, at most 16 of them."""
        found: list[Match] = []
        blocks, holders = job.blocks, self._holders
        low, high = 0, len(blocks)
        while low < high:
            middle = (low + high + 1) // 2
            if holders.get(blocks[middle - 1], 0):
                low = middle
            else:
                high = middle - 1
        seen = 0
        for depth in range(low, 0, -1):
            fresh = holders.get(blocks[depth - 1], 0) & ~seen
            if not fresh:
                continue
            seen |= fresh
            tokens = min(depth * job.block_tokens, job.input_tokens - 1)
            found += [Match(worker, tokens) for worker in self._least_loaded(fresh)]
            if len(found) >= HOLDERS_LOOKED_AT:
                return found[:HOLDERS_LOOKED_AT]
        return found

    def free(self, worker: int) -> int:
        """Slots that nobody runs in."""
        return int(self.slots[worker] - self.running[worker])

    def stalled(self, worker: int, now_s: float) -> bool:
        """It has work and has said nothing for too long."""
        busy = self.running[worker] > 0 or self.bound[worker] > 0
        return bool(busy and now_s - self.news_s[worker] > self.stall_s * self.pace[worker])

    # --- what happens ---------------------------------------------------------------------

    def placed(self, job: Job, worker: int, now_s: float) -> None:
        """Counts as load from now on."""
        fresh = job.input_tokens - self.matched(job, worker)
        input_s = fresh * self.speed.token_s
        self._placed[job.id] = _Placed(worker, input_s, job.output_tokens)
        if not (self.running[worker] or self.bound[worker]):
            self.news_s[worker] = now_s
        self.bound[worker] += 1
        self.backlog_s[worker] += input_s
        self.output_tokens[worker] += job.output_tokens
        self._hold(job, worker)

    def withdrawn(self, job: Job) -> None:
        """Taken back before it started."""
        placed = self._placed.pop(job.id)
        self.bound[placed.worker] -= 1
        self._unload(placed)

    def started(self, job: Job, now_s: float) -> None:
        """The worker took it into a slot."""
        placed = self._placed[job.id]
        self.bound[placed.worker] -= 1
        self.running[placed.worker] += 1
        placed.started_s, placed.ahead_s = now_s, float(self.backlog_s[placed.worker])

    def first_token(self, job: Job, now_s: float) -> None:
        """Its prompt is done: how long that took tells the worker's real pace."""
        placed = self._placed[job.id]
        worker = placed.worker
        assert placed.started_s is not None
        said_s = placed.ahead_s + self.speed.step_s
        said_s += (
            said_s
            / self.speed.input_s
            / self.speed.chunk
            * (self.speed.output_s * float(self.running[worker]))
        )
        ratio = (now_s - placed.started_s) / said_s
        ratio = min(PACE_MOST, max(PACE_LEAST, ratio))
        self.pace[worker] *= (ratio / self.pace[worker]) ** PACE_LEARNING
        self._heard(worker, now_s)
        self.backlog_s[worker] -= placed.input_s
        placed.prefilled = True

    def ended(self, job: Job, now_s: float) -> None:
        """It left its slot."""
        placed = self._placed.pop(job.id)
        self.running[placed.worker] -= 1
        self._heard(placed.worker, now_s)
        self._unload(placed)

    def stored(self, blocks: tuple[int, ...], worker: int) -> None:
        """A worker tells what it has in its KV cache now."""
        bit = 1 << worker
        for block in blocks:
            self._holders[block] = self._holders.get(block, 0) | bit

    def evicted(self, block: int, worker: int) -> None:
        """A worker tells what it has no more."""
        left = self._holders.get(block, 0) & ~(1 << worker)
        if left:
            self._holders[block] = left
        else:
            self._holders.pop(block, None)

    def lost(self, worker: int) -> None:
        """It is gone with everything it held; `joined` makes its number usable again."""
        self.live[worker] = False
        self.penalty_s[worker] = np.inf
        for name in [name for name, placed in self._placed.items() if placed.worker == worker]:
            del self._placed[name]
        self.running[worker] = self.bound[worker] = 0
        self.backlog_s[worker] = self.output_tokens[worker] = 0.0
        for block in list(self._holders):
            self.evicted(block, worker)

    def suspected(self, worker: int) -> None:
        """It stalls: nothing is placed on it until it is heard of again."""
        self.penalty_s[worker] = np.inf

    def closed(self, worker: int) -> None:
        """It drains: it ends what it runs and is given nothing new."""
        self.live[worker] = False
        self.penalty_s[worker] = np.inf

    def grown(self, size: int) -> None:
        """Room for more workers; the new numbers belong to nobody until `joined`."""
        more = size - len(self.slots)
        self.slots = np.append(self.slots, np.ones(more, dtype=np.int64))
        self.live = np.append(self.live, np.zeros(more, dtype=np.bool_))
        self.running = np.append(self.running, np.zeros(more, dtype=np.int64))
        self.bound = np.append(self.bound, np.zeros(more, dtype=np.int64))
        self.backlog_s = np.append(self.backlog_s, np.zeros(more))
        self.output_tokens = np.append(self.output_tokens, np.zeros(more))
        self.pace = np.append(self.pace, np.ones(more))
        self.news_s = np.append(self.news_s, np.zeros(more))
        self.penalty_s = np.append(self.penalty_s, np.full(more, np.inf))

    def joined(self, worker: int, slots: int, now_s: float) -> None:
        """A new worker, or one that is back."""
        self.slots[worker] = slots
        self.live[worker] = True
        self.penalty_s[worker] = 0.0
        self.pace[worker] = 1.0
        self.news_s[worker] = now_s

    # Below: helpers.

    def _heard(self, worker: int, now_s: float) -> None:
        self.news_s[worker] = now_s
        if self.live[worker]:
            self.penalty_s[worker] = 0.0

    def _hold(self, job: Job, worker: int) -> None:
        """The prefix counts as held from the placement on, so that a burst stays together."""
        self.stored(job.blocks, worker)

    def _unload(self, placed: _Placed) -> None:
        self.output_tokens[placed.worker] -= placed.output_tokens
        if not placed.prefilled:
            self.backlog_s[placed.worker] -= placed.input_s
        if self.running[placed.worker] == 0 and self.bound[placed.worker] == 0:
            # Sums of floats drift; an empty worker has no load at all.
            self.backlog_s[placed.worker] = self.output_tokens[placed.worker] = 0.0

    def _least_loaded(self, mask: int) -> list[int]:
        size = len(self.slots)
        if mask.bit_count() <= HOLDERS_LOOKED_AT:
            workers = []
            while mask:
                low = mask & -mask
                workers.append(low.bit_length() - 1)
                mask ^= low
            return workers
        raw = np.frombuffer(mask.to_bytes(-(-size // 8), "little"), dtype=np.uint8)
        found = np.flatnonzero(np.unpackbits(raw, bitorder="little")[:size])
        order = np.argpartition(self.backlog_s[found], HOLDERS_LOOKED_AT)[:HOLDERS_LOOKED_AT]
        return [int(worker) for worker in found[order]]
