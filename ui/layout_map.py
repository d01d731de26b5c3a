"""Where a screen's widgets are is worked out once per layout.

Scrolling has Textual mark its map of all widgets as out of date. A layout makes the map anew and
leaves the mark, so the next widget that asks where it is has all of it made a second time: a fifth
of what showing another session costs. A test fails when Textual does so no longer.
"""

from textual import screen
from textual._compositor import Compositor, ReflowResult
from textual.geometry import Size
from textual.widget import Widget


class MappedOnce(Compositor):
    """Knows that the map a layout has made is that of now."""

    def reflow(self, parent: Widget, size: Size) -> ReflowResult:
        found = super().reflow(parent, size)
        self._full_map_invalidated = False
        return found


def install() -> None:
    """Has every screen made from now on laid out so."""
    screen.Compositor = MappedOnce  # type: ignore[attr-defined]  # it was imported there
