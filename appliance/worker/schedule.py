"""Which tokens go into the next step: continuous batching with chunked prefill, as pure rules.

A request waits, in order of arrival, for a free slot and for enough free cache cells to hold
its prompt and every token it may still produce; that many are reserved, so a sequence that has
started can always finish. The head of the queue is never overtaken: a large request holds up
those behind it for a while instead of starving.

In a step every sequence whose prompt is done advances by one token (DECODE), and what is left
of the step's budget goes to prompt chunks (PREFILL), oldest first. So a long prompt never
stops running answers, and since a step has at least as many tokens as there are slots, a
prompt always advances too. (Chunked prefill: Agrawal et al., Sarathi-Serve, OSDI 2024.)

Nothing here knows tokens, text, time or a model; it counts.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.worker.backend import Shape


@dataclass(frozen=True, slots=True)
class Admission:
    """A request got a slot."""

    request_id: str
    slot: int


@dataclass(frozen=True, slots=True)
class Share:
    """A sequence's part of a step: `count` of its tokens from position `start`.

    After the `last` known token there is something to sample.
    """

    request_id: str
    slot: int
    start: int
    count: int
    last: bool


@dataclass(slots=True)
class _Waiting:
    request_id: str
    length: int
    reserve: int


@dataclass(slots=True)
class _Running:
    request_id: str
    slot: int
    length: int  # tokens known: prompt, resumed and sampled ones
    cached: int  # tokens of these that the cache holds
    reserve: int  # cache cells set aside

    @property
    def pending(self) -> int:
        return self.length - self.cached


class Scheduler:
    """Owns slots, cache cells and the order of waiting and running requests."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._waiting: deque[_Waiting] = deque()
        self._running: dict[str, _Running] = {}  # in order of admission
        self._free_slots = list(range(shape.slots - 1, -1, -1))
        self.free_cells = shape.cache_tokens

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def submit(self, request_id: str, *, length: int, new_tokens: int) -> None:
        """Queue a request with `length` known tokens that may add up to `new_tokens`.

        Answers are cut where the request's context ends.
        """
        assert 0 < length < self._shape.context_tokens, "the caller rejects what does not fit"
        reserve = min(length + new_tokens, self._shape.context_tokens)
        self._waiting.append(_Waiting(request_id, length, reserve))

    def admit(self) -> list[Admission]:
        """Give slots to waiting requests, oldest first, while there are slots and cells."""
        admitted = []
        while self._waiting and self._free_slots and self._waiting[0].reserve <= self.free_cells:
            head = self._waiting.popleft()
            slot = self._free_slots.pop()
            self.free_cells -= head.reserve
            self._running[head.request_id] = _Running(
                head.request_id, slot, head.length, cached=0, reserve=head.reserve
            )
            admitted.append(Admission(head.request_id, slot))
        return admitted

    def plan(self) -> list[Share]:
        """The next step: every decoding sequence, then prompt chunks while the budget lasts."""
        decoding = [one for one in self._running.values() if one.pending == 1]
        prefilling = [one for one in self._running.values() if one.pending > 1]
        budget = self._shape.step_tokens
        shares = []
        for one in (*decoding, *prefilling):
            count = min(one.pending, budget)
            if count == 0:
                break
            budget -= count
            last = count == one.pending
            shares.append(Share(one.request_id, one.slot, one.cached, count, last))
        return shares

    def decoded(self, shares: Iterable[Share]) -> None:
        """The step was run: the cache now holds these tokens."""
        for share in shares:
            self._running[share.request_id].cached += share.count

    def sampled(self, request_id: str) -> None:
        """A running request has one more known token."""
        one = self._running[request_id]
        one.length += 1
        assert one.length <= one.reserve, "the caller ends an answer at its last token"

    def room(self, request_id: str) -> int:
        """How many more tokens a running request may add."""
        one = self._running[request_id]
        return one.reserve - one.length

    def remove(self, request_id: str) -> int | None:
        """Forget a request wherever it is. Returns the slot it held, None when it held none."""
        one = self._running.pop(request_id, None)
        if one is not None:
            self._free_slots.append(one.slot)
            self.free_cells += one.reserve
            return one.slot
        for waiting in self._waiting:
            if waiting.request_id == request_id:
                self._waiting.remove(waiting)
                break
        return None
