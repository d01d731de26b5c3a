"""An answer as Markdown, drawn while it is made; its text comes from a model or a FAQ.

The text passes `SafeStream` on the way in and `safe_text` once more after parsing, for Markdown
knows character entities. Nothing in it is active: links, images and raw HTML are not parsed, so
they stand there as the text they are; the only thing to click is a citation of a source that
there is (`ui.citations`). What would take Markdown seconds to lay out (thousands of
table cells), or what it cannot lay out at all, is shown as plain text.

Pieces are appended by one worker, at most every `REPAINT_GAP_S` and so seldom that drawing takes
no more than `DRAWING_SHARE_MAX` of one core: laying out a screen costs 20 to 100 ms, and the model
that makes the tokens may need the same processor. Textual's own `Markdown.get_stream` is not
used: it redraws as fast as it can, and its `stop` starts a second append while the first still
runs, which can show a block twice.

Every block of Markdown is a widget, some 50 for an answer of one screen, and each costs 2 to 4 ms
from mounting to painting. So an answer that is finished may start as a sketch, its text in one
widget, until `draw` is called.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from textual.app import ComposeResult
from textual.events import Mount
from textual.message import Message
from textual.widgets import Markdown, Static

from ui.background import start
from ui.citations import linked, number_of
from ui.safe_text import SafeStream, safe_text
from ui.widgets.plain import Plain

REPAINT_GAP_S: Final = 0.2
REPAINT_GAP_MAX_S: Final = 1.0
DRAWING_SHARE_MAX: Final = 0.2
MARKDOWN_WEIGHT_MAX: Final = 800  # lines and table cells; about 6 ms each to lay out

logger = logging.getLogger(__name__)

_INACTIVE: Final = (
    "link",
    "image",
    "autolink",
    "linkify",
    "reference",
    "html_inline",
    "html_block",
)


def parser(sources: int = 0) -> MarkdownIt:
    """GitHub's Markdown without anything that points elsewhere, and with safe text only.

    Citations of the first `sources` sources are links.
    """
    markdown = MarkdownIt("gfm-like").disable(list(_INACTIVE))
    markdown.core.ruler.push("safe_text", _make_safe)
    markdown.core.ruler.push("citations", partial(_link_citations, sources=sources))
    return markdown


def _link_citations(state: StateCore, *, sources: int) -> None:
    for token in state.tokens:
        if sources and token.type == "inline":
            token.children = linked(token.children or (), sources)


def _make_safe(state: StateCore) -> None:
    _clean(state.tokens)


def _clean(tokens: Iterable[Token]) -> None:
    for token in tokens:
        token.content = safe_text(token.content)
        if token.type in ("fence", "code_block") and not token.info.strip():
            token.info = "text"  # else Textual tries every lexer there is, on each append
        _clean(token.children or ())


class Answer(Markdown):
    """Shows the answer so far; give it the whole text each time with `show`."""

    @dataclass
    class Cited(Message):
        """The person picked a citation."""

        number: int

    class Drawn(Message):
        """All that was given stands on the screen, for now."""

    def __init__(self, text: str = "", *, sources: int = 0, is_sketch: bool = False) -> None:
        super().__init__(parser_factory=self._parser, open_links=False)
        self._source_count = sources
        self._wanted = text
        self._taken = ""
        self._safe = ""
        self._stream = SafeStream()
        self._plain: Plain | None = None
        self._sketch = Plain(safe_text(text)) if is_sketch else None
        self._is_sketch = is_sketch
        self._is_final = False
        self._ended = asyncio.Event()
        if is_sketch:
            self._ended.set()
        self._appends = 0
        self._is_writing = False
        self._is_ready = False

    def _parser(self) -> MarkdownIt:
        return parser(self._source_count)

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        event.stop()
        event.prevent_default()  # the inherited handler opens a browser
        number = number_of(event.href)
        if number:
            self.post_message(self.Cited(number))

    def compose(self) -> ComposeResult:
        if self._sketch is not None:
            yield self._sketch

    async def _on_mount(self, event: Mount) -> None:  # type: ignore[override]  # as Markdown has it
        event.prevent_default()  # else Textual runs the inherited handler a second time
        if not self._is_sketch:
            await super()._on_mount(event)
        self._is_ready = True
        self._write_soon()

    @property
    def is_drawn(self) -> bool:
        """Whether everything that was given stands on the screen."""
        return self._is_ready and not self._is_writing and not self._has_work

    @property
    def is_sketch(self) -> bool:
        """Whether the text stands there without its Markdown, until `draw` is called."""
        return self._is_sketch

    @property
    def is_being_drawn(self) -> bool:
        return self._is_writing

    def draw(self) -> None:
        """Puts Markdown in the place of a sketch; `Drawn` tells when it is there."""
        if self._is_sketch:
            self._is_sketch = False
            self._write_soon()

    @property
    def _has_work(self) -> bool:
        return self._taken != self._wanted or (self._is_final and self._appends > 1)

    def show(self, text: str, *, is_final: bool = False, sources: int = 0) -> None:
        """Takes the whole answer as it is now; usually the last one and a little more.

        A final one that came in pieces is drawn anew as a whole, for appending sometimes cannot
        know to which block a line belongs.
        """
        self._wanted = text
        self._source_count = sources
        self._is_final = is_final
        if is_final:
            self._ended.set()
        else:
            self._ended.clear()
        if self._is_sketch and self._sketch is not None:
            self._sketch.update(safe_text(text))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._is_ready and not self._is_sketch and not self._is_writing and self._has_work:
            self._is_writing = True
            start(self, self._write, group="write")

    async def _write(self) -> None:
        try:
            while self._has_work:
                used_s = time.process_time()
                await self._write_piece()
                self._drop_tooltips()
                await self._pause(REPAINT_GAP_S)  # in which the screen is laid out and drawn
                used_s = time.process_time() - used_s
                await self._pause(
                    min(REPAINT_GAP_MAX_S, used_s / DRAWING_SHARE_MAX) - REPAINT_GAP_S
                )
        finally:
            self._is_writing = False
        self.post_message(self.Drawn())

    async def _pause(self, seconds: float) -> None:
        """Ends early when the answer is complete: what is left is shown at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._ended.wait()

    async def _write_piece(self) -> None:
        wanted = self._wanted
        if not wanted.startswith(self._taken):
            self._taken, self._safe, self._stream = "", "", SafeStream()
            self._appends, self._plain, self._sketch = 0, None, None
            await self.query("*").remove()
            await self._redraw()
        elif wanted == self._taken:
            self._appends = 1
            await self._redraw()
            return
        piece = self._stream.feed(wanted[len(self._taken) :])
        self._taken = wanted
        self._safe += piece
        self._appends += 1
        await self._append(piece)

    async def _append(self, piece: str) -> None:
        """Appending a table that ends in the middle of a row fails in Textual 8."""
        if self._plain is not None or _weight(self._safe) > MARKDOWN_WEIGHT_MAX:
            await self._show_plain()
            return
        if self._sketch is not None:
            await self._redraw()
            return
        try:
            await self.append(piece)
        except Exception:
            logger.info("an answer could not be appended to and is drawn anew", exc_info=True)
            await self._redraw()

    async def _redraw(self) -> None:
        if self._plain is not None:
            return
        try:
            with self.app.batch_update():
                await self.update(self._safe)
                if self._sketch is not None:
                    await self._sketch.remove()
                    self._sketch = None
        except Exception:
            logger.warning("an answer could not be drawn as Markdown", exc_info=True)
            await self._show_plain()

    async def _show_plain(self) -> None:
        if self._plain is None:
            self._plain, self._sketch = Plain(), None
            await self.query("*").remove()
            await self.mount(self._plain)
        self._plain.update(self._safe)

    def _drop_tooltips(self) -> None:
        """Textual gives table cells their own text as tooltip, and reads tooltips as markup."""
        for cell in self.query(Static):
            if cell.tooltip is not None:
                cell.tooltip = None


def _weight(text: str) -> int:
    return text.count("\n") + text.count("|")
