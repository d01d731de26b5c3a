"""Reads GBNF, llama.cpp's notation for grammars, into rules.

    root ::= "yes" | "no" ("," ws reason)?     # rules, literals, groups, ? * + {m,n}
    ws   ::= [ \\t\\n]*                           # character classes, also [^...] and .

The notation is that of llama.cpp's `grammars/README.md`. Its token elements (`<think>`) are not
taken: they name tokens of one model. Everything a text can blow up has a bound here: length,
nesting, and the number of elements after repetitions were written out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from appliance.errors import Invalid

MAX_GRAMMAR_CHARS = 64_000
MAX_NESTING = 64
MAX_REPETITIONS = 2_000
MAX_ELEMENTS = 20_000
LAST_CODE_POINT = 0x10FFFF
ROOT = "root"

_ESCAPES = {"t": 9, "r": 13, "n": 10, "\\": 92, '"': 34, "[": 91, "]": 93, "-": 45}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
_DIGITS = frozenset("0123456789")


class Range(NamedTuple):
    """Code points from `low` to `high`, both included."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of sorted ranges that do not touch."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """Whatever rule number `rule` makes."""

    rule: int


Element = Chars | Ref
Alternative = tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Grammar:
    """Rules by number; each is a list of alternatives. `root` is where an answer begins."""

    rules: tuple[tuple[Alternative, ...], ...]
    names: tuple[str, ...]
    root: int


def parse(text: str) -> Grammar:
    """The rules of a GBNF text. Raises Invalid naming the line and what was expected there."""
    if len(text) > MAX_GRAMMAR_CHARS:
        raise Invalid(
            f"the grammar is longer than {MAX_GRAMMAR_CHARS} characters",
            hint="make it shorter",
            reason="grammar",
        )
    return _Parser(text).grammar()


class _Parser:
    """A cursor over the text. `_rules[n]` is None while rule n is only referred to."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._numbers: dict[str, int] = {}
        self._rules: list[tuple[Alternative, ...] | None] = []
        self._names: list[str] = []
        self._elements = 0
        self._depth = 0

    def grammar(self) -> Grammar:
        self._space(newlines=True)
        while self._at < len(self._text):
            self._rule()
        if ROOT not in self._numbers:
            self._fail(f"there is no rule named {ROOT}")
        rules = []
        for name, rule in zip(self._names, self._rules, strict=True):
            if rule is None:
                self._fail(f"rule {name} is used but not defined")
            rules.append(rule)
        return Grammar(tuple(rules), tuple(self._names), self._numbers[ROOT])

    def _rule(self) -> None:
        name = self._name()
        number = self._number_of(name)
        self._space(newlines=False)
        if not self._take("::="):
            self._fail(f"expected ::= after {name}")
        if self._rules[number] is not None:
            self._fail(f"rule {name} is defined twice")
        self._space(newlines=True)
        self._rules[number] = self._alternatives(name, nested=False)
        if self._at < len(self._text) and self._text[self._at] not in "\r\n":
            self._fail("expected a new line or the end")
        self._space(newlines=True)

    def _alternatives(self, name: str, *, nested: bool) -> tuple[Alternative, ...]:
        found = [self._sequence(name, nested=nested)]
        while self._take("|"):
            self._space(newlines=True)
            found.append(self._sequence(name, nested=nested))
        return tuple(found)

    def _sequence(self, name: str, *, nested: bool) -> Alternative:
        done: list[Element] = []
        last: list[Element] = []  # what a repetition sign would repeat
        while True:
            sign = self._text[self._at : self._at + 1]
            if sign == '"':
                item: list[Element] = self._literal()
            elif sign == "[":
                item = [self._class()]
            elif sign == "(":
                item = [self._group(name)]
            elif sign == ".":
                self._at += 1
                item = [Chars((Range(0, LAST_CODE_POINT),))]
            elif sign and sign in _NAME:
                item = [Ref(self._number_of(self._name()))]
            elif sign and sign in "*+?{":
                if not last:
                    self._fail(f"nothing before {sign} to repeat")
                last = self._repeated(name, last, nested=nested)
                self._space(newlines=nested)
                continue
            elif sign and sign in "<!":
                self._fail("token elements are not supported")
            else:
                return (*done, *last)
            done += last
            last = item
            self._space(newlines=nested)

    def _group(self, name: str) -> Ref:
        self._at += 1
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._fail(f"groups are nested more than {MAX_NESTING} deep")
        self._space(newlines=True)
        number = self._add(name, self._alternatives(name, nested=True))
        if not self._take(")"):
            self._fail("expected )")
        self._depth -= 1
        return Ref(number)

    def _repeated(self, name: str, item: list[Element], *, nested: bool) -> list[Element]:
        """The item with its repetition sign, written out as rules.

        S{m,} is S m times and T ::= S T | nothing; S{m,n} is S m times and a chain of n - m
        rules T(k) ::= S T(k-1) | nothing, so no two ways lead to the same text.
        """
        least, most = self._repetitions(nested=nested)
        self._elements += len(item) * (least if most is None else most)
        if self._elements > MAX_ELEMENTS:
            self._fail(f"with its repetitions written out it has over {MAX_ELEMENTS} elements")
        tail: list[Element] = []
        if most is None:
            number = self._add(name, None)
            tail = [Ref(number)]
            self._rules[number] = ((*item, *tail), ())
        else:
            for _ in range(most - least):
                tail = [Ref(self._add(name, ((*item, *tail), ())))]
        return item * least + tail

    def _repetitions(self, *, nested: bool) -> tuple[int, int | None]:
        sign = self._text[self._at]
        self._at += 1
        if sign != "{":
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        self._space(newlines=nested)
        least = self._integer()
        most: int | None = least
        self._space(newlines=nested)
        if self._take(","):
            self._space(newlines=nested)
            more = self._text[self._at : self._at + 1] in _DIGITS
            most = self._integer() if more else None
            self._space(newlines=nested)
        if not self._take("}"):
            self._fail("expected }")
        if max(least, most or 0) > MAX_REPETITIONS:
            self._fail(f"more than {MAX_REPETITIONS} repetitions")
        if most is not None and most < least:
            self._fail(f"at least {least} and at most {most} times cannot be")
        return least, most

    def _literal(self) -> list[Element]:
        self._at += 1
        found: list[Element] = []
        while not self._take('"'):
            code = self._character()
            found.append(Chars((Range(code, code),)))
        return found

    def _class(self) -> Chars:
        self._at += 1
        negated = self._take("^")
        ranges = []
        while not self._take("]"):
            low = high = self._character()
            if self._text[self._at : self._at + 1] == "-" and self._text[
                self._at + 1 : self._at + 2
            ] not in ("]", ""):
                self._at += 1
                high = self._character()
            if high < low:
                self._fail("a range runs backwards")
            ranges.append(Range(low, high))
        merged = _merged(ranges)
        return Chars(_complement(merged) if negated else merged)

    def _character(self) -> int:
        if self._at >= len(self._text):
            self._fail("the text ends inside a literal or a character class")
        character = self._text[self._at]
        self._at += 1
        if character != "\\":
            return ord(character)
        kind = self._text[self._at : self._at + 1]
        self._at += 1
        if kind in _ESCAPES:
            return _ESCAPES[kind]
        size = _HEX_DIGITS.get(kind, 0)
        digits = self._text[self._at : self._at + size]
        try:
            code = int(digits, 16) if size and len(digits) == size else -1
        except ValueError:
            code = -1
        if not 0 <= code <= LAST_CODE_POINT:
            self._fail(f"unknown escape \\{kind}{digits}")
        self._at += size
        return code

    def _name(self) -> str:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] in _NAME:
            self._at += 1
        if start == self._at:
            self._fail("expected the name of a rule")
        return self._text[start : self._at]

    def _integer(self) -> int:
        start = self._at
        while self._at < len(self._text) and self._text[self._at] in _DIGITS:
            self._at += 1
        if not 0 < self._at - start <= 9:
            self._fail("expected a number of repetitions")
        return int(self._text[start : self._at])

    def _space(self, *, newlines: bool) -> None:
        blank = " \t\r\n" if newlines else " \t"
        while self._at < len(self._text):
            if self._text[self._at] == "#":
                while self._at < len(self._text) and self._text[self._at] not in "\r\n":
                    self._at += 1
            elif self._text[self._at] in blank:
                self._at += 1
            else:
                return

    def _take(self, sign: str) -> bool:
        found = self._text.startswith(sign, self._at)
        self._at += len(sign) if found else 0
        return found

    def _number_of(self, name: str) -> int:
        if name not in self._numbers:
            self._numbers[name] = self._add(name, None)
        return self._numbers[name]

    def _add(self, name: str, rule: tuple[Alternative, ...] | None) -> int:
        self._rules.append(rule)
        self._names.append(name)
        return len(self._rules) - 1

    def _fail(self, message: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise Invalid(
            f"the grammar's line {line}: {message}",
            hint="GBNF is explained in llama.cpp's grammars/README.md",
            reason="grammar",
        )


def _merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for one in sorted(ranges):
        if found and one.low <= found[-1].high + 1:
            found[-1] = Range(found[-1].low, max(found[-1].high, one.high))
        else:
            found.append(one)
    return tuple(found)


def _complement(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    found, low = [], 0
    for one in ranges:
        if low < one.low:
            found.append(Range(low, one.low - 1))
        low = one.high + 1
    if low <= LAST_CODE_POINT:
        found.append(Range(low, LAST_CODE_POINT))
    return tuple(found)
