"""The versions of one FAQ entry: what it said, since when, and the way back to an older text.

Restoring writes a new version, so nothing is lost by it and it asks no question. It says which
version was the newest on this screen; when somebody else has edited since, the server refuses,
and the list is read again before the person decides anew.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content

from appliance.errors import Conflict, SluiceError
from appliance.schema.curation import Revision
from appliance.schema.faq import Entry
from ui.background import start
from ui.clock import Clock
from ui.curating import EDITED_SINCE, Curating
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.frame import Dialog, explained
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain
from ui.widgets.tables import RecordTable, cell
from ui.wording import block


class FaqHistoryScreen(Dialog[Entry | None]):
    """Shows `revisions`, newest first; the result is the entry when one was restored."""

    AUTO_FOCUS = "#versions"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter,r", "restore", "restore"),
        key("escape,q", "close", "close"),
    ]

    def __init__(
        self, texts: Texts, revisions: Sequence[Revision], *, curating: Curating, clock: Clock
    ) -> None:
        super().__init__(texts)
        self._revisions = tuple(revisions)
        self._curating = curating
        self._clock = clock
        self._is_restoring = False
        words = texts.faq
        titles = (words.history_version, words.history_when, texts.faq_state, texts.faq_question)
        self._table = RecordTable("versions", titles, pointing=True)
        self._note = Plain(id="trouble")
        self._text = Plain()

    def compose(self) -> ComposeResult:
        question = safe_line(self._revisions[0].question, 60)
        with Vertical(classes="form"):
            title = self.texts.faq.history_title.format(question=question)
            yield Plain(title, classes="dialog-title")
            yield self._table
            yield self._note
            with VerticalScroll(id="version-text"):
                yield self._text
        yield KeyBar()

    def on_mount(self) -> None:
        self._say("" if self._newest is not None else self.texts.faq.history_deleted)
        self._show()

    @property
    def _newest(self) -> int | None:
        """The version in use; None when the entry is deleted."""
        return next((one.version for one in self._revisions if one.current), None)

    @property
    def _pointed(self) -> Revision | None:
        wanted = self._table.pointed
        return next((one for one in self._revisions if str(one.version) == wanted), None)

    def _show(self) -> None:
        self._table.show([(str(one.version), self._cells(one)) for one in self._revisions])

    def _cells(self, revision: Revision) -> tuple[Text, ...]:
        template = self.texts.faq.history_current if revision.current else "{version}"
        draft = revision.state == "draft"
        return (
            Text(template.format(version=revision.version)),
            Text(self._clock.minute(revision.updated_at_ms)),
            Text(self.texts.faq_draft if draft else self.texts.faq_published),
            cell(revision.question, 80),
        )

    def on_data_table_row_highlighted(self) -> None:
        revision = self._pointed
        if revision is not None:
            self._text.update(entry_words(revision))

    # --- restoring --------------------------------------------------------------------------

    def on_data_table_row_selected(self) -> None:
        self.action_restore()

    def action_restore(self) -> None:
        revision = self._pointed
        if revision is None or self._is_restoring:
            return
        if revision.current:
            self._say(self.texts.faq.history_is_current)
            return
        self._is_restoring = True
        start(self, partial(self._restore, revision), group="restore")

    async def _restore(self, revision: Revision) -> None:
        try:
            entry = await self._curating.restore(revision.id, revision.version, seen=self._newest)
        except Conflict as error:
            await self._look_again(revision.id, error)
            return
        except SluiceError as error:
            self._say(explained(self, error))
            return
        finally:
            self._is_restoring = False
        words = self.texts.faq.history_restored.format(old=revision.version, new=entry.version)
        self.notify(words, markup=False)
        self.dismiss(entry)

    async def _look_again(self, entry_id: str, error: Conflict) -> None:
        is_edited = error.reason == EDITED_SINCE
        said = self.texts.faq.history_conflict if is_edited else explained(self, error)
        try:
            self._revisions = await self._curating.history(entry_id)
        except SluiceError as failed:
            said = explained(self, failed)
        self._show()
        self._say(said)

    def _say(self, words: str) -> None:
        self._note.update(words)
        self._note.display = bool(words)

    def action_close(self) -> None:
        self.dismiss(None)


def entry_words(entry: Entry) -> Content:
    """The whole text of an entry or a version of it, safe to show."""
    parts = [Content.styled(block(entry.question), "bold")]
    parts += [Content.styled(f"  {safe_line(one)}", "dim") for one in entry.phrasings]
    kind = "  ".join(safe_line(one, 100) for one in (entry.category, entry.language) if one)
    if kind:
        parts.append(Content.styled(kind, "$text-accent"))
    return Content("\n").join([*parts, Content(), Content(block(entry.answer))])
