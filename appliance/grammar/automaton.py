"""Follows a grammar byte by byte: which token may come next, and whether the answer may end.

A state is a set of stacks, as in llama.cpp's grammar sampler: the top of each stack is a character
class that may match next, below it lies what comes after. Stacks and states are numbered and
shared, and what a state does with a character is remembered, so a token costs a few look-ups.
Characters enter as classes of code points that no rule tells apart.

llama.cpp's own sampler is not used because a request's grammar can hang or abort it: `"a"{5,3}`
never ends, left recursion behind an empty rule and `r ::= "a" r "b" | "a" r "c"` (twice the
stacks with each character) take all memory, and a token it did not expect is an exception through
C. Here each of these is an error of the one request: see the bounds.
"""

import bisect
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from appliance.errors import Invalid
from appliance.grammar.gbnf import LAST_CODE_POINT, Chars, Grammar, Range, Ref, parse

MAX_STACKS_PER_STATE = 1_000  # ways in which what was said so far may go on
MAX_STACKS = 200_000  # different stacks met by one automaton
MAX_STATES = 100_000
MAX_FIRST_BYTES = 2_000  # positions whose first bytes are remembered
MAX_CLASSES = 10_000  # classes of characters; each position that takes some has a bit for each
MAX_BEGINNINGS = 500_000  # stacks looked at to see how each rule begins
CACHED_GRAMMARS = 32

_SURROGATES = Range(0xD800, 0xDFFF)
_LEAST = {1: 0x80, 2: 0x800, 3: 0x10000}  # by the bytes that follow the first
END = 0  # the stack that is empty: the answer may end
_REFUSED = -1


class Position(NamedTuple):
    """How far an answer got: a state, and the character whose last `missing` bytes are to come.

    `least` is the smallest code point that may be written in so many bytes.
    """

    state: int
    partial: int = 0
    missing: int = 0
    least: int = 0


class Automaton:
    """One grammar. Raises Invalid when it is left-recursive or goes on in too many ways."""

    def __init__(self, grammar: Grammar) -> None:
        self._flatten(grammar)
        self._classes = _classes(grammar)
        if len(self._classes) > MAX_CLASSES:
            raise Invalid(
                f"the grammar tells more than {MAX_CLASSES} kinds of characters apart",
                hint="use ranges of characters instead of single ones",
                reason="grammar",
            )
        self._accepts = self._bits_of_all()
        self._stacks: list[tuple[int, int]] = [(-1, -1)]  # (element, stack below); [0] is END
        self._stack_numbers: dict[tuple[int, int], int] = {}
        self._opened: dict[int, frozenset[int]] = {END: frozenset((END,))}
        self._states: list[tuple[int, ...]] = []
        self._state_numbers: dict[frozenset[int], int] = {}
        self._moves: dict[int, int] = {}
        self._first_bytes: dict[Position, NDArray[np.bool_]] = {}
        self._looked = 0  # stacks that `_open` has looked at
        for number in range(len(grammar.rules)):
            self._check_rule(number, grammar.names[number])
            if self._looked > MAX_BEGINNINGS:
                raise _too_complex()
        begin = self._begin(grammar.root)
        if not begin:
            raise Invalid(
                "the grammar refers to itself only and makes no text",
                hint="give each rule an alternative without itself",
                reason="grammar",
            )
        self.start = Position(self._state(begin))

    @property
    def worn(self) -> bool:
        """Whether so much is remembered that a fresh one should take over."""
        return len(self._states) > MAX_STATES // 2 or len(self._stacks) > MAX_STACKS // 2

    def may_end(self, at: Position) -> bool:
        return at.missing == 0 and END in self._states[at.state]

    def advance(self, at: Position, piece: bytes) -> Position | None:
        """Where these bytes lead, None when the grammar does not allow them.

        Raises Invalid when the grammar goes on in more ways than can be followed.
        """
        state, partial, missing, least = at
        for byte in piece:
            if missing:
                if byte & 0xC0 != 0x80:
                    return None
                partial, missing = partial << 6 | byte & 0x3F, missing - 1
            elif byte < 0x80:
                partial = byte
            elif 0xC2 <= byte <= 0xF4:
                missing = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
                partial, least = byte & (0x3F >> missing), _LEAST[missing]
            else:
                return None
            if missing:
                if not self._may_complete(Position(state, partial, missing, least)):
                    return None
                continue
            state = self._move(state, partial)
            if state == _REFUSED:
                return None
            partial = least = 0
        return Position(state, partial, missing, least)

    def first_bytes(self, at: Position) -> NDArray[np.bool_]:
        """For each byte value whether it may come next; a superset for bytes of long characters."""
        found = self._first_bytes.get(at)
        if found is None:
            found = np.fromiter(
                (self.advance(at, bytes((byte,))) is not None for byte in range(256)), bool, 256
            )
            if len(self._first_bytes) >= MAX_FIRST_BYTES:
                self._first_bytes.clear()
            self._first_bytes[at] = found
        return found

    def _flatten(self, grammar: Grammar) -> None:
        """Elements get numbers, those of an alternative in a row; None ends each alternative."""
        self._elements: list[Chars | Ref | None] = []
        self._alternatives: list[list[int]] = []
        for rule in grammar.rules:
            starts = []
            for alternative in rule:
                if alternative or -1 not in starts:
                    starts.append(len(self._elements) if alternative else -1)
                self._elements += (*alternative, None)
            self._alternatives.append(starts)

    def _bits_of_all(self) -> list[int]:
        """What each element takes. A repetition has one object many times, a text one letter."""
        of_objects: dict[int, int] = {}
        of_equals: dict[Chars | Ref | None, int] = {}
        for element in self._elements:
            if id(element) not in of_objects:
                if element not in of_equals:
                    of_equals[element] = self._bits(element)
                of_objects[id(element)] = of_equals[element]
        return [of_objects[id(element)] for element in self._elements]

    def _bits(self, element: Chars | Ref | None) -> int:
        """The classes of characters that an element takes, as bits."""
        bits = 0
        if isinstance(element, Chars):
            for low, high in element.ranges:
                first, last = self._class_of(low), self._class_of(high)
                bits |= (1 << last + 1) - (1 << first)
        return bits

    def _class_of(self, code: int) -> int:
        return bisect.bisect_right(self._classes, code)

    def _move(self, state: int, code: int) -> int:
        key = state * (len(self._classes) + 1) + self._class_of(code)
        found = self._moves.get(key)
        if found is None:
            bit = 1 << key % (len(self._classes) + 1)
            stacks: set[int] = set()
            for stack in self._states[state]:
                element, below = self._stacks[stack]
                if stack != END and self._accepts[element] & bit:
                    stacks |= self._open(self._after(element, below))
            found = self._moves[key] = self._state(frozenset(stacks)) if stacks else _REFUSED
        return found

    def _may_complete(self, at: Position) -> bool:
        """Whether some character that begins with these bytes may come next."""
        bits = 6 * at.missing
        low = max(at.partial << bits, at.least)
        high = min((at.partial + 1 << bits) - 1, LAST_CODE_POINT)
        if low > high or _SURROGATES.low <= low <= high <= _SURROGATES.high:
            return False
        wanted = (1 << self._class_of(high) + 1) - (1 << self._class_of(low))
        return any(
            stack != END and self._accepts[self._stacks[stack][0]] & wanted
            for stack in self._states[at.state]
        )

    def _check_rule(self, number: int, name: str) -> None:
        try:
            self._begin(number)
        except Invalid as error:
            raise Invalid(
                f"the grammar's rule {name} is left-recursive or begins in too many ways",
                hint="let the rule consume something before it refers to itself",
                reason="grammar",
            ) from error

    def _begin(self, rule: int) -> frozenset[int]:
        """The stacks with which a rule begins, when nothing comes after it."""
        found: set[int] = set()
        for start in self._alternatives[rule]:
            found |= self._open(END if start < 0 else self._push(start, END))
        return frozenset(found)

    def _after(self, element: int, below: int) -> int:
        """The stack that is left when its top element was consumed."""
        return below if self._elements[element + 1] is None else self._push(element + 1, below)

    def _open(self, stack: int) -> frozenset[int]:
        """The stacks with a character class on top which a stack stands for."""
        found = self._opened.get(stack)
        if found is not None:
            return found
        seen, waiting, ready = {stack}, [stack], set()
        while waiting:
            one = waiting.pop()
            element, below = self._stacks[one]
            top = self._elements[element]
            if one == END or not isinstance(top, Ref):
                ready.add(one)
                continue
            rest = self._after(element, below)
            for start in self._alternatives[top.rule]:
                following = rest if start < 0 else self._push(start, rest)
                if following not in seen:
                    seen.add(following)
                    waiting.append(following)
            if len(seen) > MAX_STACKS_PER_STATE:
                raise _too_complex()
        self._looked += len(seen)
        self._opened[stack] = frozenset(ready)
        return self._opened[stack]

    def _push(self, element: int, below: int) -> int:
        key = (element, below)
        number = self._stack_numbers.get(key)
        if number is None:
            number = self._stack_numbers[key] = len(self._stacks)
            if number >= MAX_STACKS:
                raise _too_complex()
            self._stacks.append(key)
        return number

    def _state(self, stacks: frozenset[int]) -> int:
        number = self._state_numbers.get(stacks)
        if number is None:
            if len(stacks) > MAX_STACKS_PER_STATE or len(self._states) >= MAX_STATES:
                raise _too_complex()
            number = self._state_numbers[stacks] = len(self._states)
            self._states.append(tuple(stacks))
        return number


class GrammarCache:
    """Automata by the text of their grammar, the least recently used one forgotten first."""

    def __init__(self) -> None:
        self._automata: OrderedDict[str, Automaton] = OrderedDict()

    def get(self, text: str) -> Automaton:
        """Raises Invalid for a text that is no grammar or one that cannot be followed."""
        found = self._automata.pop(text, None)
        if found is None or found.worn:
            found = Automaton(parse(text))
        self._automata[text] = found
        if len(self._automata) > CACHED_GRAMMARS:
            self._automata.popitem(last=False)
        return found


def _classes(grammar: Grammar) -> list[int]:
    """Where a class of characters that all rules treat alike ends and the next one begins."""
    borders: set[int] = set()
    for rule in grammar.rules:
        for alternative in rule:
            for element in alternative:
                if isinstance(element, Chars):
                    for low, high in element.ranges:
                        borders |= {low, high + 1}
    return sorted(borders)


def _too_complex() -> Invalid:
    return Invalid(
        "the grammar goes on in too many ways at once",
        hint="write it so that each character leaves few rules possible",
        reason="grammar",
    )
