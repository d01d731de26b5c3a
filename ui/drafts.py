"""What a person has written in the chat and not sent, and where; it outlives the screen."""

from dataclasses import dataclass, field

from ui.attachments import Asked, Attachment, joined


@dataclass(frozen=True)
class Draft:
    """A question as it was typed, with its files."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    @property
    def whole(self) -> str:
        """The question as it is sent."""
        return joined(Asked(self.text, self.attachments))


@dataclass
class Drafts:
    """Those of all sessions; the new session that the server does not know yet is ""."""

    shown: str = ""
    by_session: dict[str, Draft] = field(default_factory=dict)

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
