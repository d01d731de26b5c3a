"""What to do with what was found: a pure function of the matches and the calibration.

* **direct**: the curated answer as it is, no model. The question is a phrasing to the letter (but
  for case, width, spacing and closing punctuation), or the evidence passes the calibrated bar.
* **did you mean**: up to three entries to pick from, where the first would be a guess. Who picks
  one asks its question, so what is an entry's own question is never answered with a list.
* **compose**: the model answers from the closest entries, or from all that have this very question.
* **no answer**: nothing counts; the settings say whether the model answers all the same.

While the index is away, or has not taken up an entry yet, only words say how near that is, on
another scale than meaning: a question in words of its own has a similarity of 0.1 to 0.4 with the
entry that answers it. What was learned of scores and the floor of the settings do not hold then,
and little has to be shared to count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.knowledge.calibration import closeness, evidence
from appliance.knowledge.opposites import are_opposite
from appliance.knowledge.text import canonical
from appliance.knowledge.words import is_spaced
from appliance.schema.answers import Decision, Match
from appliance.schema.faq import Calibration
from appliance.settings.faq import Faq

CHOICES = 3
WORDS_FLOOR = 0.15
"""Similarity by words alone from which an entry counts: on banking77 and CLINC150 nearly all right
first entries have it, on the demo FAQ four in five, and of small talk three in ten."""
ACROSS = 0.6
"""Share of a floor that holds between two languages: what says the same has a similarity of 0.27 to
0.33 then, on the demo FAQ, and small talk of the other language at most 0.19."""
NEAR_BEST = 0.4
"""Share of the best score below which an entry is kept from the model: small models mix entries
up, a 36-month warranty with a 12-month one."""


@dataclass(frozen=True)
class Decided:
    """`matches` are those to answer with, to pick from or to show the model."""

    kind: Decision
    matches: tuple[Match, ...] = ()


def decide(
    question: str,
    found: Sequence[Match],
    calibration: Calibration,
    faq: Faq,
    *,
    whole: bool,
) -> Decided:
    """`found` is best first; `whole` is false when entries are missing from what was searched, but
    for those that were written just now."""
    exact = tuple(match for match in found if match.score == 1.0)
    asked = tuple(match for match in exact if match.phrasing == match.question)
    meant = asked or exact
    if len(meant) == 1 and faq.direct != "off":
        return Decided("direct", meant)
    if len(exact) > 1:
        apart = len({canonical(match.question) for match in exact}) > 1
        if faq.did_you_mean and apart and not asked:
            return Decided("did_you_mean", exact[:CHOICES])
        return Decided("compose", meant[: faq.matches])
    counted = tuple(match for match in found if _counts(question, match, calibration, faq))
    if not counted:
        return Decided("no_answer")
    scores = [match.score for match in found]
    doubtful = counted[0].by_words or are_opposite(question, counted[0].phrasing)
    if _is_certain(scores, calibration, faq) and whole and not doubtful:
        return Decided("direct", counted[:1])
    is_guess = len(counted) > 1 and not asked and _is_guess(scores, calibration)
    if faq.did_you_mean and is_guess:
        return Decided("did_you_mean", _near(counted)[:CHOICES])
    return Decided("compose", _near(counted)[: faq.matches])


def floor_for(question: str, match: Match, floor: float) -> float:
    """The similarity from which a match counts; `floor` is that of texts of one language."""
    if match.by_words:
        return WORDS_FLOOR
    asked = is_spaced(question)
    across = is_spaced(match.phrasing) != asked and is_spaced(match.answer) != asked
    return ACROSS * floor if across and floor > 0 else floor


def _counts(question: str, match: Match, calibration: Calibration, faq: Faq) -> bool:
    """Either measure suffices: between two languages the score is low, however near the meaning."""
    learned = calibration.similarity_floor
    floor = faq.floor if learned is None else max(learned, faq.floor)
    if match.similarity >= floor_for(question, match, floor):
        return True
    if match.by_words or calibration.score_floor is None:
        return False
    return match.score >= calibration.score_floor


def _is_certain(scores: Sequence[float], calibration: Calibration, faq: Faq) -> bool:
    bar = calibration.direct_bar
    return faq.direct == "calibrated" and bar is not None and evidence(scores) >= bar


def _is_guess(scores: Sequence[float], calibration: Calibration) -> bool:
    bar = calibration.guess_closeness
    return bar is not None and closeness(scores) >= bar


def _near(matches: Sequence[Match]) -> tuple[Match, ...]:
    least = NEAR_BEST * matches[0].score
    return tuple(match for match in matches if match.score >= least)
