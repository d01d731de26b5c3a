"""Counts with a half-life that nobody has to halve: newer ones are made to count more instead.

("Forward decay", Cormode et al., ICDE 2009.)
"""

from dataclasses import dataclass

REBASE_AFTER = 40.0  # half-lives


@dataclass
class ForwardDecay:
    """`half_life_s` may be infinite."""

    half_life_s: float
    epoch_s: float

    def at(self, now_s: float) -> tuple[float, float]:
        """How much one counted now weighs against one of the epoch, and what all older counts must
        be multiplied with first: 1 but for a rare new epoch, 0 after a very long time."""
        halvings = (now_s - self.epoch_s) / self.half_life_s
        if halvings < REBASE_AFTER:
            return float(2.0**halvings), 1.0
        self.epoch_s = now_s
        return 1.0, float(0.5**halvings)
