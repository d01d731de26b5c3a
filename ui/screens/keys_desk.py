"""The keys of people and services: who is let in, one more, one less."""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.content import Content

from appliance.schema.people import ApiKey, ApiKeyPost, NewApiKey
from ui.clock import Clock
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.key_form import KeyForm, KeyShown, revoking, role_word
from ui.texts import Texts
from ui.widgets.tables import cell


class KeysDesk(Desk[None]):
    """Every key without its secret, the oldest first."""

    AUTO_FOCUS = "#keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("a,ctrl+n", "create_key", "create_key"),
        key("x,delete", "revoke_key", "revoke_key"),
        key("ctrl+r", "refresh_list", "refresh"),
        key("escape,q", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, operating: Operating, clock: Clock) -> None:
        words = texts.keys
        columns = (words.name, words.role, words.person, words.created, words.until)
        super().__init__(texts, name="keys", title=words.title, columns=columns)
        self._operating = operating
        self._clock = clock
        self._keys_known: dict[str, ApiKey] = {}

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> ApiKey | None:
        return self._keys_known.get(self.table.pointed)

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        await self._load()
        words, count = self.texts.keys, len(self._keys_known)
        self.say(words.count.format(count=count) if count else words.none)

    async def _load(self) -> None:
        found = (await self._operating.keys()).items
        self._keys_known = {one.id: one for one in found}
        self.table.show([(one.id, self._cells(one)) for one in found])
        self._show_pointed()

    def _cells(self, one: ApiKey) -> tuple[Text, ...]:
        return (
            cell(one.name, 30),
            Text(role_word(self.texts, one.role)),
            cell(one.uid, 24),
            Text(self._clock.minute(one.created_at_ms), no_wrap=True),
            Text(self._until(one), no_wrap=True),
        )

    def _until(self, one: ApiKey) -> str:
        if not one.expires_at_ms:
            return self.texts.keys.never
        if self._has_expired(one):
            return self.texts.keys.expired
        return self._clock.minute(one.expires_at_ms)

    def _has_expired(self, one: ApiKey) -> bool:
        return 0 < one.expires_at_ms <= self._clock.now_ms()

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        one, words = self._pointed, self.texts.keys
        self.offer_keys()
        if one is None:
            self.show_text(Content())
            return
        may = {
            "admin": words.may_admin,
            "service": words.may_service,
            "person": words.may_person.format(uid=safe_line(one.uid, 63)),
        }[one.role]
        at, name = self._clock.minute(one.created_at_ms), safe_line(one.name, 100)
        about = words.about.format(name=name, may=may, at=at, id=one.id)
        if one.expires_at_ms:
            until = words.about_expired if self._has_expired(one) else words.about_until
            about += "\n" + until.format(at=self._clock.minute(one.expires_at_ms))
        self.show_text(Content(about))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self._pointed is not None if action == "revoke_key" else True

    # --- one more, one less -----------------------------------------------------------------

    def action_create_key(self) -> None:
        def create(post: ApiKeyPost | None) -> None:
            if post is not None:
                self.begin(partial(self._create, post))

        self.app.push_screen(KeyForm(self.texts), create)

    async def _create(self, post: ApiKeyPost) -> None:
        made: NewApiKey = await self._operating.create_key(post)
        self.app.push_screen(KeyShown(self.texts, made))
        await self._read()
        self.table.point_at(made.id)

    def action_revoke_key(self) -> None:
        one = self._pointed
        if one is None:
            return

        def revoke(agreed: bool | None) -> None:
            if agreed:
                self.begin(partial(self._revoke, one))

        self.app.push_screen(revoking(self.texts, one.name), revoke)

    async def _revoke(self, one: ApiKey) -> None:
        await self._operating.revoke_key(one.id)
        await self._load()
        self.say(self.texts.keys.revoked.format(name=safe_line(one.name, 100)))

    def action_close(self) -> None:
        self.dismiss(None)
