"""An answer as Markdown, drawn while it is made; its text comes from a model or a FAQ.

The text passes `SafeStream` on the way in, and nothing in it is active: links, images and raw
HTML are not parsed, so they stand there as the text they are.

Pieces are appended by one worker at most every `REPAINT_GAP_S`, for drawing each token would
take the processor from the model that makes them. Textual's own `Markdown.get_stream` is not
used: it redraws as fast as it can, and its `stop` starts a second append while the first still
runs, which can show a block twice.
"""

import asyncio
from typing import Final

from markdown_it import MarkdownIt
from textual.events import Mount
from textual.widgets import Markdown, Static

from ui.safe_text import SafeStream

REPAINT_GAP_S: Final = 0.1
_INACTIVE: Final = ("link", "image", "autolink", "linkify", "reference", "html_inline")


def parser() -> MarkdownIt:
    """GitHub's Markdown without anything that points elsewhere."""
    return MarkdownIt("gfm-like").disable([*_INACTIVE, "html_block"])


class Answer(Markdown):
    """Shows the answer so far; give it the whole text each time with `show`."""

    def __init__(self, text: str = "") -> None:
        super().__init__(parser_factory=parser, open_links=False)
        self._wanted = text
        self._taken = ""
        self._stream = SafeStream()
        self._is_writing = False
        self._is_ready = False

    async def _on_mount(self, event: Mount) -> None:  # type: ignore[override]  # as Markdown has it
        event.prevent_default()  # else Textual runs the inherited handler a second time
        await super()._on_mount(event)
        self._is_ready = True
        self._write_soon()

    @property
    def is_drawn(self) -> bool:
        """Whether everything that was given stands on the screen."""
        return self._is_ready and not self._is_writing and self._taken == self._wanted

    def show(self, text: str) -> None:
        """Takes the whole answer as it is now; usually the last one and a little more."""
        self._wanted = text
        self._write_soon()

    def _write_soon(self) -> None:
        if self._is_ready and not self._is_writing and self._taken != self._wanted:
            self._is_writing = True
            self.run_worker(self._write(), group="write")

    async def _write(self) -> None:
        try:
            while self._taken != self._wanted:
                if not self._wanted.startswith(self._taken):
                    self._taken, self._stream = "", SafeStream()
                    await self.update("")
                piece = self._stream.feed(self._wanted[len(self._taken) :])
                self._taken = self._wanted
                if piece:
                    await self.append(piece)
                    self._drop_tooltips()
                    await asyncio.sleep(REPAINT_GAP_S)
        finally:
            self._is_writing = False

    def _drop_tooltips(self) -> None:
        """Textual gives table cells their own text as tooltip, and reads tooltips as markup."""
        for cell in self.query(Static):
            if cell.tooltip is not None:
                cell.tooltip = None
