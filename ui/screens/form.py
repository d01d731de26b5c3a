"""A form over a screen, whose text is safe until the server has taken it.

A refusal is shown below the fields and they stay as they are; leaving with changes asks first. When
the app makes its screens anew, in another language, what was written is kept and stands in the form
that is opened next for the same thing. The subclass lays the fields out, tells whether they were
changed, and says what is sent.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from appliance.errors import SluiceError
from ui.background import start
from ui.drafts import Drafts, FormDraft
from ui.screens.dialogs import Confirm, Question
from ui.screens.frame import Dialog, explained
from ui.texts import Texts
from ui.widgets.plain import Plain

T = TypeVar("T")


class Form(Dialog[T | None]):
    """The result is what the server made of it, None when nothing was sent. Bind `close`."""

    def __init__(self, texts: Texts, *, leaving: str, drafts: Drafts, about: str) -> None:
        """`leaving` says what will be gone when the person leaves; `about` names the form's draft.

        `begun` is what was written before the screens were made anew.
        """
        super().__init__(texts)
        self._leaving = leaving
        self._drafts = drafts
        self._about = about
        self.begun = drafts.by_form.pop(about, None)
        self.trouble = Plain(id="trouble")
        self.trouble.display = False
        self.is_sending = False

    @property
    def is_changed(self) -> bool:
        """Whether something would be gone."""
        raise NotImplementedError

    @property
    def draft(self) -> FormDraft:
        """What would be gone."""
        raise NotImplementedError

    def on_unmount(self) -> None:
        if not self.is_dismissed and self.is_changed:
            self._drafts.by_form[self._about] = self.draft

    def send(self, call: Callable[[], Awaitable[T]]) -> None:
        """Makes the call that the form is for, and closes with its result."""
        if not self.is_sending:
            self.is_sending = True
            start(self, partial(self._send, call), group="send")

    async def _send(self, call: Callable[[], Awaitable[T]]) -> None:
        try:
            result = await call()
        except SluiceError as error:
            await self.refused(error)
            return
        finally:
            self.is_sending = False
        self.dismiss(result)

    async def refused(self, error: SluiceError) -> None:
        self.complain(explained(self, error))

    def complain(self, words: str) -> None:
        """Says below the fields what is wrong."""
        self.trouble.update(words)
        self.trouble.display = True

    def action_close(self) -> None:
        if not self.is_changed:
            self.dismiss(None)
            return
        question = Question(
            self.texts.faq_discard_title,
            self._leaving,
            yes=self.texts.faq_discard_yes,
            no=self.texts.cancel,
        )

        def leave(agreed: bool | None) -> None:
            if agreed:
                self.dismiss(None)

        self.app.push_screen(Confirm(self.texts, question), leave)
