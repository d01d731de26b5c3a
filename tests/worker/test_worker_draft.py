"""Guesses: found where they should be, made only where they pay, learnt from."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.worker.draft import MATCH_BOUND, PLACES_KEPT, Drafter, Guess, Lookup

pytestmark = pytest.mark.unit

token_lists = st.lists(st.integers(0, 4), max_size=60)


def naive_guesses(tokens: list[int], most: int) -> tuple[int, set[tuple[int, ...]]]:
    """The longest match by trying all, and all that followed a match of that length."""
    lengths = {}
    pair = tokens[-2:]
    places = [n for n in range(2, len(tokens)) if tokens[n - 2 : n] == pair]
    for place in places[-PLACES_KEPT:]:
        length = 0
        while (
            length < min(place, MATCH_BOUND) and tokens[place - 1 - length] == tokens[-1 - length]
        ):
            length += 1
        lengths[place] = length
    longest = max(lengths.values(), default=0)
    following = {
        tuple(tokens[place : place + most])
        for place, length in lengths.items()
        if length == longest
    }
    return longest, following


@given(token_lists, token_lists, st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_a_guess_follows_the_longest_earlier_match(
    prompt: list[int], answer: list[int], most: int
) -> None:
    lookup = Lookup(prompt)
    for token in answer:
        lookup.extend(token)
    tokens = prompt + answer
    guess = lookup.guess(most)
    longest, following = naive_guesses(tokens, most)
    assert guess.matched == longest
    assert bool(guess.tokens) == bool(longest)
    if longest:
        assert tuple(guess.tokens) in following


def flat(tokens: int) -> float:
    """A step that costs the same whatever is in it."""
    return 1.0


def linear(tokens: int) -> float:
    """A step without a base: a further token costs as much as an answer's own."""
    return float(tokens)


def guesses(drafter: Drafter, step_s: object = flat, requests: int = 1) -> dict[str, Guess]:
    text = [*range(100, 150), *range(100, 110)]
    lookups = {f"r{n}": Lookup(text) for n in range(requests)}
    return drafter.draft(lookups, step_s=flat if step_s is flat else linear)


def test_free_guesses_are_made_and_those_that_cannot_pay_are_not() -> None:
    assert guesses(Drafter(8))["r0"].tokens == [*range(110, 118)]
    assert guesses(Drafter(8), linear) == {}
    assert guesses(Drafter(0)) == {}


def test_guesses_that_are_always_wrong_are_given_up_and_taken_up_again() -> None:
    def costly(tokens: int) -> float:
        return 1 + 0.4 * tokens

    drafter = Drafter(8)
    lookup = Lookup([*range(100, 150), *range(100, 110)])

    def made() -> Guess | None:
        return drafter.draft({"a": lookup}, step_s=costly).get("a")

    rounds = 0
    while (guess := made()) is not None:
        drafter.learn(lookup, guess, drafted=len(guess.tokens), confirmed=0)
        rounds += 1
        assert rounds < 50, "it never learns"
    assert drafter.confirmed == 0
    assert drafter.drafted > 0
    for _ in range(40):
        drafter.learn(lookup, Guess([1], MATCH_BOUND), drafted=1, confirmed=1)
    assert made() is not None


@given(st.lists(st.lists(st.floats(0.01, 1), max_size=5), min_size=1, max_size=4), st.data())
@settings(max_examples=200, deadline=None)
def test_no_other_choice_of_guesses_makes_more_tokens_per_second(
    parts: list[list[float]], data: st.DataObject
) -> None:
    """Compared with every prefix-closed choice."""
    from appliance.worker.draft import _most_profitable, least_gain

    base, each = data.draw(st.floats(0.1, 10)), data.draw(st.floats(0.01, 5))
    chains = [list(itertools.accumulate(part, lambda a, b: a * b)) for part in parts]
    running = len(chains)
    flat_list = [(chance, f"r{n}") for n, chain in enumerate(chains) for chance in chain]

    def rate(counts: tuple[int, ...]) -> float:
        right = sum(sum(chain[:k]) for chain, k in zip(chains, counts, strict=True))
        return (running + right) / (base + each * (running + sum(counts)))

    chosen = _most_profitable(flat_list, running=running, step_s=lambda n: base + each * n)
    mine = rate(tuple(chosen.get(f"r{n}", 0) for n in range(running)))
    best = max(rate(counts) for counts in itertools.product(*(range(len(c) + 1) for c in chains)))
    assert mine >= best - 1e-9 or best <= rate((0,) * running) * least_gain(running) + 1e-9
