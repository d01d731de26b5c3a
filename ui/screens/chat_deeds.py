"""What one can do with a turn of a conversation: copy, ask again, follow its sources, rate, branch.

The chat screen hands over the turn a person points at and lends its hands; calls run as the
screen's work, and their failures are told as the screen's are.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from appliance.schema.curation import Thumb
from appliance.schema.fields import MAX_TITLE_CHARS
from ui.attachments import split
from ui.conversations import Conversations
from ui.drafts import Draft
from ui.safe_text import safe_line, safe_text
from ui.screens.chat_errands import ChatErrands
from ui.screens.frame import SluiceScreen
from ui.turns import LiveTurn
from ui.widgets.conversation_view import Deed
from ui.wording import session_title


@dataclass(frozen=True)
class Hands:
    """What the screen does for a deed."""

    ask: Callable[[Draft], None]
    put_back: Callable[[str], None]
    go: Callable[[str], Awaitable[None]]  # to a session


class TurnDeeds:
    """Deeds on turns of one chat screen."""

    def __init__(
        self,
        screen: SluiceScreen,
        conversations: Conversations,
        errands: ChatErrands,
        hands: Hands,
    ) -> None:
        self._screen = screen
        self._words = screen.texts.chat
        self._conversations = conversations
        self._errands = errands
        self._hands = hands

    def do(self, deed: Deed, session_id: str, turn: LiveTurn) -> None:
        match deed:
            case "copy_answer":
                self._copy(turn.answer)
            case "copy_question":
                self._copy(turn.question)
            case "retry":
                asked = split(turn.question)
                self._hands.ask(Draft(asked.question, asked.attachments))
            case "edit":
                self._hands.put_back(turn.question)
            case "sources":
                self._errands.pick_source(turn, self._ask_next)
            case "next":
                self._errands.pick_next(turn, self._ask_next)
            case "thumb_up":
                self._rate(session_id, turn, "up")
            case "thumb_down":
                self._rate(session_id, turn, "down")
            case "branch":
                self._branch(session_id, turn)

    def _ask_next(self, question: str) -> None:
        self._hands.ask(Draft(question))

    def _copy(self, text: str) -> None:
        clean = safe_text(text)
        if clean:
            self._screen.app.copy_to_clipboard(clean)
        said = self._words.copied.format(count=len(clean))
        self._screen.notify(said if clean else self._words.nothing_to_copy, markup=False)

    def _rate(self, session_id: str, turn: LiveTurn, thumb: Thumb) -> None:
        if turn.has_answer:
            work = partial(self._conversations.rate, session_id, turn.id, thumb)
            self._screen.attempt(work, group="rate", note=self._words.thumb_failed)
        else:
            self._screen.notify(self._words.nothing_to_rate, severity="warning", markup=False)

    def _branch(self, session_id: str, turn: LiveTurn) -> None:
        if turn.is_open:
            self._screen.notify(self._words.branch_too_soon, severity="warning", markup=False)
        else:
            work = partial(self._make_branch, session_id, turn)
            self._screen.attempt(
                work, group="branch", exclusive=True, note=self._words.branch_failed
            )

    async def _make_branch(self, session_id: str, turn: LiveTurn) -> None:
        branch = await self._conversations.branch(session_id, turn.id, self._title(session_id))
        await self._hands.go(branch)
        self._screen.notify(self._words.branched, markup=False)

    def _title(self, session_id: str) -> str:
        session = self._conversations.session(session_id)
        if session is None:
            return ""
        first = self._conversations.first_question(session_id)
        title = session_title(self._screen.texts, session, first)
        mark = self._words.branch_title.format(title="")
        if title.endswith(mark):
            return title
        return self._words.branch_title.format(title=safe_line(title, MAX_TITLE_CHARS - len(mark)))
