"""What scores mean for this FAQ and this embedding model, learned from the FAQ's own phrasings.

Each phrasing is asked as if it were not there: its entry should be found by the others. And it is
asked as if its whole entry were not there: then whatever is found is wrong, though it lies as near
as wrong things can. From these two come

* the weight of words beside meaning: the one that finds most,
* the bar above which an answer may be given without a model: at most `WRONG_SHARE` of what passes
  is wrong, one question in ten taken to be one that no entry answers,
* the floors below which an entry does not count, which nearly all right ones pass,
* and how close a second entry must come to make the first no better than a guess.

With too few phrasings nothing is learned, and only the very words of a phrasing are certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from appliance.knowledge.fusion import PRIOR_LEXICAL, Neighbourhood, Scored
from appliance.schema.faq import Calibration

WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
WRONG_SHARE = 0.01
UNSEEN_WRONG = 0.5
"""Added to the wrong answers that were seen: so fifty sure ones are needed before one is given."""
OUTSIDE_WEIGHT = 1 / 9
"""Weight of a question without its entry: nine inside to one outside."""
SAMPLES_MIN = 40
FLOOR_SHARE = 0.03
GUESS_SHARE = 0.5
THREE_SHARE = 0.8
GUESSES = 20
"""Looked at together, from the closest on."""
NOTHING_LEARNED = Calibration(stamp="", lexical=PRIOR_LEXICAL)


@dataclass(frozen=True)
class Outcome:
    """What one phrasing found when it was left out; `outside`: when its entry was, too."""

    right: bool
    among_three: bool
    score: float
    similarity: float
    evidence: float
    closeness: float
    outside: float


@dataclass(frozen=True)
class Sample:
    """A phrasing, what it found at each of `WEIGHTS`."""

    outcomes: tuple[Outcome, ...]


def evidence(scores: Sequence[float]) -> float:
    """How surely the first of these scores, best first, is the one meant."""
    return scores[0] - scores[1] / 2 if len(scores) > 1 else scores[0] if scores else 0.0


def closeness(scores: Sequence[float]) -> float:
    """How near the second comes to the first, 0 to 1."""
    return scores[1] / scores[0] if len(scores) > 1 and scores[0] > 0 else 0.0


def sampled(
    near: Neighbourhood,
    entry_id: str,
    *,
    own: frozenset[str],
    others: frozenset[str],
    opposed: frozenset[str],
) -> Sample:
    """`own` rows say what the phrasing says; `others` are the rest of its entry; `opposed` are
    rows that may say the opposite, which are never answered directly."""
    left_out = _LeftOut(entry_id, opposed)
    found = near.scored_by(WEIGHTS, without=own)
    outside = near.scored_by(WEIGHTS, without=own | others)
    return Sample(tuple(_outcome(left_out, *both) for both in zip(found, outside, strict=True)))


@dataclass(frozen=True)
class _LeftOut:
    entry_id: str
    opposed: frozenset[str]

    def evidence(self, found: Sequence[Scored]) -> float:
        if found and found[0].pk in self.opposed:
            return 0.0
        return evidence([one.score for one in found])


def _outcome(left_out: _LeftOut, found: Sequence[Scored], outside: Sequence[Scored]) -> Outcome:
    first = found[0] if found else Scored("", 0.0, 0.0, "")
    return Outcome(
        right=first.entry_id == left_out.entry_id,
        among_three=left_out.entry_id in [one.entry_id for one in found[:3]],
        score=first.score,
        similarity=first.similarity,
        evidence=left_out.evidence(found),
        closeness=closeness([one.score for one in found]),
        outside=left_out.evidence(outside),
    )


def learned(samples: Sequence[Sample], *, stamp: str, phrasings: int, at_ms: int) -> Calibration:
    """The calibration of these samples; one without bars when they are too few."""
    if len(samples) < SAMPLES_MIN:
        return Calibration(
            stamp=stamp,
            phrasings=phrasings,
            samples=len(samples),
            made_at_ms=at_ms,
            lexical=PRIOR_LEXICAL,
        )
    place = _best_weight(samples)
    outcomes = [sample.outcomes[place] for sample in samples]
    bar = _direct_bar(outcomes)
    right = [one for one in outcomes if one.right]
    return Calibration(
        stamp=stamp,
        phrasings=phrasings,
        samples=len(samples),
        made_at_ms=at_ms,
        lexical=WEIGHTS[place],
        direct_bar=bar,
        score_floor=_quantile([one.score for one in right], FLOOR_SHARE),
        similarity_floor=_quantile([one.similarity for one in right], FLOOR_SHARE),
        guess_closeness=_guess_closeness(outcomes),
        recall_1=_share([one.right for one in outcomes]),
        recall_3=_share([one.among_three for one in outcomes]),
        direct_share=_share([bar is not None and one.evidence >= bar for one in outcomes]),
    )


def _best_weight(samples: Sequence[Sample]) -> int:
    """Of equally good weights the one nearest to the prior."""

    def worth(place: int) -> tuple[float, float]:
        outcomes = [sample.outcomes[place] for sample in samples]
        found = sum(one.right + one.among_three / 2 for one in outcomes)
        return found, -abs(WEIGHTS[place] - PRIOR_LEXICAL)

    return max(range(len(WEIGHTS)), key=worth)


def _direct_bar(outcomes: Sequence[Outcome]) -> float | None:
    """The lowest bar that holds its promise with a little more wrong than was seen."""
    passing = [(one.evidence, 1.0, 0.0 if one.right else 1.0) for one in outcomes]
    passing += [(one.outside, OUTSIDE_WEIGHT, OUTSIDE_WEIGHT) for one in outcomes]
    bar, weight, wrong = None, 0.0, UNSEEN_WRONG
    by_mark = groupby(sorted(passing, reverse=True), key=lambda one: one[0])
    for mark, alike in by_mark:
        for _, its_weight, its_wrong in alike:
            weight += its_weight
            wrong += its_wrong
        if wrong <= WRONG_SHARE * weight:
            bar = mark
    return bar


def _guess_closeness(outcomes: Sequence[Outcome]) -> float | None:
    """The lowest closeness down to which the first is a guess, and the first three are not."""
    order = sorted(outcomes, key=lambda one: -one.closeness)
    bar = None
    for start in range(0, len(order) - GUESSES + 1, GUESSES):
        block = order[start : start + GUESSES]
        right = sum(one.right for one in block)
        among_three = sum(one.among_three for one in block)
        if right > GUESS_SHARE * GUESSES or among_three < THREE_SHARE * GUESSES:
            break
        bar = block[-1].closeness
    return bar


def _quantile(values: Sequence[float], share: float) -> float | None:
    return float(np.quantile(values, share)) if values else None


def _share(flags: Sequence[bool]) -> float:
    return round(float(np.mean(flags)), 4)
