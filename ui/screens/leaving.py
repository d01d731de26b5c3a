"""Before the app is left: whether something that was written would be gone, and the question."""

from collections.abc import Iterable

from textual.screen import Screen

from ui.drafts import Drafts
from ui.screens.chat import ChatScreen
from ui.screens.dialogs import Confirm, Question
from ui.screens.form import Form
from ui.texts import Texts


def is_unsent(screens: Iterable[Screen[object]], drafts: Drafts) -> bool:
    """Whether a form on any of these screens is changed, or a draft of any session is there."""
    for screen in screens:
        if isinstance(screen, ChatScreen):
            screen.keep_draft()
        elif isinstance(screen, Form) and not screen.is_dismissed and screen.is_changed:
            return True
    written = (draft.text.strip() or draft.attachments for draft in drafts.by_session.values())
    return bool(drafts.by_form) or any(written)


class Leaving(Confirm):
    """Asks whether to leave although something was not sent."""

    def __init__(self, texts: Texts) -> None:
        question = Question(
            texts.faq_discard_title, texts.quit_body, yes=texts.faq_discard_yes, no=texts.cancel
        )
        super().__init__(texts, question)
