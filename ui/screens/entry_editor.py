"""The form for one FAQ entry, new or existing.

When somebody else has edited the entry meanwhile, their text is shown below the fields, and only
saving once more replaces it. So it is when saved questions would find another entry than they
should, were this one published: they are named first.
"""

import re
from functools import partial
from typing import ClassVar, Final

import msgspec
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, Select

from appliance.errors import Invalid, SluiceError
from appliance.schema.faq import MAX_PHRASINGS, Entry, EntryPut
from appliance.schema.fields import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS
from ui.client import Client
from ui.curating import EDITED_SINCE, Curating
from ui.drafts import Drafts, FormDraft
from ui.entries import EntryDraft, draft_of, put_of
from ui.keys import key
from ui.screens.entry_reader import EntryReader
from ui.screens.form import Form
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain, TextField

MAX_CATEGORY_CHARS: Final = 100
NAMED_QUESTIONS: Final = 3
WOULD_FLIP: Final = "would_flip"
_LANGUAGE: Final = re.compile(r"([a-z]{2,3}(-[A-Za-z0-9]{2,8})?)?")


class EntryEditor(Form[Entry]):
    """Edits one entry and saves it; the result is the entry as stored, None if nothing was."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+s", "save", "save"),
        key("f10", "preview", "preview"),
        key("escape", "close", "close"),
    ]

    def __init__(
        self,
        texts: Texts,
        *,
        client: Client,
        drafts: Drafts,
        entry: Entry | None = None,
        before: EntryDraft | None = None,
        title: str = "",
        about: str = "",
    ) -> None:
        """`before` is what stands in the form of a new entry to begin with."""
        about = about or f"entry:{entry.id if entry else ''}"
        super().__init__(texts, leaving=texts.faq_discard_body, drafts=drafts, about=about)
        if self.begun is not None and self.begun.entry is not None:
            entry = self.begun.entry  # the server tells when it was edited since
        self._client = client
        self._warned: EntryPut | None = None
        self._entry = entry
        self._before = draft_of(entry) if entry is not None else before or EntryDraft()
        self._title = title or (texts.faq_edit_title if entry else texts.faq_new_title)
        self._question = LineField(id="question")
        self.answer = TextField(id="answer")
        self._phrasings = TextField(id="phrasings")
        self._category = LineField(id="category", max_length=MAX_CATEGORY_CHARS)
        self._language = LineField(id="language", placeholder=texts.faq_language_hint)
        self._state: Select[str] = Select(
            [(Text(texts.faq_published), "published"), (Text(texts.faq_draft), "draft")],
            allow_blank=False,
            value=self._before.state,
            id="state",
        )
        self._remark = Plain(classes="form-note")

    def compose(self) -> ComposeResult:
        texts = self.texts
        with Vertical(classes="form"):
            yield Plain(self._title, classes="dialog-title")
            yield self._question
            yield self._phrasings
            yield self.answer
            with Horizontal(id="entry-small-fields"):
                yield self._category
                yield self._language
                yield self._state
                yield Button(Content(texts.faq_save), id="save", variant="primary")
            yield self._remark
            yield self.trouble
        yield KeyBar()

    def on_mount(self) -> None:
        texts = self.texts
        self._question.border_title = texts.faq_question
        self._phrasings.border_title = texts.faq_phrasings
        self.answer.border_title = texts.faq_answer
        self._category.border_title = texts.faq_category
        self._language.border_title = texts.faq_language
        for shown in self._state.query("SelectCurrent"):  # none when it is closed again already
            shown.border_title = texts.faq_state
        self._remark.display = False
        self._fill(self._before)
        self._before = self._written()  # as the fields hold it, made safe
        if self.begun is not None:
            self._fill(self.begun.written)
        self._question.focus()

    def _fill(self, draft: EntryDraft) -> None:
        self._question.set_text(draft.question)
        self._phrasings.set_text(draft.phrasings)
        self.answer.set_text(draft.answer)
        self._category.set_text(draft.category)
        self._language.set_text(draft.language)
        self._state.value = draft.state

    @property
    def is_changed(self) -> bool:
        return self._written() != self._before

    @property
    def draft(self) -> FormDraft:
        return FormDraft(self._written(), self._entry)

    def _written(self) -> EntryDraft:
        return EntryDraft(
            question=self._question.value,
            answer=self.answer.text,
            phrasings=self._phrasings.text,
            category=self._category.value,
            language=self._language.value,
            state="draft" if self._state.value == "draft" else "published",
        )

    def action_save(self) -> None:
        put = put_of(self._written(), self._entry)
        problem = mistake(self.texts, put)
        if problem:
            self.complain(problem)
            return
        self.send(partial(self._publish, put))

    def action_preview(self) -> None:
        """What is written, as those see it who open it from an answer."""
        put = put_of(self._written(), self._entry)
        entry = Entry(
            id="",
            version=0,
            created_at_ms=0,
            updated_at_ms=0,
            **msgspec.structs.asdict(put),
        )
        note = self.texts.faq.preview_note
        self.app.push_screen(EntryReader(self.texts, entry, is_current=False, note=note))

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_save()

    async def _publish(self, put: EntryPut) -> Entry:
        """Stores it, but what would spoil saved questions only when it is sent once more."""
        warning = "" if self._warned == put else await self._spoiled(put)
        if warning:
            self._warned = put
            raise Invalid(warning, reason=WOULD_FLIP)
        return await self.store(put)

    async def _spoiled(self, put: EntryPut) -> str:
        """Which saved questions would fail, in words; "" when that cannot be told now."""
        if put.state != "published":
            return ""
        entry_id = self._entry.id if self._entry is not None else ""
        try:
            seen = await Curating(self._client).preview_entry(put, entry_id)
        except SluiceError:
            return ""
        spoiled = [flip.question for flip in seen.flips if flip.was.passed and not flip.now.passed]
        if not spoiled:
            return ""
        named = " ".join(f"“{question}”" for question in spoiled[:NAMED_QUESTIONS])
        return self.texts.faq.editor_flips.format(count=len(spoiled), questions=named)

    async def store(self, put: EntryPut) -> Entry:
        """The entry as the server has it now."""
        if self._entry is None:
            return await self._client.create_entry(put)
        return await self._client.update_entry(self._entry.id, put, seen=self._entry.version)

    async def refused(self, error: SluiceError) -> None:
        if error.reason == WOULD_FLIP:
            self.complain(error.message)
            return
        if error.reason == EDITED_SINCE and self._entry is not None:
            try:
                theirs = await self._client.entry(self._entry.id)
            except SluiceError as failed:
                error = failed
            else:
                self._entry = theirs
                self.complain(
                    self.texts.faq.editor_conflict.format(
                        question=theirs.question, answer=theirs.answer
                    )
                )
                return
        await super().refused(error)

    def remark(self, words: str) -> None:
        """Says something beside the form that is no trouble."""
        self._remark.update(words)
        self._remark.display = bool(words)


def mistake(texts: Texts, put: EntryPut) -> str:
    """What the server would refuse, in words; empty when the entry can be sent."""
    if not put.question:
        return texts.faq_question_missing
    if not put.answer:
        return texts.faq_answer_missing
    if len(put.question) > MAX_QUESTION_CHARS:
        return texts.faq_too_long.format(field=texts.faq_question, limit=MAX_QUESTION_CHARS)
    if len(put.answer) > MAX_ANSWER_CHARS:
        return texts.faq_too_long.format(field=texts.faq_answer, limit=MAX_ANSWER_CHARS)
    if len(put.phrasings) > MAX_PHRASINGS:
        return texts.faq_too_many_phrasings.format(limit=MAX_PHRASINGS)
    if any(len(phrasing) > MAX_QUESTION_CHARS for phrasing in put.phrasings):
        return texts.faq_too_long.format(field=texts.faq_phrasings, limit=MAX_QUESTION_CHARS)
    if not _LANGUAGE.fullmatch(put.language):
        return texts.faq_bad_language
    return ""
