"""What a person has written and not sent, in the chat and in forms; it outlives the screen."""

from dataclasses import dataclass, field

from appliance.schema.faq import Entry
from ui.attachments import Asked, Attachment, joined
from ui.entries import EntryDraft


@dataclass(frozen=True)
class Draft:
    """A question as it was typed, with its files."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def whole(self) -> str:
        """The question as it is sent."""
        return joined(Asked(self.text, self.attachments))


@dataclass(frozen=True)
class FormDraft:
    """What stands in a form, and the stored entry that it changes, as it was then."""

    written: EntryDraft
    entry: Entry | None = None


@dataclass
class Drafts:
    """Those of all sessions; the new session that the server does not know yet is "".

    `by_form` are those of forms that went without being closed, by what they are about.
    """

    shown: str = ""
    by_session: dict[str, Draft] = field(default_factory=dict)
    by_form: dict[str, FormDraft] = field(default_factory=dict)

    def keep(self, session_id: str, draft: Draft) -> None:
        """Puts it in place of what was kept; an empty one is none."""
        if draft == Draft():
            self.by_session.pop(session_id, None)
        else:
            self.by_session[session_id] = draft

    def of(self, session_id: str) -> Draft:
        return self.by_session.get(session_id, Draft())

    def forget(self, session_id: str) -> None:
        self.by_session.pop(session_id, None)
