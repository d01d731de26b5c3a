"""Which tokens go into the next step and which cells are shared: batching as pure rules.

A request waits, in order of arrival, for a free slot and for enough free cache cells to hold
its prompt and every token it may still produce; that many are reserved, so a sequence that has
started can always finish. Cells of idle sequences count as free: they are taken away, least
recently used first, when a request needs them. The head of the queue is never overtaken: a
large request holds up those behind it for a while instead of starving.

A request starts with the longest prefix that the cache already holds for it. One that has
computed nothing yet is held back while an earlier one is computing a longer common prefix: a
system prompt that many bring at once is computed once. This is asked anew before each step, so
when the leader is cancelled the next one leads.

In a step every sequence whose prompt is done advances by one token (DECODE) and maybe some
drafts, and what is left of the step's budget goes to prompt chunks (PREFILL), oldest first. So a
long prompt never stops running answers, and a prompt always advances too. (Chunked prefill:
Agrawal et al., Sarathi-Serve, OSDI 2024.) Who sits out a step is `precedence`'s to say.

Nothing here knows text, time or a model; it counts and compares.
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from appliance.worker.actions import Action, Adopt, Cut, Leave, Restore, Span, Start
from appliance.worker.backend import Shape
from appliance.worker.prefix import Match, Owner, PrefixTree, Tokens, begins_with, common_length

SHARED_AT_LEAST = 16  # tokens; less is not waited for, nor brought from disk


@dataclass(slots=True, eq=False)
class _Waiting:
    request_id: str
    tokens: Tokens
    owner: Owner
    reserve: int
    saved: int  # tokens of these that a snapshot has


@dataclass(slots=True, eq=False)
class _Running:
    request_id: str
    sequence: int
    tokens: Tokens  # those known at the start
    owner: Owner
    reserve: int  # cache cells set aside
    length: int  # tokens known: prompt, resumed and sampled ones
    cached: int = 0  # tokens of these that the cache holds
    fresh: bool = True  # has computed nothing yet
    restoring: bool = False  # a snapshot is being put into its sequence
    # by earlier request that was computing its prompt: length of the common usable prefix
    common: dict[str, int] = field(default_factory=dict)

    @property
    def pending(self) -> int:
        return self.length - self.cached


class Scheduler:
    """Owns slots, the cache's account, and the order of waiting and running requests.

    `can_share` False is for models whose state can neither be shared nor cut back: then nothing
    is kept when a request ends.
    """

    def __init__(self, shape: Shape, *, can_share: bool = True) -> None:
        self._shape = shape
        self._can_share = can_share
        self._waiting: deque[_Waiting] = deque()
        self._running: dict[str, _Running] = {}  # in order of admission
        self.tree = PrefixTree(
            shape.sequences,
            idle_bound=shape.sequences - shape.slots,
            idle_cells_bound=shape.warm_tokens,
        )

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def decoding(self) -> list[str]:
        """Requests whose prompts are done."""
        return [one.request_id for one in self._running.values() if one.pending == 1]

    @property
    def reserved_cells(self) -> int:
        """Cells that running requests may still fill."""
        return sum(one.reserve - one.cached for one in self._running.values())

    def submit(
        self,
        request_id: str,
        tokens: Sequence[int] | Tokens,
        *,
        owner: Owner,
        new_tokens: int,
        saved: int = 0,
    ) -> None:
        """Queue a request with these known tokens that may add up to `new_tokens`.

        Of the first `saved` tokens there is a snapshot. Answers are cut where the request's
        context ends.
        """
        assert 0 < len(tokens) < self._shape.context_tokens, "the caller rejects what does not fit"
        reserve = min(len(tokens) + new_tokens, self._shape.context_tokens)
        known = np.asarray(tokens, dtype=np.int32)
        self._waiting.append(_Waiting(request_id, known, owner, reserve, saved))

    def advance(self) -> list[Action]:
        """Admit what fits and share what can be shared: to be carried out in this order."""
        actions: list[Action] = []
        while self._waiting and len(self._running) < self._shape.slots:
            head = self._waiting[0]
            match = self._match(head.tokens, head.owner)
            if match and head.saved >= match.tokens + SHARED_AT_LEAST:
                match = None  # the snapshot has more
            if not self._fits(head, match):
                break
            self._waiting.popleft()
            self._admit(head, match, actions)
        for one in self._running.values():
            if one.fresh and one.common and not one.restoring and not self._held(one):
                match = self._match(one.tokens, one.owner)
                if match and match.tokens >= one.cached + SHARED_AT_LEAST:
                    self._adopt(one, match, actions)
        return actions

    def plan(
        self, budget: int, drafts: Mapping[str, int], out: Collection[str] = frozenset()
    ) -> list[Span]:
        """The next step, of at most `budget` tokens: decoding sequences, then prompt chunks.

        `drafts` is how many drafts each decoding request would like to have verified; requests in
        `out` sit this step out. A budget below the number of slots is taken as that number.
        """
        taking_part = [one for one in self._running.values() if one.request_id not in out]
        decoding = [one for one in taking_part if one.pending == 1]
        prompts = [one for one in taking_part if one.pending > 1 and not self._held(one, out)]
        budget = min(max(budget, self._shape.slots), self._shape.step_tokens)
        spare = min(self._shape.drafts, budget - len(decoding) - bool(prompts))
        spans = []
        for one in decoding:
            room = one.reserve - one.length - 1
            guesses = max(0, min(drafts.get(one.request_id, 0), room, spare))
            spare -= guesses
            budget -= 1 + guesses
            spans.append(
                Span(one.request_id, one.sequence, one.cached, 1 + guesses, True, drafts=guesses)
            )
        for one in prompts:
            count = min(one.pending, budget)
            if count == 0:
                break
            budget -= count
            last = count == one.pending
            spans.append(Span(one.request_id, one.sequence, one.cached, count, last))
        return spans

    def decoded(self, span: Span, tokens: Sequence[int]) -> None:
        """The step was run: the cache now holds these tokens of a span."""
        one = self._running[span.request_id]
        self.tree.extend(one.sequence, tokens)
        one.cached += span.count
        one.fresh = False

    def restored(self, request_id: str, tokens: int) -> None:
        """A snapshot gave a request its first cells; none when it could not be used."""
        one = self._running[request_id]
        one.restoring = False
        self.tree.extend(one.sequence, one.tokens[:tokens].tolist())
        one.cached = tokens

    def sampled(self, request_id: str) -> None:
        """A running request has one more known token."""
        one = self._running[request_id]
        one.length += 1
        assert one.length <= one.reserve, "the caller ends an answer at its last token"

    def confirmed(self, span: Span, drafts: int) -> list[Cut]:
        """Of a decoded span's drafts only the first so many were right: forget the others."""
        if drafts == span.drafts:
            return []
        one = self._running[span.request_id]
        one.cached = span.start + span.count - span.drafts + drafts
        self.tree.truncate(one.sequence, one.cached)
        return [Cut(one.sequence, one.cached)]

    def unshared(self, adopt: Adopt) -> list[Cut]:
        """The backend could not share: the request computes its prompt itself.

        An idle source is dropped, for it would be found again and again; not for a few tokens.
        """
        one = self._running[adopt.request_id]
        self.tree.truncate(one.sequence, 0)
        one.cached = 0
        if adopt.tokens < SHARED_AT_LEAST:
            return []
        one.fresh = False
        if adopt.source not in self.tree.idle:
            return []
        self.tree.release(adopt.source)
        return [Cut(adopt.source)]

    def room(self, request_id: str) -> int:
        """How many more tokens a running request may add."""
        one = self._running[request_id]
        return one.reserve - one.length

    def sequence(self, request_id: str) -> int | None:
        """The sequence of a running request, None while it waits."""
        one = self._running.get(request_id)
        return one.sequence if one else None

    def remove(self, request_id: str, *, keep: bool) -> list[Cut | Leave]:
        """Forget a request wherever it is; with `keep` its cells stay warm for another."""
        one = self._running.pop(request_id, None)
        if one is None:
            self._waiting = deque(w for w in self._waiting if w.request_id != request_id)
            return []
        if keep and self._can_share:
            oldest = self._leaving(self.tree.idle)
            own_tokens = self.tree.tokens(one.sequence)
            released = self.tree.park(one.sequence)
            actions: list[Cut | Leave] = [
                leave
                for leave in oldest
                if leave.sequence in released and not _is_replaced(leave, one.owner, own_tokens)
            ]
            return actions + [Cut(sequence) for sequence in released]
        self.tree.release(one.sequence)
        return [Cut(one.sequence)]

    def clear(self) -> list[Cut]:
        """Let nothing stay warm."""
        return self._released(self.tree.idle)

    def forget(self, session: str) -> list[Cut]:
        """Let nothing of a session stay warm."""
        return self._released(
            [idle for idle in self.tree.idle if self.tree.owner(idle).session == session]
        )

    def forget_scope(self, scope: str) -> list[Cut]:
        """Let nothing of a person stay warm."""
        return self._released(
            [idle for idle in self.tree.idle if self.tree.owner(idle).scope == scope]
        )

    # --- rules --------------------------------------------------------------------------------

    def _match(self, tokens: Tokens, owner: Owner) -> Match | None:
        """The longest reusable prefix; at least one token stays to compute."""
        return self.tree.match(tokens[:-1], owner) if self._can_share else None

    def _fits(self, head: _Waiting, match: Match | None) -> bool:
        """Whether a request could always finish once idle sequences have made room."""
        needed = head.reserve
        if match:
            needed += self.tree.cells_to_revive(match) - match.tokens
        held = self.tree.active_cells() + self.reserved_cells
        return held + needed <= self._shape.cache_tokens

    def _admit(self, head: _Waiting, match: Match | None, actions: list[Action]) -> None:
        sequence = self.tree.start(head.owner)
        one = _Running(
            head.request_id, sequence, head.tokens, head.owner, head.reserve, len(head.tokens)
        )
        for earlier in self._running.values():
            if self._can_share and earlier.pending > 1:
                common = common_length(earlier.tokens, one.tokens[:-1])
                if not one.owner.scope or earlier.owner.scope != one.owner.scope:
                    public = min(earlier.owner.public_tokens, one.owner.public_tokens)
                    common = min(common, public)
                if common >= SHARED_AT_LEAST:
                    one.common[earlier.request_id] = common
        self._running[head.request_id] = one
        actions.append(Start(head.request_id, sequence))
        if match:
            self._adopt(one, match, actions)
        for idle in self.tree.idle:
            if self.tree.used_cells + self.reserved_cells <= self._shape.cache_tokens:
                break
            actions += self._leaving([idle])
            self.tree.release(idle)
            actions.append(Cut(idle))
        if not match and head.saved >= SHARED_AT_LEAST:
            one.restoring = True
            actions.append(Restore(head.request_id, sequence, head.saved))

    def _released(self, idle: list[int]) -> list[Cut]:
        for sequence in idle:
            self.tree.release(sequence)
        return [Cut(sequence) for sequence in idle]

    def _leaving(self, sequences: list[int]) -> list[Leave]:
        """What is to be told of those that belong to somebody."""
        return [
            Leave(one, owner, self.tree.tokens(one))
            for one in sequences
            if (owner := self.tree.owner(one)).scope
        ]

    def _adopt(self, one: _Running, match: Match, actions: list[Action]) -> None:
        self.tree.truncate(one.sequence, 0)
        self.tree.share(match, one.sequence)
        one.cached = match.tokens
        actions.append(Adopt(one.request_id, one.sequence, match.source, match.tokens))

    def _held(self, one: _Running, out: Collection[str] = frozenset()) -> bool:
        """Whether an earlier request is about to compute more of this one's prompt than it has."""
        return one.fresh and any(
            common >= one.cached + SHARED_AT_LEAST
            and earlier_id not in out
            and self._leads(earlier_id, common)
            for earlier_id, common in one.common.items()
        )

    def _leads(self, request_id: str, common: int) -> bool:
        leader = self._running.get(request_id)
        return leader is not None and leader.pending > 1 and leader.cached < common


def _is_replaced(leave: Leave, by: Owner, tokens: Tokens) -> bool:
    """Whether a conversation leaves because of its own next turn."""
    if leave.owner.session or by.session:
        return leave.owner.session == by.session
    return leave.owner.scope == by.scope and begins_with(tokens, leave.tokens)
