"""Prompt-lookup speculation: what an answer quotes can be verified several tokens at a time.

When the last tokens have stood somewhere before, in the prompt or in the answer, what followed
them there is a guess of what follows now. The engine puts guesses behind a sequence's last token
and computes them in one step; it samples token by token and stops at the first that is not the
one guessed, so the answer is the same as without, greedy or drawn. (Saxena, Prompt lookup
decoding, 2023; lossless verification: Leviathan et al., ICML 2023.)

A guess costs time in a step whether it is right or not. How likely one is right is learnt: for
all requests by how many tokens matched before it, and for each request by its own guesses. Those
guesses are made that raise the tokens expected per second, given how long steps of so many tokens
take here; so they stop by themselves where few are right, or where the batch is already full.

Pure rules; nothing here knows a model or measures time.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

KEY_TOKENS = 2  # a shorter match says nothing
PLACES_KEPT = 8  # of one key, the latest ones
MATCH_BOUND = 16  # longer matches are as good as this one
FORGET = 0.95  # weight of older evidence when newer comes
PRIOR_WEIGHT = 4.0  # guesses that a request must have made to count as much as all requests
GAIN_AT_LEAST = 0.03  # for one request; the best of more choices is more likely a mere error

# By how many tokens matched: how often the next was right, before anything is known. From FAQ
# answers of the starter model.
FIRST_ESTIMATE = {2: 0.3, 3: 0.45, 4: 0.6, 6: 0.7, 9: 0.8, 13: 0.9}


@dataclass(slots=True)
class _Record:
    """Guesses tried and right, older ones weighing less."""

    tried: float = 0.0
    right: float = 0.0

    def note(self, *, right: bool) -> None:
        self.tried = self.tried * FORGET + 1
        self.right = self.right * FORGET + right


@dataclass(frozen=True, slots=True)
class Guess:
    """Tokens that may follow, with the length of the match that suggests them."""

    tokens: list[int]
    matched: int


NO_GUESS = Guess([], 0)


class Lookup:
    """The tokens of one sequence, indexed by pairs of neighbours.

    Building takes about 0.3 ms per 1,000 tokens, growing by a token and guessing some 5 us.
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._places: dict[tuple[int, int], list[int]] = {}  # where what follows a pair stands
        self.record = _Record()
        for token in tokens:
            self.extend(token)

    def extend(self, token: int) -> None:
        """The sequence has one more token."""
        tokens = self._tokens
        if len(tokens) >= KEY_TOKENS:
            # The pair that this token makes is entered with the next one, so it never finds itself.
            places = self._places.setdefault((tokens[-2], tokens[-1]), [])
            places.append(len(tokens))
            if len(places) > PLACES_KEPT:
                del places[0]
        tokens.append(token)

    def guess(self, most: int) -> Guess:
        """What followed the longest earlier match of the last tokens, the latest of equals."""
        tokens = self._tokens
        if len(tokens) <= KEY_TOKENS or most < 1:
            return NO_GUESS
        best = place = 0
        for candidate in reversed(self._places.get((tokens[-2], tokens[-1]), ())):
            length = self._matched(candidate)
            if length > best:
                best, place = length, candidate
        if not best:
            return NO_GUESS
        return Guess(tokens[place : place + most], best)

    def _matched(self, place: int) -> int:
        tokens, length = self._tokens, KEY_TOKENS
        end = len(tokens)
        while (
            length < MATCH_BOUND
            and length < place
            and tokens[place - 1 - length] == tokens[end - 1 - length]
        ):
            length += 1
        return length


@dataclass(slots=True)
class Drafter:
    """Decides how many tokens of each guess are worth computing, and learns from the outcome.

    `most` bounds one request's guesses in one step; 0 makes none.
    """

    most: int
    drafted: int = 0
    confirmed: int = 0
    _records: dict[int, _Record] = field(
        default_factory=lambda: {
            key: _Record(PRIOR_WEIGHT, PRIOR_WEIGHT * chance)
            for key, chance in FIRST_ESTIMATE.items()
        }
    )

    def draft(
        self, lookups: Mapping[str, Lookup], *, step_s: Callable[[int], float]
    ) -> dict[str, Guess]:
        """Guesses to compute in a step that advances all of `lookups` by one token at least.

        `step_s` predicts how long a step of so many tokens takes.
        """
        guesses: dict[str, Guess] = {}
        chances: list[tuple[float, str]] = []
        for request_id, lookup in lookups.items():
            guess = lookup.guess(self.most)
            if guess.tokens:
                guesses[request_id] = guess
                chances += [(one, request_id) for one in self._chances(lookup, guess)]
        chosen = _most_profitable(chances, running=len(lookups), step_s=step_s)
        return {
            request_id: Guess(guesses[request_id].tokens[:count], guesses[request_id].matched)
            for request_id, count in chosen.items()
        }

    def learn(self, lookup: Lookup, guess: Guess, *, drafted: int, confirmed: int) -> None:
        """Of a guess `drafted` tokens were computed and the first `confirmed` were right."""
        self.drafted += drafted
        self.confirmed += confirmed
        for n in range(min(confirmed + 1, drafted)):
            right = n < confirmed
            self._records[_bucket(guess.matched + n)].note(right=right)
            lookup.record.note(right=right)

    def _chances(self, lookup: Lookup, guess: Guess) -> list[float]:
        """For each token of a guess: how likely it and all before it are right."""
        chances, all_right, own = [], 1.0, lookup.record
        for n in range(len(guess.tokens)):
            record = self._records[_bucket(guess.matched + n)]
            usual = record.right / record.tried
            all_right *= (usual * PRIOR_WEIGHT + own.right) / (PRIOR_WEIGHT + own.tried)
            chances.append(all_right)
        return chances


def _most_profitable(
    chances: list[tuple[float, str]], *, running: int, step_s: Callable[[int], float]
) -> dict[str, int]:
    """How many tokens of each request make the most tokens per second, likely ones first.

    A later token of a guess is never likelier than an earlier one, so none is chosen without
    those before it.
    """
    if not chances:
        return {}
    chances.sort(reverse=True)
    expected = float(running)
    best, best_count = least_gain(running) * expected / step_s(running), 0
    for count, (chance, _) in enumerate(chances, start=1):
        expected += chance
        rate = expected / step_s(running + count)
        if rate > best:
            best, best_count = rate, count
    chosen: dict[str, int] = {}
    for _, request_id in chances[:best_count]:
        chosen[request_id] = chosen.get(request_id, 0) + 1
    return chosen


def least_gain(running: int) -> float:
    """How many times the tokens per second guesses must promise: a tenth more with a dozen."""
    return 1 + GAIN_AT_LEAST * math.sqrt(running)


def _bucket(matched: int) -> int:
    return max(key for key in FIRST_ESTIMATE if key <= matched)
