"""What lies beside the FAQ's table: each desk is opened over it, and tells when entries changed."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Final

from textual.binding import Binding

from ui import faq_exports
from ui.client import Client
from ui.clock import Clock
from ui.curating import Curating
from ui.drafts import Drafts
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.dialogs import AskPath
from ui.screens.faq_checks import ChecksScreen
from ui.screens.faq_deleted import DeletedScreen
from ui.screens.faq_import import ImportScreen
from ui.screens.faq_misses import MissesScreen
from ui.screens.faq_test import FaqTestScreen
from ui.screens.frame import SluiceScreen

DESKS: Final[tuple[Binding, ...]] = (
    key("t", "test_question", "test_question", show=False),
    key("m", "show_misses", "misses", show=False),
    key("g", "show_checks", "checks", show=False),
    key("i", "import_file", "import", show=False),
    key("x", "export_file", "export", show=False),
    key("u", "show_deleted", "deleted", show=False),
)


class FaqDesks:
    """`changed` is called when entries were written at a desk."""

    def __init__(
        self,
        screen: SluiceScreen,
        *,
        client: Client,
        curating: Curating,
        clock: Clock,
        drafts: Drafts,
        changed: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._texts = screen.texts
        self._client = client
        self._curating = curating
        self._clock = clock
        self._drafts = drafts
        self._changed = changed

    def test_question(self, question: str) -> None:
        screen = FaqTestScreen(self._texts, curating=self._curating, question=question)
        self._screen.app.push_screen(screen)

    def show_misses(self) -> None:
        screen = MissesScreen(
            self._texts,
            client=self._client,
            curating=self._curating,
            clock=self._clock,
            drafts=self._drafts,
        )
        self._screen.app.push_screen(screen, self._after)

    def show_checks(self) -> None:
        screen = ChecksScreen(
            self._texts, client=self._client, curating=self._curating, clock=self._clock
        )
        self._screen.app.push_screen(screen)

    def import_file(self) -> None:
        screen = ImportScreen(self._texts, curating=self._curating)
        self._screen.app.push_screen(screen, self._after)

    def export_file(self) -> None:
        def named(path: str | None) -> None:
            if path:
                self._screen.attempt(
                    partial(self._export, Path(path)), group="export", exclusive=True
                )

        words = self._texts.curate
        dialog = AskPath(
            self._texts,
            title=words.export_title,
            label=words.export_label,
            text=str(Path.home() / "faq.jsonl"),
        )
        self._screen.app.push_screen(dialog, named)

    async def _export(self, path: Path) -> None:
        words = self._texts.chat
        form = faq_exports.form_of(path)
        if not form:
            said = self._texts.curate.export_unknown_kind
            self._screen.notify(said, severity="warning", markup=False)
            return
        self._screen.notify(self._texts.curate.export_writing, markup=False)
        try:
            path = await asyncio.to_thread(path.expanduser)
            async with aclosing(self._curating.export(form)) as pieces:
                await faq_exports.write_new(path, pieces)
        except FileExistsError:
            self._screen.notify(words.export_exists, severity="warning", markup=False)
        except (OSError, ValueError, RuntimeError) as error:
            reason = safe_line(getattr(error, "strerror", None) or str(error), 120)
            said = words.export_failed.format(reason=reason)
            self._screen.notify(said, severity="error", markup=False)
        else:
            said = words.export_done.format(path=safe_line(str(path)))
            self._screen.notify(said, markup=False)

    def show_deleted(self) -> None:
        screen = DeletedScreen(self._texts, curating=self._curating, clock=self._clock)
        self._screen.app.push_screen(screen, self._after)

    def _after(self, has_changed: bool | None) -> None:
        if has_changed:
            self._changed()
