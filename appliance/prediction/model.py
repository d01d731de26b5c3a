"""A linear model of the logarithm of an answer's tokens, learning from one answer at a time.

Recursive least squares: after each answer the weights are those of a ridge regression over all
answers so far, older ones slowly fading (Haykin, "Adaptive Filter Theory", chapter 10). The
prior is a person's guess, and is right about nothing but the order of magnitude.

Quantiles come from what the model got wrong lately: each answer is predicted before it is learned,
and the quantiles of these errors, added to a prediction, cover as often as they say whatever the
distribution is (split conformal prediction, Vovk et al. 2005). Errors are kept apart for
predictions of different size, because long answers vary more.

Pure and synchronous. A prediction takes about 20 µs, learning about 0.5 ms at 400 numbers.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.prediction.features import WORD_FEATURES, Vector

PRIOR_TOKENS = 120.0
PRIOR_SPREAD = 0.9  # standard deviation of the logarithm, before anything was seen
RIDGE = 40.0
FADING = 0.9998  # an answer counts half after 3,500 others
ERRORS_KEPT = 1_000
ERRORS_NEEDED = 40  # fewer say nothing about an 80 % quantile of their own
SPREAD_EVERY = 16  # answers between two looks at the errors
BANDS = (60.0, 200.0)  # predictions below, between and above
TRUST_BOUND = 1e6  # the covariance is started anew past this: numbers would lose their meaning


Spread = tuple[float, float, float]


@dataclass(frozen=True)
class Prediction:
    """Tokens of an answer: it has at most `p80` of them in eight cases of ten, and so on."""

    p50: float
    p80: float
    p95: float


@dataclass(frozen=True)
class Saved:
    """A model as numbers; `errors` are (predicted tokens, error of the logarithm)."""

    weights: NDArray[np.float64]  # shape (1 + features,)
    covariance: NDArray[np.float64]  # shape (1 + features, 1 + features)
    errors: NDArray[np.float64]  # shape (kept, 2)
    seen: int


class LengthModel:
    """Predicts from rows of `features`."""

    def __init__(self, embedding_size: int) -> None:
        self.size = WORD_FEATURES + embedding_size
        self.seen = 0
        self._weights = np.zeros(self.size + 1)
        self._weights[0] = np.log(PRIOR_TOKENS)
        self._covariance = self._prior_covariance()
        self._errors: deque[tuple[float, float]] = deque(maxlen=ERRORS_KEPT)
        self._spreads: tuple[Spread, ...] = ()

    def predict(self, row: Vector, *, bound: float) -> Prediction:
        """Quantiles for a row, none above `bound` (the request's max_tokens)."""
        middle = self._log_tokens(row)
        if not self._spreads:
            self._spreads = tuple(map(self._spread, range(len(BANDS) + 1)))
        errors = self._spreads[_band(float(np.exp(middle)))]
        most = np.log(max(bound, 1.0))
        found = (max(min(middle + error, most), 0.0) for error in errors)
        return Prediction(*(float(np.exp(value)) for value in found))

    def learn(self, row: Vector, tokens: int, *, cut: bool) -> float:
        """Take in an answer's length; returns the error of the logarithm before learning.

        An answer that was `cut` at its last allowed token would have been longer: it teaches
        only a model that expected less.
        """
        expected = self._log_tokens(row)
        error = float(np.log(max(tokens, 1)) - expected)
        if cut and error <= 0:
            return 0.0
        self._errors.append((float(np.exp(expected)), error))
        self.seen += 1
        if self.seen % SPREAD_EVERY == 0:
            self._spreads = ()
        x = self._augmented(row)
        gain = self._covariance @ x
        gain /= FADING + x @ gain
        self._weights += gain * error
        self._covariance -= np.outer(gain, x @ self._covariance)
        self._covariance /= FADING
        if np.trace(self._covariance) > TRUST_BOUND:
            self._covariance = self._prior_covariance()
        return error

    def save(self) -> Saved:
        errors = np.array(self._errors, dtype=np.float64).reshape(-1, 2)
        return Saved(self._weights, self._covariance, errors, self.seen)

    def load(self, saved: Saved) -> bool:
        """Go on from a saved model; False, and nothing changes, when it does not fit."""
        shapes = (saved.weights.shape, saved.covariance.shape)
        if shapes != (self._weights.shape, self._covariance.shape):
            return False
        if not all(np.isfinite(a).all() for a in (saved.weights, saved.covariance, saved.errors)):
            return False
        self._weights = saved.weights.copy()
        self._covariance = saved.covariance.copy()
        self._errors = deque((tuple(pair) for pair in saved.errors.tolist()), maxlen=ERRORS_KEPT)
        self.seen = saved.seen
        self._spreads = ()
        return True

    def _log_tokens(self, row: Vector) -> float:
        return float(self._augmented(row) @ self._weights)

    def _augmented(self, row: Vector) -> NDArray[np.float64]:
        return np.concatenate(([1.0], row))

    def _spread(self, band: int) -> Spread:
        """Errors that half, 80 and 95 in 100 answers of a band stay below."""
        errors = [error for size, error in self._errors if _band(size) == band]
        if len(errors) < ERRORS_NEEDED:
            errors = [error for _, error in self._errors]
        if len(errors) < ERRORS_NEEDED:
            return 0.0, 0.84 * PRIOR_SPREAD, 1.64 * PRIOR_SPREAD  # of a normal distribution
        p50, p80, p95 = np.quantile(errors, (0.5, 0.8, 0.95))
        return float(p50), float(p80), float(p95)

    def _prior_covariance(self) -> NDArray[np.float64]:
        covariance: NDArray[np.float64] = np.eye(self.size + 1) / RIDGE
        covariance[0, 0] = 1.0  # the magnitude is learned at once
        return covariance


def _band(tokens: float) -> int:
    return sum(tokens >= edge for edge in BANDS)
