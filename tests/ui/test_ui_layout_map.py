"""A layout's map of the widgets is that of now, and is not made a second time."""

import pytest
from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from ui import layout_map

pytestmark = pytest.mark.ui


class Page(App[None]):
    def compose(self) -> ComposeResult:
        with VerticalScroll():
            for n in range(40):
                yield Static(f"line {n}", id=f"line-{n}")


@pytest.mark.parametrize("mapped", [True, False])
async def test_a_widget_that_asks_where_it_is_has_no_map_made(
    monkeypatch: pytest.MonkeyPatch, *, mapped: bool
) -> None:
    """Without it Textual makes one: when that ends, `ui.layout_map` can go."""
    monkeypatch.setattr("textual.screen.Compositor", Compositor)
    if mapped:
        layout_map.install()
    arranged = 0
    real = Compositor._arrange_root

    def counted(self: Compositor, *given: object, **named: object) -> object:
        nonlocal arranged
        arranged += 1
        return real(self, *given, **named)  # type: ignore[arg-type]

    page = Page()
    async with page.run_test(size=(40, 10)) as pilot:
        scroll = page.query_one(VerticalScroll)
        scroll.scroll_to(y=20, animate=False)
        await pilot.pause()
        compositor = page.screen._compositor
        assert compositor._full_map_invalidated, "it was scrolled"
        monkeypatch.setattr(Compositor, "_arrange_root", counted)
        page.screen._refresh_layout()
        assert arranged == (1 if mapped else 2), "painting asks each widget where it is"
        kept = dict(compositor.full_map)
        compositor._full_map_invalidated = True
        assert compositor.full_map == kept
