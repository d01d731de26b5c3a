"""The length model in service: it predicts, learns from what comes back, and is kept in Valkey.

One process owns it. A request is remembered from its prediction to its end, bounded, so that its
answer can teach; what is forgotten, refused or cancelled teaches nothing. A model of another
embedding model starts from the prior: its numbers mean something else.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance import keys
from appliance.bus.client import AWAY, Bus
from appliance.prediction.features import Asked, Vector, features
from appliance.prediction.model import LengthModel, Prediction, Saved

log = logging.getLogger(__name__)

REMEMBERED = 20_000
PEOPLE = 10_000
HABIT_WEIGHT = 0.2  # of a person's newest answer
JUDGED = 400  # newest answers that `report` speaks of
SAVE_INTERVAL_S = 30.0
RETRY_S = 1.0


@dataclass(frozen=True)
class Quality:
    """How right the newest predictions were, each made before its answer was known.

    `error` is the mean of |ln(real / predicted median)|, `tau` Kendall's rank correlation of
    the two, `covered` the share of answers within their 80 % quantile. Zeros before any answer.
    """

    answers: int
    error: float
    tau: float
    covered: float


@dataclass(frozen=True)
class _Open:
    uid: str
    row: Vector
    predicted: Prediction


@dataclass(frozen=True)
class _Judged:
    predicted: Prediction
    tokens: int


class _Stored(msgspec.Struct, frozen=True):
    stamp: str
    seen: int
    size: int
    weights: bytes
    covariance: bytes
    errors: bytes


class Lengths:
    """Predicts for one appliance. `run` loads what was learned and keeps it."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._stamp = ""
        self._embedding_size = 0
        self._model = LengthModel(0)
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._habits: OrderedDict[str, float] = OrderedDict()
        self._judged: deque[_Judged] = deque(maxlen=JUDGED)
        self._saved_at = 0

    async def run(self) -> None:
        """Saves what was learned now and then, until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(SAVE_INTERVAL_S)
                await self.save()
        finally:
            await self.save()

    async def use(self, stamp: str, embedding_size: int) -> None:
        """Predict from the vectors of this embedding model; goes on from what was learned of it."""
        if stamp == self._stamp:
            return
        self._stamp, self._embedding_size = stamp, embedding_size
        self._model = LengthModel(embedding_size)
        self._open.clear()
        try:
            raw = await self._bus.get(keys.LENGTHS)
        except AWAY as error:
            log.warning("lengths: store away (%s), predicting from the prior until then", error)
            self._stamp = ""  # asked again, and nothing is saved over what was learned
            return
        saved = _decoded(raw, stamp) if raw else None
        if saved is not None and self._model.load(saved):
            self._saved_at = self._model.seen

    def predict(
        self,
        request_id: str,
        uid: str,
        text: str,
        *,
        bound: int,
        vector: Sequence[float] = (),
        answer_chars: int = 0,
    ) -> Prediction:
        """How long the answer will be. A later prediction for the same request replaces it."""
        asked = Asked(
            text=text, vector=vector, answer_chars=answer_chars, habit=self._habits.get(uid, 0.0)
        )
        row = features(asked, self._embedding_size)
        predicted = self._model.predict(row, bound=bound)
        self._open[request_id] = _Open(uid, row, predicted)
        self._open.move_to_end(request_id)
        if len(self._open) > REMEMBERED:
            self._open.popitem(last=False)
        return predicted

    def ended(self, request_id: str, *, tokens: int, cut: bool) -> None:
        """An answer has `tokens` tokens, `cut` when that was its bound. 0: there was no answer."""
        known = self._open.pop(request_id, None)
        if known is None or tokens <= 0:
            return
        error = self._model.learn(known.row, tokens, cut=cut)
        if not cut:
            self._judged.append(_Judged(known.predicted, tokens))
        habit = self._habits.pop(known.uid, 0.0)
        self._habits[known.uid] = habit + HABIT_WEIGHT * (error - habit)
        if len(self._habits) > PEOPLE:
            self._habits.popitem(last=False)

    def quality(self) -> Quality:
        if not self._judged:
            return Quality(0, 0.0, 0.0, 0.0)
        real = np.array([one.tokens for one in self._judged], dtype=np.float64)
        middle = np.array([one.predicted.p50 for one in self._judged])
        return Quality(
            answers=len(real),
            error=float(np.abs(np.log(real / middle)).mean()),
            tau=kendall_tau(middle, real),
            covered=float(np.mean([one.tokens <= one.predicted.p80 for one in self._judged])),
        )

    async def save(self) -> None:
        """Store what was learned since the last time; what cannot be stored is stored later."""
        if not self._stamp or self._model.seen == self._saved_at:
            return
        saved = self._model.save()
        stored = _Stored(
            stamp=self._stamp,
            seen=saved.seen,
            size=len(saved.weights),
            weights=saved.weights.astype("<f8").tobytes(),
            covariance=saved.covariance.astype("<f4").tobytes(),
            errors=saved.errors.astype("<f8").tobytes(),
        )
        try:
            await self._bus.set(keys.LENGTHS, msgspec.msgpack.encode(stored))
        except AWAY as error:
            log.warning("lengths: store away (%s), saving later", error)
            return
        self._saved_at = saved.seen


def kendall_tau(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Kendall's tau-b of two equally long rows; 0 when one of them is constant. O(n^2)."""
    a = np.sign(left[:, None] - left[None, :])
    b = np.sign(right[:, None] - right[None, :])
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else 0.0


def _decoded(raw: bytes, stamp: str) -> Saved | None:
    """What was saved, None when it is damaged or of another embedding model."""
    try:
        stored = msgspec.msgpack.decode(raw, type=_Stored)
        covariance = np.frombuffer(stored.covariance, dtype="<f4").astype(np.float64)
        saved = Saved(
            weights=np.frombuffer(stored.weights, dtype="<f8"),
            covariance=covariance.reshape(stored.size, stored.size),
            errors=np.frombuffer(stored.errors, dtype="<f8").reshape(-1, 2),
            seen=stored.seen,
        )
    except (msgspec.DecodeError, ValueError):
        log.warning("lengths: what was saved is damaged, starting from the prior")
        return None
    return saved if stored.stamp == stamp else None
