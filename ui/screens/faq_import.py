"""A file of entries: what it would do, line by line, before anything is stored; then the import.

What is imported is what was looked at: the file is read once. A line that is older than an edit
is a conflict, and whether the file goes first is asked. The entries are stored at once; that they
can be found by meaning takes longer and is shown, and goes on when one leaves.
"""

import asyncio
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from appliance.errors import Conflict
from appliance.schema.curation import ImportOutcome, NearLine
from ui.curating import EDITED_SINCE, Curating
from ui.faq_files import FaqFile, FaqFileError, read_faq_file
from ui.keys import key
from ui.paths import typed_path
from ui.safe_text import safe_line
from ui.said import conflict_said, error_said, line_said, shortage
from ui.screens.desk import Desk
from ui.screens.dialogs import Confirm, Question
from ui.setup_wording import file_words
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.path_field import PathField
from ui.widgets.tables import number


class ImportScreen(Desk[bool]):
    """The result is whether entries were stored."""

    AUTO_FOCUS = "#import-path"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+r", "look", "dry_run"),
        key("ctrl+s", "import_file", "import_file"),
        key("escape", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, curating: Curating) -> None:
        words = texts.curate
        super().__init__(
            texts,
            name="import-lines",
            title=words.import_title,
            columns=(words.import_line, words.import_kind, words.import_what),
        )
        self._curating = curating
        self._field = PathField(id="import-path")
        self._field.border_title = words.import_path
        self._file: FaqFile | None = None
        self._report: ImportOutcome | None = None
        self._lines: list[tuple[int, str, str]] = []
        self._has_written = False

    def compose(self) -> ComposeResult:
        self.say(self.texts.curate.import_hint)
        with Vertical(classes="form"):
            yield self.title_line
            yield self._field
            yield self.note
            yield self.table
            yield self.scroll
        yield KeyBar()

    # --- the dry run ------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_look()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._forget()

    def _forget(self) -> None:
        """What was looked at is no longer what stands in the field."""
        self._file = self._report = None
        self._show([])

    def action_look(self) -> None:
        path = self._field.value.strip()
        if path:
            self.begin(partial(self._look, typed_path(path)))

    async def _look(self, path: Path) -> None:
        self._forget()
        words = self.texts.curate
        self.say(words.import_looking)
        try:
            file = await asyncio.to_thread(read_faq_file, path)
        except FaqFileError as error:
            self.say(file_words(self.texts, error, str(path)), is_trouble=True)
            return
        report = await self._curating.rehearse(file)
        self._file, self._report = file, report
        self._show(report_lines(self.texts, report))
        said = words.import_would.format(
            created=report.created,
            updated=report.updated,
            unchanged=report.unchanged,
            errors=len(report.errors),
            conflicts=len(report.conflicts),
            duplicates=len(report.duplicates),
        )
        if report.errors:
            said = f"{said}\n{words.import_mend}"
        elif report.created + report.updated:
            said = f"{said}\n{words.import_ready}"
        else:
            said = f"{said}\n{words.import_nothing}"
        self.say(said, is_trouble=bool(report.errors))
        if self._lines:
            self.table.focus()

    def _show(self, lines: list[tuple[int, str, str]]) -> None:
        self._lines = lines
        self.table.show(
            [
                (str(at), (number(line), Text(kind), Text(safe_line(what, 200), no_wrap=True)))
                for at, (line, kind, what) in enumerate(lines)
            ]
        )
        self._show_pointed()
        self.offer_keys()

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        at = self.table.pointed
        if not at:
            self.show_text(Content())
            return
        line, kind, what = self._lines[int(at)]
        title = self.texts.curate.import_at.format(line=line, kind=kind)
        self.show_text(Content.assemble((f"{title}\n", "bold"), safe_line(what, 2_000)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "import_file":
            report = self._report
            return report is not None and not report.errors and _writes(report) > 0
        return True

    # --- the import -------------------------------------------------------------------------

    def action_import_file(self) -> None:
        if self._report is None:
            return
        late = sum(one.kind == EDITED_SINCE for one in self._report.conflicts)
        if late:
            self._ask_overwrite(self.texts.curate.import_late_body.format(count=late))
        else:
            self.begin(self._import)

    def _ask_overwrite(self, body: str) -> None:
        words = self.texts.curate
        question = Question(
            words.import_late_title, body, yes=words.import_late_yes, no=self.texts.cancel
        )

        def agreed(yes: bool | None) -> None:
            if yes:
                self.begin(partial(self._import, overwrite=True))

        self.app.push_screen(Confirm(self.texts, question), agreed)

    async def _import(self, *, overwrite: bool = False) -> None:
        file = self._file
        if file is None:
            return
        self.say(self.texts.curate.import_storing)
        try:
            outcome = await self._curating.import_file(file, overwrite=overwrite)
        except Conflict as error:
            if error.reason != EDITED_SINCE:
                raise
            said = error_said(self.texts, error.reason, error.facts).what
            self.say(said or safe_line(error.message), is_trouble=True)
            self._ask_overwrite(self.texts.curate.import_late_since)
            return
        self._has_written = True
        self._forget()
        await self._follow(outcome)

    async def _follow(self, outcome: ImportOutcome) -> None:
        """Tells how many entries can be found by meaning, until all can."""
        words = self.texts.curate
        counts = words.import_done.format(
            created=outcome.created, updated=outcome.updated, unchanged=outcome.unchanged
        )
        self.say(counts)
        if not outcome.import_id:
            return
        async with aclosing(self._curating.follow_import(outcome.import_id)) as jobs:
            async for job in jobs:
                way = words.import_found.format(done=job.indexed, count=job.entries)
                detail = shortage(self.texts, job.detail, job.reason)
                self.say(f"{counts}\n{way} {detail}".rstrip())

    def action_close(self) -> None:
        self.dismiss(self._has_written)


def report_lines(texts: Texts, report: ImportOutcome) -> list[tuple[int, str, str]]:
    """What to know of a file's lines as (line, kind, what): errors first, then conflicts."""
    words = texts.curate
    kinds = {"edited_since": words.import_edited_since, "same_question": words.import_same_question}
    lines = [(one.line, words.import_error, line_said(texts, one)) for one in report.errors]
    for kind, name in kinds.items():
        lines += [
            (one.line, name, conflict_said(texts, one))
            for one in report.conflicts
            if one.kind == kind
        ]
    return lines + [(one.line, words.import_near, _near(texts, one)) for one in report.duplicates]


def _near(texts: Texts, near: NearLine) -> str:
    words = texts.curate
    template = words.import_near_line if near.other_line else words.import_near_entry
    return template.format(
        question=safe_line(near.question, 120),
        other=safe_line(near.other_question, 120),
        line=near.other_line,
        score=f"{near.score:.2f}",
    )


def _writes(report: ImportOutcome) -> int:
    return report.created + report.updated
