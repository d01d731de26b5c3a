"""Who asks: waiting and running requests by person, and one person's tags, profile and limits."""

import re
from functools import partial
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input

from appliance.errors import NotFound, SluiceError
from appliance.schema.fields import DEFAULT_UID, UID_PATTERN
from appliance.schema.people import MAX_TAGS, User
from appliance.schema.status import Quota
from ui.client import Client
from ui.clock import Clock
from ui.drafts import Drafts
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.dialogs import AskLine
from ui.screens.keys_desk import KeysDesk
from ui.screens.messages_desk import MessagesDesk
from ui.screens.polled import PolledScreen
from ui.texts import Texts
from ui.widgets.plain import LineField, Plain
from ui.widgets.tables import RecordTable, cell, number
from ui.wording import error_words, limit_words, priority_words, tag_words, tier_words

SHOWN_MAX: Final = 200
TAG_CHARS: Final = 64


class PeopleScreen(PolledScreen):
    """A list of people, and beside it the one pointed at."""

    PLACE = "people"
    AUTO_FOCUS = "#people"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("t", "edit_tags", "edit_tags"),
        key("m", "show_messages", "show_messages"),
        key("k", "show_keys", "show_keys"),
        key("slash,ctrl+f", "look_up", "look_up"),
        key("escape", "leave_search", "leave_search", show=False),
        key("r", "refresh_status", "refresh"),
    ]

    def __init__(
        self,
        texts: Texts,
        address: str,
        *,
        client: Client,
        operating: Operating,
        clock: Clock,
        drafts: Drafts,
    ) -> None:
        super().__init__(texts, address)
        self._client = client
        self._operating = operating
        self._clock = clock
        self._drafts = drafts
        self._looked_up: dict[str, None] = {DEFAULT_UID: None}
        self._user: User | None = None
        self._read_uid = ""  # of the person who is shown, or will be in a moment
        words = texts.operate
        self._field = LineField(
            id="people-uid", placeholder=words.people_look_up, compact=True, max_length=63
        )
        self._note = Plain(words.people_hint, classes="place-note")
        titles = (words.people_uid, words.people_waiting, words.people_running)
        self._table = RecordTable("people", titles, pointing=True)
        self._detail = Plain(id="person-text")

    def compose_body(self) -> ComposeResult:
        yield self._field
        yield self._note
        with Horizontal(id="people-body"):
            yield self._table
            with VerticalScroll(id="person"):
                yield self._detail

    async def read(self) -> None:
        queue = (await self._client.status()).queue
        counts = {one.uid: (one.waiting, one.running) for one in queue.users}
        uids = [*counts, *(uid for uid in self._looked_up if uid not in counts)]
        rows: list[tuple[str, tuple[Text, ...]]] = []
        for uid in uids[:SHOWN_MAX]:
            waiting, running = counts.get(uid, (0, 0))
            rows.append((uid, (cell(uid, 40), number(waiting), number(running))))
        self._table.show(rows)
        self._note.update(self.texts.operate.people_hint)
        await self._read_person()

    def say_stale(self, words: str) -> None:
        self._note.update(words)

    async def _read_person(self) -> None:
        uid = self._table.pointed
        if not uid:
            return
        self._read_uid = uid
        was_known = self._user is not None
        try:
            self._user = await self._operating.user(uid)
            self._detail.update(self._words(self._user, await self._operating.quota(uid)))
        except NotFound:
            self._user = None
            self._detail.update(self.texts.operate.people_unknown.format(uid=safe_line(uid, 63)))
        except SluiceError as error:
            self._user = None
            self._detail.update(error_words(self.texts, error))
        if was_known != (self._user is not None):
            self.refresh_bindings()  # the footer is made anew each time, which can be seen

    def _words(self, user: User, quota: Quota) -> str:
        words = self.texts.operate
        lines = [
            words.people_tier.format(
                uid=safe_line(user.id, 63),
                tier=tier_words(self.texts, quota.tier),
                priority=priority_words(self.texts, quota.priority),
                weight=f"{quota.weight:g}",
            )
        ]
        sources = {one.name: one.source for one in user.details}
        tags = ", ".join(tag_words(self.texts, tag, sources.get(tag, "")) for tag in user.tags)
        lines += ["", words.people_tags.format(tags=tags) if tags else words.people_no_tags]
        lines += ["", words.people_attributes if user.attributes else words.people_no_attributes]
        lines += [
            f"  {safe_line(name, 64)}: {safe_line(value, 200)}"
            for name, value in sorted(user.attributes.items())
        ]
        limits = [limit_words(self.texts, limit) for limit in quota.limits]
        if quota.concurrency:
            limits.append(words.people_concurrency.format(count=quota.concurrency))
        lines += ["", words.people_limits if limits else words.people_no_limits]
        return "\n".join([*lines, *(f"  {limit}" for limit in limits)])

    def on_data_table_row_highlighted(self) -> None:
        """Also told when the table is filled again with the cursor where it was."""
        if self._table.pointed == self._read_uid:
            return
        self.attempt(self._read_person, group="person", exclusive=True)

    # --- looking up and tagging ---------------------------------------------------------------

    def action_look_up(self) -> None:
        self._field.focus()

    def action_leave_search(self) -> None:
        self._table.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        uid = event.value.strip()
        if not re.fullmatch(UID_PATTERN, uid):
            self.notify(self.texts.operate.people_bad_uid, severity="warning", markup=False)
            return
        self._looked_up = dict.fromkeys([*list(self._looked_up)[-SHOWN_MAX:], uid])
        self._field.value = ""
        self._table.focus()
        self.attempt(partial(self._look_up, uid), group="look_up", exclusive=True)

    async def _look_up(self, uid: str) -> None:
        await self.read()
        self._table.point_at(uid)

    def action_show_keys(self) -> None:
        desk = KeysDesk(self.texts, operating=self._operating, clock=self._clock)
        self.app.push_screen(desk)

    def action_show_messages(self) -> None:
        if uid := self._table.pointed:
            desk = MessagesDesk(
                self.texts,
                uid,
                operating=self._operating,
                clock=self._clock,
                drafts=self._drafts,
            )
            self.app.push_screen(desk)

    def action_edit_tags(self) -> None:
        user = self._user
        if user is None:
            return

        def tag(line: str | None) -> None:
            if line is not None:
                self.attempt(partial(self._tag, user, line), group="edit")

        words = self.texts.operate
        dialog = AskLine(
            self.texts,
            title=safe_line(user.id, 63),
            label=words.people_tags_label,
            text=", ".join(user.tags),
            max_chars=TAG_CHARS * MAX_TAGS,
        )
        self.app.push_screen(dialog, tag)

    async def _tag(self, user: User, line: str) -> None:
        """Only what the person changed is sent: the others stay whose they are."""
        parts = (part.strip() for part in line.replace("，", ",").split(","))
        tags = tuple(dict.fromkeys(part for part in parts if part))
        added = [tag for tag in tags if tag not in user.tags]
        if any(len(tag) > TAG_CHARS or "/" in tag for tag in added):
            words = self.texts.operate.people_bad_tag.format(limit=TAG_CHARS)
            self.notify(words, severity="warning", markup=False)
            return
        for tag in added:
            await self._operating.tag(user.id, tag)
        for tag in user.tags:
            if tag not in tags:
                await self._operating.untag(user.id, tag)
        if set(tags) != set(user.tags):
            self.notify(self.texts.operate.people_tags_saved, markup=False)
        await self._read_person()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "show_messages":
            return bool(self._table.pointed)
        return self._user is not None if action == "edit_tags" else True
