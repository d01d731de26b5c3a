"""The shortest text that a grammar makes: what the engine without a model answers."""

import math

from appliance.errors import Invalid
from appliance.grammar.gbnf import Alternative, Chars, Grammar, Ref

MAX_TEXT_CHARS = 10_000
_CHARACTER = 1 << 32  # what one costs; a rule costs 1, so that of equal texts fewer rules win


def shortest(grammar: Grammar) -> str:
    """Raises Invalid when every text is longer than MAX_TEXT_CHARS, or none ever ends."""
    lengths = _lengths(grammar)
    if lengths[grammar.root] > MAX_TEXT_CHARS * _CHARACTER:
        raise Invalid("the grammar makes no short text", hint="shorten it", reason="grammar")
    parts: list[str] = []
    waiting: list[Chars | Ref] = [Ref(grammar.root)]
    while waiting:
        element = waiting.pop()
        if isinstance(element, Chars):
            parts.append(_readable(element))
        else:
            best = min(grammar.rules[element.rule], key=lambda one: _length(one, lengths))
            waiting.extend(reversed(best))
    return "".join(parts)


def _lengths(grammar: Grammar) -> list[float]:
    """What each rule's shortest text costs, infinite where there is none."""
    lengths = [math.inf] * len(grammar.rules)
    changed = True
    while changed:
        changed = False
        for number, rule in enumerate(grammar.rules):
            least = min(_length(alternative, lengths) for alternative in rule)
            if least < lengths[number]:
                lengths[number] = least
                changed = True
    return lengths


def _length(alternative: Alternative, lengths: list[float]) -> float:
    return 1 + sum(
        lengths[one.rule] if isinstance(one, Ref) else _CHARACTER if one.ranges else math.inf
        for one in alternative
    )


def _readable(element: Chars) -> str:
    """A letter where one fits, else a digit, else the first character that does."""
    for wanted in "a0":
        if any(low <= ord(wanted) <= high for low, high in element.ranges):
            return wanted
    return chr(element.ranges[0].low)
