"""Saved questions with the entry they should find: how they did last, and what flipped when.

They are asked by the server after every change; `r` has them asked now, and the list tells how far
that is. The names of entries are read when they are first looked at.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content

from appliance.errors import NotFound, SluiceError
from appliance.schema.curation import Outcome, Regression, RegressionRun
from appliance.schema.fields import MAX_QUESTION_CHARS
from ui.background import start
from ui.client import Client
from ui.clock import Clock
from ui.curating import Curating
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.dialogs import AskLine, Confirm, Question
from ui.screens.expected import ask_expected
from ui.texts import Texts
from ui.widgets.tables import cell, number
from ui.wording import block, moment, run_cause

LOOK_EVERY_S: Final = 0.5
PICKED_FROM: Final = 9
FLIPS_SHOWN: Final = 20


class ChecksScreen(Desk[bool]):
    """The result is always False: entries stay as they are."""

    AUTO_FOCUS = "#checks"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("r", "run_checks", "run_checks"),
        key("a", "add_check", "add_check"),
        key("d,delete", "delete_check", "delete_check"),
        key("ctrl+r", "refresh_list", "refresh"),
        key("escape,q", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, client: Client, curating: Curating, clock: Clock) -> None:
        words = texts.curate
        super().__init__(
            texts,
            name="checks",
            title=words.check_title,
            columns=(words.check_result, words.check_flipped, texts.faq_score, texts.faq_question),
        )
        self._client = client
        self._curating = curating
        self._clock = clock
        self._checks: dict[str, Regression] = {}
        self._runs: tuple[RegressionRun, ...] = ()
        self._entries: dict[str, str] = {"": words.check_no_entry}

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> Regression | None:
        return self._checks.get(self.table.pointed)

    # --- reading ----------------------------------------------------------------------------

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        await self._load()
        self.say(self._standing())

    async def _load(self) -> None:
        self._runs = await self._curating.regression_runs()
        self._show(await self._curating.regressions())

    def _show(self, checks: Sequence[Regression]) -> None:
        self._checks = {one.id: one for one in checks}
        self.table.show([(one.id, self._cells(one)) for one in checks])
        self._show_pointed()

    def _cells(self, check: Regression) -> tuple[Text, ...]:
        flipped = next(
            (run.at_ms for run in self._runs for flip in run.flips if flip.id == check.id), None
        )
        outcome = check.outcome
        style = "bold" if outcome is not None and not outcome.passed else ""
        return (
            Text(result_words(self.texts, outcome), style=style),
            Text(self._moment(flipped) if flipped is not None else ""),
            number(f"{outcome.score:.2f}" if outcome is not None else None),
            cell(check.question, 200),
        )

    def _standing(self) -> str:
        words = self.texts.curate
        if not self._checks:
            return words.check_none.format(key="a")
        passed, failed = _counts(self._checks.values())
        if not self._runs:
            return words.check_count.format(passed=passed, failed=failed)
        last = self._runs[0]
        return words.check_last_run.format(
            passed=passed,
            failed=failed,
            when=self._moment(last.at_ms),
            cause=run_cause(self.texts, last.cause),
            flipped=len(last.flips),
        )

    def _moment(self, at_ms: int) -> str:
        return moment(at_ms, self._clock.now_ms(), self._clock.zone)

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        self.offer_keys()
        check = self._pointed
        self.show_text(self._words(check) if check is not None else Content())
        if check is not None:
            start(self, partial(self._name_entries, check), group="names", exclusive=True)

    async def _name_entries(self, check: Regression) -> None:
        """Reads the questions of the entries that the text names, those not known yet."""
        named = [check.entry_id, *(one.entry_id for one in _outcomes(check, self._runs))]
        unknown = dict.fromkeys(one for one in named if one not in self._entries)
        for entry_id in unknown:
            try:
                self._entries[entry_id] = (await self._client.entry(entry_id)).question
            except NotFound:
                gone = self.texts.curate.check_entry_gone
                self._entries[entry_id] = gone.format(id=entry_id)
            except SluiceError:
                return  # the id stands there
        if unknown and self._pointed is not None:
            self.show_text(self._words(self._pointed))

    def _words(self, check: Regression) -> Content:
        words = self.texts.curate
        parts = [
            Content.styled(block(check.question), "bold"),
            Content(words.check_expected.format(entry=self._entry(check.entry_id))),
        ]
        outcome = check.outcome
        if outcome is not None:
            when, entry = self._clock.minute(outcome.at_ms), self._entry(outcome.entry_id)
            parts.append(Content(words.check_found.format(when=when, entry=entry)))
        flips = [(run, flip) for run in self._runs for flip in run.flips if flip.id == check.id]
        if flips:
            parts += [Content(), Content.styled(words.check_flips, "bold")]
        for run, flip in flips[:FLIPS_SHOWN]:
            said = words.check_flip.format(
                when=self._clock.minute(run.at_ms),
                cause=run_cause(self.texts, run.cause),
                was=result_words(self.texts, flip.was),
                now=result_words(self.texts, flip.now),
                entry=self._entry(flip.now.entry_id),
            )
            parts.append(Content(f"  {said}"))
        return Content("\n").join(parts)

    def _entry(self, entry_id: str) -> str:
        return safe_line(self._entries.get(entry_id, entry_id), 120)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "delete_check":
            return self._pointed is not None
        return bool(self._checks) if action == "run_checks" else True

    # --- asking now -------------------------------------------------------------------------

    def action_run_checks(self) -> None:
        self.begin(self._run)

    async def _run(self) -> None:
        before = _asked_at(self._checks.values())
        words = self.texts.curate
        self.say(words.check_running.format(asked=0, count=len(before)))
        watching = start(self, partial(self._watch, before), group="progress", exclusive=True)
        try:
            await self._curating.run_regressions()
        finally:
            watching.cancel()
        await self._load()
        count, asked = len(self._checks), self._asked_since(before)
        if asked < count:
            self.say(words.check_goes_on.format(asked=asked, count=count))
            return
        passed, failed = _counts(self._checks.values())
        flipped = len(self._runs[0].flips) if self._runs else 0
        self.say(words.check_ran.format(passed=passed, failed=failed, flipped=flipped))

    async def _watch(self, before: dict[str, int]) -> None:
        """Shows results as they come; a failure is told by the call that is waited for."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                self._show(await self._curating.regressions())
            except SluiceError:
                return
            asked, count = self._asked_since(before), len(self._checks)
            self.say(self.texts.curate.check_running.format(asked=asked, count=count))

    def _asked_since(self, before: dict[str, int]) -> int:
        now = _asked_at(self._checks.values())
        return sum(at_ms != before.get(one) for one, at_ms in now.items())

    # --- adding and removing ----------------------------------------------------------------

    def action_add_check(self) -> None:
        def asked(question: str | None) -> None:
            if question:
                self.begin(partial(self._offer_entries, question))

        dialog = AskLine(
            self.texts,
            title=self.texts.curate.check_add_title,
            label=self.texts.faq_question,
            text="",
            max_chars=MAX_QUESTION_CHARS,
        )
        self.app.push_screen(dialog, asked)

    async def _offer_entries(self, question: str) -> None:
        matches = (await self._client.search(question, limit=PICKED_FROM)).items

        def take(entry_id: str) -> None:
            self.begin(partial(self._save, question, entry_id))

        ask_expected(self.app, self.texts, question=question, matches=matches, take=take)

    async def _save(self, question: str, entry_id: str) -> None:
        saved = await self._curating.save_regression(question, entry_id)
        await self._load()
        self.table.point_at(saved.id)
        self.say(saved_words(self.texts, saved))

    def action_delete_check(self) -> None:
        check = self._pointed
        if check is None:
            return
        words = self.texts.curate
        question = Question(
            words.check_delete_title,
            words.check_delete_body.format(question=safe_line(check.question, 120)),
            yes=words.check_delete_yes,
            no=self.texts.cancel,
        )

        def agreed(yes: bool | None) -> None:
            if yes:
                self.begin(partial(self._delete, check.id))

        self.app.push_screen(Confirm(self.texts, question), agreed)

    async def _delete(self, check_id: str) -> None:
        await self._curating.delete_regression(check_id)
        await self._load()
        self.say(self.texts.curate.check_deleted)

    def action_close(self) -> None:
        self.dismiss(False)


def result_words(texts: Texts, outcome: Outcome | None) -> str:
    if outcome is None:
        return texts.curate.check_not_asked
    return texts.curate.check_passed if outcome.passed else texts.curate.check_failed


def saved_words(texts: Texts, saved: Regression) -> str:
    """What to say of a question that was saved and asked at once."""
    passes = saved.outcome is not None and saved.outcome.passed
    return texts.curate.check_saved_passed if passes else texts.curate.check_saved_failed


def _outcomes(check: Regression, runs: Sequence[RegressionRun]) -> list[Outcome]:
    """The outcomes that the text of a question names."""
    flips = [flip.now for run in runs for flip in run.flips if flip.id == check.id]
    return [*([check.outcome] if check.outcome is not None else []), *flips[:FLIPS_SHOWN]]


def _counts(checks: Iterable[Regression]) -> tuple[int, int]:
    outcomes = [one.outcome for one in checks if one.outcome is not None]
    passed = sum(one.passed for one in outcomes)
    return passed, len(outcomes) - passed


def _asked_at(checks: Iterable[Regression]) -> dict[str, int]:
    return {one.id: one.outcome.at_ms if one.outcome is not None else 0 for one in checks}
