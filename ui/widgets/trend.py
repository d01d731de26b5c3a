"""A figure with the way it went lately: a label, the last value, and a line of bars."""

from collections import deque
from typing import Final

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Sparkline

from ui.widgets.plain import Plain

SAMPLES_MAX: Final = 300


class Trend(Vertical):
    """Shows values as they are pushed; the bars' height is relative to the highest of them."""

    def __init__(self, label: str) -> None:
        super().__init__(classes="trend")
        self._label = label
        self._values: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._line = Plain(label)
        self._bars = Sparkline([0.0], summary_function=max)

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._bars

    def push(self, value: float, words: str) -> None:
        """`words` say the value."""
        self._values.append(value)
        self._line.update(Content.assemble((f"{self._label} ", "dim"), (words, "bold")))
        room = max(1, self._bars.size.width)
        self._bars.data = list(self._values)[-room:]
