"""The form for an answer to those who asked in vain, which the FAQ does not get.

It goes to people and cannot be called back, so it is sent after a second look.
"""

from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content

from appliance.schema.curation import Miss
from appliance.schema.fields import MAX_ANSWER_CHARS
from ui.curating import Curating
from ui.drafts import Drafts, FormDraft
from ui.entries import EntryDraft
from ui.keys import key
from ui.screens.dialogs import Confirm, Question
from ui.screens.form import Form
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import Plain, TextField
from ui.wording import block


class MissAnswerForm(Form[Miss]):
    """The result is the answered miss."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+s", "send_answer", "send_answer"),
        key("escape", "close", "close"),
    ]

    def __init__(self, texts: Texts, miss: Miss, *, curating: Curating, drafts: Drafts) -> None:
        leaving, about = texts.curate.miss_answer_leaving, f"reply:{miss.id}"
        super().__init__(texts, leaving=leaving, drafts=drafts, about=about)
        self._miss = miss
        self._curating = curating
        self._answer = TextField(id="answer")
        self._answer.border_title = texts.faq_answer

    def compose(self) -> ComposeResult:
        words = self.texts.curate
        with Vertical(classes="form"):
            yield Plain(words.miss_answer_title, classes="dialog-title")
            yield Plain(Content.styled(block(self._miss.question), "bold"))
            yield Plain(self._counted(words.miss_answer_note), classes="form-note")
            yield self._answer
            yield self.trouble
        yield KeyBar()

    def on_mount(self) -> None:
        if self.begun is not None:
            self._answer.set_text(self.begun.written.answer)
        self._answer.focus()

    @property
    def is_changed(self) -> bool:
        return bool(self._answer.text.strip())

    @property
    def draft(self) -> FormDraft:
        return FormDraft(EntryDraft(answer=self._answer.text))

    def action_send_answer(self) -> None:
        text, texts = self._answer.text.strip(), self.texts
        if not text:
            self.complain(texts.faq_answer_missing)
            return
        if len(text) > MAX_ANSWER_CHARS:
            limit = MAX_ANSWER_CHARS
            self.complain(texts.faq_too_long.format(field=texts.faq_answer, limit=limit))
            return
        question = Question(
            texts.curate.miss_answer_sure,
            self._counted(texts.curate.miss_answer_final),
            yes=texts.curate.key_send_answer,
            no=texts.cancel,
            is_dangerous=False,
        )

        def decided(agreed: bool | None) -> None:
            if agreed:
                self.send(partial(self._curating.answer, self._miss.id, text))

        self.app.push_screen(Confirm(texts, question), decided)

    def _counted(self, template: str) -> str:
        return template.format(count=len(self._miss.askers))
