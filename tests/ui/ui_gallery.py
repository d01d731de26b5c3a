"""Compares what stands on the screen with pictures, while one app is walked through its states."""

from dataclasses import dataclass, field

from pytest_textual_snapshot import (  # type: ignore[import-untyped]  # it has no types
    SVGImageExtension,
)
from syrupy.assertion import SnapshotAssertion
from textual.widgets import Input, TextArea
from ui_driver import Driven

from ui.widgets.answer import Answer


@dataclass
class Gallery:
    """Compares what stands on the screen with the picture of that name."""

    sluice: Driven
    snapshot: SnapshotAssertion
    wrong: list[str] = field(default_factory=list)

    async def shows(self, name: str, *parts: str) -> None:
        """Waits for the parts, and until nothing blinks or is still being drawn."""
        app = self.sluice.app
        await self.sluice.sees(*parts)
        await self.sluice.until(lambda: app.screen.query("FooterKey"))
        for area in app.screen.query(TextArea):
            area.cursor_blink = False
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await self.sluice.until(lambda: all(a.is_drawn for a in app.screen.query(Answer)))
        await self.sluice.pilot.wait_for_scheduled_animations()
        await self.sluice.pilot.pause()
        if app.export_screenshot() != self.snapshot(name=name):
            self.wrong.append(name)


def gallery_of(sluice: Driven, snapshot: SnapshotAssertion) -> Gallery:
    return Gallery(sluice, snapshot.use_extension(SVGImageExtension))
