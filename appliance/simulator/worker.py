"""One simulated worker: continuous batching with chunked prefill, many steps at a time.

In each step every running sequence produces one token and the rest of the step's chunk is prompt
tokens, first come first served. While nothing joins and nothing finishes, all steps are alike, so
the worker jumps to the next moment that matters instead of stepping there: the cost of a request
is a handful of jumps, whatever its length. The result equals stepping one by one.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from appliance.placement.fleet import Job
from appliance.simulator.constants import Constants
from appliance.simulator.kv import PrefixCache

NEVER = float("inf")


@dataclass(slots=True)
class Sequence:
    """A request in a slot. `output_tokens` is the truth, which no policy sees."""

    job: Job
    output_tokens: int
    matched_blocks: int
    left_tokens: int
    private: int = 0


@dataclass(frozen=True, slots=True)
class Happening:
    """A first token, or the end."""

    sequence: Sequence
    at_s: float
    ended: bool


@dataclass
class SimWorker:
    """Advance it to a time, then give it work; `next_s` is when something happens by itself."""

    constants: Constants
    number: int
    evicted: Callable[[int], None]
    stored: Callable[[tuple[int, ...]], None]
    block_tokens: int
    slowness: float = 1.0
    busy_s: float = 0.0
    version: int = 0
    _at_s: float = 0.0
    _decoded: int = 0
    _decoding: list[tuple[int, int, Sequence]] = field(default_factory=list)
    _prefilling: deque[Sequence] = field(default_factory=deque)
    _joining: list[Sequence] = field(default_factory=list)
    _done: list[Sequence] = field(default_factory=list)
    _steps: int = 0
    _step_s: float = 0.0
    _chunk: int = 0
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.cache = PrefixCache(self.constants.kv_tokens, self.block_tokens, self.evicted)

    @property
    def next_s(self) -> float:
        """When the next sequence gets its first token or ends; infinity when idle."""
        return self._at_s + self._steps * self._step_s if self._steps else NEVER

    def fits(self, job: Job, output_tokens: int) -> bool:
        """Whether the KV cache has room for the whole of it."""
        matched = self._matched(job)
        need = self.cache.needs(job.blocks, matched, job.input_tokens + output_tokens)
        return need <= self.cache.free

    def start(self, job: Job, output_tokens: int, now_s: float) -> Sequence:
        """Takes a slot; the sequence joins at the next step."""
        matched = self._matched(job)
        sequence = Sequence(
            job, output_tokens, matched, job.input_tokens - matched * self.block_tokens
        )
        tokens = job.input_tokens + output_tokens
        sequence.private = self.cache.open(job.blocks, matched, tokens)
        if self._steps and now_s > self._at_s:
            self._cut(now_s)
        if self._steps and now_s > self._at_s:
            self._joining.append(sequence)
        else:  # idle, or just between two steps
            self._at_s = now_s
            self._prefilling.append(sequence)
            self._plan()
        return sequence

    def slow_down(self, slowness: float, now_s: float) -> None:
        """From the next step on every step takes this many times as long."""
        if self._steps:
            self._cut(now_s)
        self.slowness = slowness

    def advance(self, now_s: float) -> Iterator[Happening]:
        """Everything that happens until then, in order."""
        while self._steps and self.next_s <= now_s:
            yield from self._jump()

    # Below: helpers.

    def _matched(self, job: Job) -> int:
        """At least one token has to be computed, so a fully known prompt gives back a block."""
        matched = self.cache.match(job.blocks)
        return matched - 1 if matched * self.block_tokens >= job.input_tokens else matched

    def _plan(self) -> None:
        """How many equal steps come, and how long each takes."""
        model, count = self.constants, len(self._decoding)
        steps, self._chunk = 0, 0
        if self._prefilling:
            chunk = max(1, model.chunk_tokens - count)
            steps = self._prefilling[0].left_tokens // chunk
            self._chunk = chunk
            if not steps:
                steps, self._chunk = 1, self._mixed(chunk)
        if self._decoding:
            left = self._decoding[0][0] - self._decoded
            steps = min(steps, left) if steps else left
        self._steps = steps
        step_s = model.step_s + model.input_s * self._chunk + model.output_s * count
        self._step_s = step_s * self.slowness
        self.version += 1

    def _mixed(self, chunk: int) -> int:
        """Prompt tokens of a step that ends the first prompt and begins the next ones."""
        total = 0
        for sequence in self._prefilling:
            total += sequence.left_tokens
            if total >= chunk:
                return chunk
        return total

    def _cut(self, now_s: float) -> None:
        """Counts the whole steps done, and lets only the one in flight finish as planned."""
        done = min(int((now_s - self._at_s) / self._step_s + 1e-9), self._steps - 1)
        if done > 0:
            self._pass(done)
        if self._steps > 1:
            self._steps = 1
            self.version += 1

    def _pass(self, steps: int) -> None:
        self._at_s += steps * self._step_s
        self.busy_s += steps * self._step_s
        self._steps -= steps
        if self._decoding:
            self._decoded += steps
        left = steps * self._chunk
        while left:
            head = self._prefilling[0]
            part = min(left, head.left_tokens)
            head.left_tokens -= part
            left -= part
            if head.left_tokens:
                break
            self._prefilling.popleft()
            self._done.append(head)

    def _jump(self) -> Iterator[Happening]:
        self._pass(self._steps)
        at_s = self._at_s
        ended: list[Sequence] = []
        while self._decoding and self._decoding[0][0] <= self._decoded:
            ended.append(heapq.heappop(self._decoding)[2])
        first, self._done = self._done, []
        for sequence in first:
            shared = self.cache.store(sequence.job.blocks, sequence.matched_blocks)
            sequence.private -= shared
            self.stored(sequence.job.blocks)
            if sequence.output_tokens == 1:
                ended.append(sequence)
            else:
                self._numbers += 1
                last = self._decoded + sequence.output_tokens - 1
                heapq.heappush(self._decoding, (last, self._numbers, sequence))
        self._prefilling.extend(self._joining)
        self._joining.clear()
        for sequence in ended:
            self.cache.close(sequence.job.blocks, sequence.private)
        self._plan()
        for sequence in first:
            yield Happening(sequence, at_s, ended=False)
        for sequence in ended:
            yield Happening(sequence, at_s, ended=True)
