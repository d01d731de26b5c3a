"""How true promises were: the first wait a person was told, against how long it really took.

A promise is kept when the wait was within 30 % or 2 seconds of it, whichever is more.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

WITHIN_SHARE = 0.3
WITHIN_S = 2.0
OPEN_PROMISES = 20_000


@dataclass
class Honesty:
    """Counts since the start."""

    told: int = 0
    kept: int = 0
    _open: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def promised(self, request_id: str, eta_s: float | None) -> None:
        """Only the first promise counts; one without a time is none."""
        if eta_s is None or request_id in self._open:
            return
        self._open[request_id] = eta_s
        if len(self._open) > OPEN_PROMISES:
            self._open.popitem(last=False)

    def ran(self, request_id: str, waited_s: float) -> None:
        eta_s = self._open.pop(request_id, None)
        if eta_s is None:
            return
        self.told += 1
        self.kept += abs(waited_s - eta_s) <= max(WITHIN_S, WITHIN_SHARE * eta_s)

    def forgot(self, request_id: str) -> None:
        """It ended otherwise: nothing is known of the promise."""
        self._open.pop(request_id, None)
