"""Which sequence holds which cells of the KV cache: a radix tree over token runs, pure rules.

A path from the root is what a sequence's cells hold. A run is a piece of a path; sequences that
share it hold the same cells, so they are counted once. A run is cut where somebody shares only
its beginning, and equal tokens that were computed twice are two branches, for they are other
cells. A sequence is active while a request computes on it, and may stay idle afterwards to keep
its cells warm; idle ones leave in order of their last use. (Radix attention: Zheng et al.,
SGLang, 2024; cells of a unified cache instead of pages.)

Whose text it is decides who may use it: a cell's values depend on the tokens up to it, so a
prefix may be reused by the scope that wrote it, and by others only as far as both mark their
beginning as public. An empty scope shares nothing but what is public.

Nothing here knows a model or time; the caller carries out on the backend what is decided here.
"""

from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.int32]  # one dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Whose tokens they are. The first `public_tokens` of them are the same for everybody.

    A conversation keeps one idle sequence: a newer one of the same `session` replaces it.
    """

    scope: str
    session: str = ""
    public_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """`source` holds cells with the first `tokens` tokens that were asked for."""

    source: int
    tokens: int


@dataclass(eq=False, slots=True)
class _Run:
    """Cells one after another. The first `public` of them are public text."""

    parent: "_Run | None"
    tokens: "array[int]" = field(default_factory=lambda: array("i"))
    public: int = 0
    holders: set[int] = field(default_factory=set)
    children: list["_Run"] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Resident:
    """A sequence with cells, or about to have some. `end` is the last run of its path."""

    owner: Owner
    end: _Run
    length: int = 0


class PrefixTree:
    """Owns sequence ids and the account of cells. `used_cells` is exact at any time."""

    def __init__(self, sequences: int, *, idle_bound: int, idle_cells_bound: int) -> None:
        """Ids count from 0 to `sequences` - 1.

        At most `idle_bound` of them stay idle, and together these hold at most `idle_cells_bound`
        cells that no active one holds, or one of them holds more.
        """
        self._root = _Run(None)
        self._residents: dict[int, _Resident] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()  # least recently used first
        self._idle_bound = idle_bound
        self._idle_cells_bound = idle_cells_bound
        self._free = list(range(sequences - 1, -1, -1))
        self.used_cells = 0

    @property
    def idle(self) -> list[int]:
        """Idle sequences, the least recently used first."""
        return list(self._idle)

    @property
    def sessions(self) -> list[str]:
        """Sessions that have a sequence here: those of running requests, then the idle ones."""
        running = [one for one in self._residents if one not in self._idle]
        owners = [self.owner(one) for one in (*running, *reversed(self._idle))]
        return list(dict.fromkeys(owner.session for owner in owners if owner.session))

    def owner(self, sequence: int) -> Owner:
        return self._residents[sequence].owner

    def length(self, sequence: int) -> int:
        """How many cells a sequence holds."""
        return self._residents[sequence].length

    def tokens(self, sequence: int) -> Tokens:
        """What the cells of a sequence hold, in order."""
        joined = array("i")
        for run in self._path(sequence):
            joined.extend(run.tokens)
        return np.array(joined, dtype=np.int32)

    def active_cells(self) -> int:
        """Cells that at least one active sequence holds."""
        return sum(len(run.tokens) for run in self._runs() if self._is_active(run))

    def cells_to_revive(self, match: Match) -> int:
        """How many of the matched cells are held by idle sequences only."""
        missing, left = 0, match.tokens
        for run in self._path(match.source):
            count = min(left, len(run.tokens))
            missing += 0 if self._is_active(run) else count
            left -= count
        return missing

    # --- finding and sharing ------------------------------------------------------------------

    def match(self, tokens: Tokens, owner: Owner) -> Match | None:
        """The longest beginning of `tokens` whose cells this owner may use."""
        best = Match(-1, 0)
        open_ends = [(self._root, 0)]
        while open_ends:
            run, depth = open_ends.pop()
            for child in run.children:
                count = self._usable(child, tokens, owner, depth)
                if depth + count > best.tokens:
                    best = Match(min(child.holders), depth + count)
                if count == len(child.tokens):
                    open_ends.append((child, depth + count))
        return best if best.tokens else None

    def start(self, owner: Owner) -> int:
        """A new active sequence without cells. The caller has seen to a free id."""
        sequence = self._free.pop()
        self._residents[sequence] = _Resident(owner, self._root)
        return sequence

    def share(self, match: Match, target: int) -> None:
        """Let an empty active sequence hold the matched cells too; the source counts as used."""
        resident = self._residents[target]
        assert resident.length == 0, "only an empty sequence can share"
        left = match.tokens
        for run in self._path(match.source):
            if left < len(run.tokens):
                self._split(run, left)
            run.holders.add(target)
            resident.end = run
            left -= len(run.tokens)
            if not left:
                break
        resident.length = match.tokens
        if match.source in self._idle:
            self._idle.move_to_end(match.source)

    # --- growing and shrinking ----------------------------------------------------------------

    def extend(self, sequence: int, tokens: Sequence[int]) -> None:
        """An active sequence computed these tokens: so many new cells, all its own."""
        resident = self._residents[sequence]
        run = resident.end
        if run is self._root or run.children or len(run.holders) > 1:
            run = _Run(resident.end, holders={sequence})
            resident.end.children.append(run)
            resident.end = run
        if run.public == len(run.tokens):
            run.public += min(len(tokens), max(0, resident.owner.public_tokens - resident.length))
        run.tokens.extend(tokens)
        resident.length += len(tokens)
        self.used_cells += len(tokens)

    def truncate(self, sequence: int, length: int) -> None:
        """Let go of a sequence's cells from position `length` on."""
        resident = self._residents[sequence]
        while resident.length > length:
            run = resident.end
            excess = resident.length - length
            if excess < len(run.tokens):
                kept = len(run.tokens) - excess
                if run.children or len(run.holders) > 1:
                    self._split(run, kept)
                    continue
                del run.tokens[kept:]
                run.public = min(run.public, kept)
                self.used_cells -= excess
                resident.length = length
            else:
                resident.length -= len(run.tokens)
                assert run.parent is not None
                resident.end = run.parent
                self._let_go(run, sequence)

    def release(self, sequence: int) -> None:
        """Forget a sequence; only cells that nobody else holds become free."""
        self.truncate(sequence, 0)
        del self._residents[sequence]
        self._idle.pop(sequence, None)
        self._free.append(sequence)

    # --- idle sequences -----------------------------------------------------------------------

    def park(self, sequence: int) -> list[int]:
        """An active sequence becomes idle. Returns the sequences released for it.

        Those are idle ones that it makes superfluous (the same conversation, or tokens that it
        holds all), the least recently used beyond the bounds, and itself when it holds nothing.
        """
        resident = self._residents[sequence]
        released = [one for one in self._idle if self._is_covered(one, sequence)]
        self._idle[sequence] = None
        if not resident.length:
            released.append(sequence)
        remaining = [one for one in self._idle if one not in released]
        released += remaining[: max(0, len(remaining) - self._idle_bound)]
        for one in released:
            self.release(one)
        active = self.active_cells()  # idle ones leave these alone
        while len(self._idle) > 1 and self.used_cells - active > self._idle_cells_bound:
            released.append(next(iter(self._idle)))
            self.release(released[-1])
        return released

    def _is_covered(self, old_id: int, new_id: int) -> bool:
        """A request that is made again computes its last token again: equal tokens, other cells."""
        old, new = self._residents[old_id], self._residents[new_id]
        if old.owner.scope != new.owner.scope or not old.owner.scope:
            return False
        if old.owner.session and old.owner.session == new.owner.session:
            return True
        return old.length <= new.length and begins_with(self.tokens(new_id), self.tokens(old_id))

    # --- runs ---------------------------------------------------------------------------------

    def _usable(self, run: _Run, tokens: Tokens, owner: Owner, depth: int) -> int:
        """How many of a run's cells, from its first, hold `tokens[depth:]` and may be used."""
        bound = min(len(run.tokens), len(tokens) - depth)
        if bound <= 0 or run.tokens[0] != tokens[depth]:
            return 0
        if not owner.scope or all(self._scope(one) != owner.scope for one in run.holders):
            bound = min(bound, run.public, owner.public_tokens - depth)
        return common_length(run.tokens, tokens[depth : depth + max(0, bound)])

    def _scope(self, sequence: int) -> str:
        return self._residents[sequence].owner.scope

    def _path(self, sequence: int) -> list[_Run]:
        runs = []
        run: _Run | None = self._residents[sequence].end
        while run is not None and run is not self._root:
            runs.append(run)
            run = run.parent
        return runs[::-1]

    def _runs(self) -> Iterator[_Run]:
        waiting = list(self._root.children)
        while waiting:
            run = waiting.pop()
            waiting += run.children
            yield run

    def _is_active(self, run: _Run) -> bool:
        return any(one not in self._idle for one in run.holders)

    def _split(self, run: _Run, at: int) -> None:
        """Cut a run in two; `run` stays the upper part."""
        lower = _Run(run, run.tokens[at:], max(0, run.public - at), set(run.holders))
        lower.children, run.children = run.children, [lower]
        for child in lower.children:
            child.parent = lower
        del run.tokens[at:]
        run.public = min(run.public, at)
        for holder in lower.holders:
            if self._residents[holder].end is run:
                self._residents[holder].end = lower

    def _let_go(self, run: _Run, sequence: int) -> None:
        """One holder less; a run that nobody holds is gone, one that needs no cut is mended."""
        run.holders.discard(sequence)
        parent = run.parent
        assert parent is not None
        if not run.holders:
            assert not run.children, "who holds a run holds those above it"
            parent.children.remove(run)
            self.used_cells -= len(run.tokens)
            run = parent
        if run is not self._root and len(run.children) == 1:
            self._mend(run, run.children[0])

    def _mend(self, upper: _Run, lower: _Run) -> None:
        if upper.holders != lower.holders:
            return
        if upper.public == len(upper.tokens):
            upper.public += lower.public
        upper.tokens.extend(lower.tokens)
        upper.children = lower.children
        for child in upper.children:
            child.parent = upper
        for holder in lower.holders:
            if self._residents[holder].end is lower:
                self._residents[holder].end = upper


def common_length(one: "array[int] | Tokens", other: Tokens) -> int:
    """How many tokens two lists have in common from their first."""
    length = min(len(one), len(other))
    differs = np.asarray(one)[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def begins_with(longer: Tokens, shorter: Tokens) -> bool:
    """Whether all of one list is the beginning of another."""
    return common_length(longer, shorter) == len(shorter)
