"""The prompt with the files that go with the question: what one writes before it is sent."""

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message

from appliance.schema.fields import MAX_TEXT_CHARS
from ui.attachments import MAX_ATTACHMENTS, Attachment, split
from ui.drafts import Draft
from ui.safe_text import safe_line, safe_text
from ui.texts import Texts
from ui.widgets.plain import Plain
from ui.widgets.prompt import Prompt


class Composer(Vertical):
    """Holds one draft; what is in it stays until the screen takes it out."""

    @dataclass
    class Sent(Message):
        """The person wants to send the draft."""

        draft: Draft

    @dataclass
    class Refused(Message):
        """A file, or the question with its files, does not fit; `words` say why."""

        words: str

    def __init__(self, texts: Texts) -> None:
        super().__init__(id="composer")
        self._texts = texts
        self._attachments: tuple[Attachment, ...] = ()
        self._attached = Plain(classes="attached")
        self._attached.display = False
        self._prompt = Prompt(texts)

    def compose(self) -> ComposeResult:
        yield self._attached
        yield self._prompt

    @property
    def draft(self) -> Draft:
        return Draft(self._prompt.text, self._attachments)

    @property
    def can_detach(self) -> bool:
        return bool(self._attachments) and not self._prompt.text

    def load(self, draft: Draft) -> None:
        """Puts a draft in place of the one that is there."""
        self._prompt.load_text(draft.text)
        self._prompt.move_cursor(self._prompt.document.end)
        self._hold(draft.attachments)

    def put_back(self, question: str) -> None:
        """A question that was sent stands here again with its files, below what is being written
        and beside the files of that."""
        asked = split(question)
        more = tuple(one for one in asked.attachments if one not in self._attachments)
        if len(self._attachments) + len(more) > MAX_ATTACHMENTS:
            words = self._texts.chat.attach_full.format(limit=MAX_ATTACHMENTS)
            self.post_message(self.Refused(words))
            return
        self._prompt.move_cursor(self._prompt.document.end)
        gap = "\n" if self._prompt.text and not self._prompt.text.endswith("\n") else ""
        self._prompt.insert(gap + safe_text(asked.question))
        self._hold((*self._attachments, *more))
        self._prompt.focus()

    def attach(self, attachment: Attachment) -> None:
        words = self._texts.chat
        draft = Draft(self._prompt.text, (*self._attachments, attachment))
        if len(draft.attachments) > MAX_ATTACHMENTS:
            self.post_message(self.Refused(words.attach_full.format(limit=MAX_ATTACHMENTS)))
        elif self.fits(draft):
            self._hold(draft.attachments)

    def detach(self) -> None:
        """Takes the last file away."""
        self._hold(self._attachments[:-1])

    def fits(self, draft: Draft) -> bool:
        """Whether the server would take the draft; says so when not."""
        if len(draft.whole) <= MAX_TEXT_CHARS:
            return True
        words = self._texts.chat.attach_too_large.format(limit=MAX_TEXT_CHARS)
        self.post_message(self.Refused(words))
        return False

    def focus_prompt(self) -> None:
        self._prompt.focus()

    def on_prompt_sent(self, message: Prompt.Sent) -> None:
        message.stop()
        draft = Draft(message.text, self._attachments)
        if self.fits(draft):
            self.post_message(self.Sent(draft))

    def _hold(self, attachments: tuple[Attachment, ...]) -> None:
        self._attachments = attachments
        words = self._texts.chat
        lines = [
            f"+ {words.attachment.format(name=safe_line(one.name, 60), lines=one.lines)}"
            for one in attachments
        ]
        self._attached.update("\n".join([*lines, words.attachments_hint] if lines else []))
        self._attached.display = bool(lines)
