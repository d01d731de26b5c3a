"""Fair shares by served tokens: the virtual token counter.

Source: Sheng et al., "Fairness in Serving Large Language Models" (OSDI 2024). Each user has a
counter of weighted tokens served; the waiting user with the lowest counter is next. A user who
comes back is lifted to the lowest counter of those who wait, so that being away earns nothing.
Differences from the paper: the predicted output is charged at admission and corrected at the
end; cached input is nearly free; counters decay with a half-life, so that an old debt is
forgotten.

Decay multiplies all counters alike and so never changes who is next. It is done by making new
charges larger instead (`decay`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance.decay import ForwardDecay

OUTPUT_WEIGHT = 2.0
CACHED_WEIGHT = 0.1
USERS_SWEPT_ABOVE = 10_000


def cost(input_tokens: float, cached_tokens: float, output_tokens: float) -> float:
    """Weighted tokens: an output token costs twice an input token, a cached one a tenth."""
    return input_tokens + CACHED_WEIGHT * cached_tokens + OUTPUT_WEIGHT * output_tokens


@dataclass
class FairShare:
    """The counters. `half_life_s` may be infinite, as in the paper."""

    half_life_s: float
    now_s: float
    _levels: dict[str, float] = field(default_factory=dict)
    _floor: float = 0.0
    _decay: ForwardDecay = field(init=False)

    def __post_init__(self) -> None:
        self._decay = ForwardDecay(self.half_life_s, self.now_s)

    def level(self, uid: str) -> float:
        """The counter, in units that only compare with other users' counters."""
        return self._levels.get(uid, self._floor)

    def charge(self, uid: str, tokens: float, *, weight: float, now_s: float) -> None:
        """Adds weighted tokens, negative ones to correct an earlier charge."""
        self._levels[uid] = self.level(uid) + tokens / weight * self.scale(now_s)

    def entered(self, uid: str, waiting: Iterable[str]) -> None:
        """A user begins to wait. `waiting`: the users who wait already, without this one."""
        lowest = min((self.level(other) for other in waiting), default=self._floor)
        self._levels[uid] = max(self.level(uid), lowest)
        if len(self._levels) > USERS_SWEPT_ABOVE:
            self._sweep()

    def left(self, uid: str) -> None:
        """The last waiting request of a user was served: newcomers to an idle line start here."""
        self._floor = max(self._floor, self.level(uid))

    def scale(self, now_s: float) -> float:
        """How much a token charged now counts against one charged at the start."""
        self.now_s = max(self.now_s, now_s)
        scale, factor = self._decay.at(self.now_s)
        if factor != 1.0:
            for uid in self._levels:
                self._levels[uid] *= factor
            self._floor *= factor
        return scale

    def _sweep(self) -> None:
        """Users at or below the floor would be lifted to it anyway."""
        self._levels = {uid: own for uid, own in self._levels.items() if own > self._floor}
