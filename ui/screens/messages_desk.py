"""Messages to one person that wait for their time: what is due when, one more, one less."""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content

from appliance.schema.inbox import InboxAccepted, ScheduledMessage
from ui.clock import Clock
from ui.drafts import Drafts
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.dialogs import Confirm, Question
from ui.screens.message_form import MessageForm
from ui.texts import Texts
from ui.widgets.tables import cell
from ui.wording import block, message_line


class MessagesDesk(Desk[None]):
    """The one that is due first on top."""

    AUTO_FOCUS = "#messages"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("a,ctrl+n", "write_message", "write_message"),
        key("x,delete", "withdraw_message", "withdraw_message"),
        key("ctrl+r", "refresh_list", "refresh"),
        key("escape,q", "close", "close"),
    ]

    def __init__(
        self, texts: Texts, uid: str, *, operating: Operating, clock: Clock, drafts: Drafts
    ) -> None:
        words, self._shown_uid = texts.messages, safe_line(uid, 63)
        title, columns = words.title, (words.due, words.sender, words.message)
        super().__init__(
            texts, name="messages", title=title.format(uid=self._shown_uid), columns=columns
        )
        self._uid = uid
        self._operating = operating
        self._clock = clock
        self._drafts = drafts
        self._waiting: dict[str, ScheduledMessage] = {}

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> ScheduledMessage | None:
        return self._waiting.get(self.table.pointed)

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        await self._load()
        words, count = self.texts.messages, len(self._waiting)
        said = words.count if count else words.none
        self.say(said.format(uid=self._shown_uid, count=count))

    async def _load(self) -> None:
        found = (await self._operating.scheduled(self._uid)).items
        self._waiting = {one.id: one for one in found}
        self.table.show([(one.id, self._cells(one)) for one in found])
        self._show_pointed()

    def _cells(self, one: ScheduledMessage) -> tuple[Text, ...]:
        return (
            Text(self._clock.minute(one.deliver_at_ms), no_wrap=True),
            cell(one.sender, 20),
            Text(message_line(self.texts, one), no_wrap=True),
        )

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        one, words = self._pointed, self.texts.messages
        self.offer_keys()
        if one is None:
            self.show_text(Content())
            return
        about = words.about.format(
            due=self._clock.minute(one.deliver_at_ms),
            written=self._clock.minute(one.sent_at_ms),
            sender=safe_line(one.sender, 60),
        )
        body = block(one.text) if one.kind == "message" else message_line(self.texts, one)
        parts = (safe_line(one.title, 200), body, about, words.urgent if one.urgent else "")
        self.show_text(Content("\n\n".join(part for part in parts if part)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._pointed is not None if action == "withdraw_message" else True

    # --- one more, one less -----------------------------------------------------------------

    def action_write_message(self) -> None:
        form = MessageForm(
            self.texts,
            self._uid,
            operating=self._operating,
            clock=self._clock,
            drafts=self._drafts,
        )

        def sent(accepted: InboxAccepted | None) -> None:
            if accepted is not None:
                self.begin(partial(self._sent, accepted))

        self.app.push_screen(form, sent)

    async def _sent(self, accepted: InboxAccepted) -> None:
        await self._load()
        self.table.point_at(accepted.id)
        words = self.texts.messages
        said = {
            "": words.delivered,
            "asked": words.scheduled,
            "quiet_hours": words.scheduled_quiet,
        }[accepted.reason]
        due = self._clock.minute(accepted.deliver_at_ms)
        self.say(said.format(uid=self._shown_uid, due=due))

    def action_withdraw_message(self) -> None:
        one, words = self._pointed, self.texts.messages
        if one is None:
            return
        question = Question(
            words.withdraw_title,
            words.withdraw_body,
            yes=words.withdraw_yes,
            no=self.texts.cancel,
        )

        def withdraw(agreed: bool | None) -> None:
            if agreed:
                self.begin(partial(self._withdraw, one))

        self.app.push_screen(Confirm(self.texts, question), withdraw)

    async def _withdraw(self, one: ScheduledMessage) -> None:
        await self._operating.withdraw_message(self._uid, one.id)
        await self._load()
        self.say(self.texts.messages.withdrawn)

    def action_close(self) -> None:
        self.dismiss(None)
