"""One simulated worker: continuous batching with chunked prefill, many steps at a time.

In each step every running sequence produces one token and the rest of the step's chunk is prompt
tokens, first come first served. While nothing joins and nothing finishes, all steps are alike, so
the worker jumps to the next moment that matters instead of stepping there: the cost of a request
is a handful of jumps, whatever its length. The result equals stepping one by one. Only where
requests of several users run under a rule of `precedence`, which is asked before each step as it
is live, the worker does step one by one.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from appliance.placement.fleet import Job
from appliance.simulator.constants import Constants
from appliance.simulator.kv import PrefixCache
from appliance.worker.gauge import Gauge
from appliance.worker.precedence import EVERYBODY, Precedence, Turn

NEVER = float("inf")


@dataclass(slots=True)
class Sequence:
    """A request in a slot. `output_tokens` is the truth, which no policy sees."""

    job: Job
    output_tokens: int
    matched_blocks: int
    left_tokens: int
    name: str
    user: str
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
    precedence: Precedence | None = None
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
    _users: dict[str, str] = field(default_factory=dict)
    _turn: Turn = EVERYBODY
    _gauge: Gauge = field(default_factory=lambda: Gauge(0.0))

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

    def start(self, job: Job, output_tokens: int, now_s: float, user: str = "") -> Sequence:
        """Takes a slot; the sequence joins at the next step."""
        matched = self._matched(job)
        left = job.input_tokens - matched * self.block_tokens
        sequence = Sequence(job, output_tokens, matched, left, str(job.id), user)
        tokens = job.input_tokens + output_tokens
        sequence.private = self.cache.open(job.blocks, matched, tokens)
        if self._steps and now_s > self._at_s:
            self._cut(now_s)
        if self._steps and now_s > self._at_s:
            self._joining.append(sequence)
        else:  # idle, or just between two steps
            self._at_s = now_s
            self._join(sequence)
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

    def _join(self, sequence: Sequence) -> None:
        self._prefilling.append(sequence)
        self._users[sequence.name] = sequence.user

    def _plan(self) -> None:
        """How many equal steps come, and how long each takes."""
        model, turn = self.constants, self._next_turn()
        count, prompts = len(self._decoding), len(self._prefilling)
        if turn.out:
            count -= sum(one.name in turn.out for _, _, one in self._decoding)
            prompts -= sum(one.name in turn.out for one in self._prefilling)
            # Who goes first is in front, from now on.
            self._prefilling = deque(sorted(self._prefilling, key=lambda s: s.name in turn.out))
        steps, self._chunk = 0, 0
        if prompts:
            chunk = max(1, model.chunk_tokens - count)
            if turn.prompt_tokens is not None:
                chunk = min(chunk, turn.prompt_tokens)
            steps = self._prefilling[0].left_tokens // chunk
            self._chunk = chunk
            if not steps:
                steps, self._chunk = 1, self._mixed(chunk, prompts)
        if self._decoding:
            left = self._decoding[0][0] - self._decoded
            steps = min(steps, left) if steps else left
        if self.precedence and len(set(self._users.values())) > 1:
            steps = 1
        self._steps = steps
        step_s = model.step_s + model.input_s * self._chunk + model.output_s * count
        self._step_s = step_s * self.slowness
        self.version += 1

    def _next_turn(self) -> Turn:
        self._turn = EVERYBODY
        if self.precedence and self._users:
            decoding = [one.name for _, _, one in self._decoding]
            self._turn = self.precedence.turn(self._users, decoding, self._gauge, self._at_s)
        return self._turn

    def _mixed(self, chunk: int, prompts: int) -> int:
        """Prompt tokens of a step that ends the first prompt and begins the next ones."""
        total = 0
        for sequence in islice(self._prefilling, prompts):
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
        tokens = self._decode(steps)
        left = steps * self._chunk
        while left:
            head = self._prefilling[0]
            part = min(left, head.left_tokens)
            tokens[head.name] = part
            head.left_tokens -= part
            left -= part
            if head.left_tokens:
                break
            self._prefilling.popleft()
            self._done.append(head)
        if self.precedence:
            self._gauge.computed(sum(tokens.values()) // steps, self._step_s)
            self.precedence.charge(tokens, steps * self._step_s, self._at_s)

    def _decode(self, steps: int) -> dict[str, int]:
        """Every answer that takes part goes on; returns their tokens, if anybody counts them."""
        if self._decoding:
            self._decoded += steps
        out = self._turn.out
        if out:
            self._decoding = [
                (last + steps if one.name in out else last, number, one)
                for last, number, one in self._decoding
            ]
            heapq.heapify(self._decoding)
        if not self.precedence:
            return {}
        return {one.name: steps for _, _, one in self._decoding if one.name not in out}

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
        for sequence in self._joining:
            self._join(sequence)
        self._joining.clear()
        for sequence in ended:
            del self._users[sequence.name]
            self.cache.close(sequence.job.blocks, sequence.private)
        self._plan()
        for sequence in first:
            yield Happening(sequence, at_s, ended=False)
        for sequence in ended:
            yield Happening(sequence, at_s, ended=True)
