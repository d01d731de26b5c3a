"""Making a key: what it is for, and its secret, which is seen once."""

import re
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, Select

from appliance.schema.fields import UID_PATTERN
from appliance.schema.people import MAX_KEY_DAYS, ApiKeyPost, NewApiKey, Role
from ui.keys import key
from ui.safe_text import safe_line
from ui.screens.dialogs import Confirm, Question
from ui.screens.frame import Dialog
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain

MAX_NAME_CHARS: Final = 100
MAX_UID_CHARS: Final = 63
MAX_DAYS_CHARS: Final = 5
ROLES: Final[tuple[Role, ...]] = ("person", "service", "admin")


def role_word(texts: Texts, role: Role) -> str:
    words = texts.keys
    return {
        "admin": words.role_admin,
        "service": words.role_service,
        "person": words.role_person,
    }[role]


class KeyForm(Dialog[ApiKeyPost | None]):
    """The result is what is to be made, None when the person gave up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+s", "create", "create"),
        key("escape", "close", "close"),
    ]

    def __init__(self, texts: Texts) -> None:
        super().__init__(texts)
        words = texts.keys
        self._label = LineField(id="key-name", max_length=MAX_NAME_CHARS)
        self._label.border_title = words.name
        self._role: Select[Role] = Select(
            [(Text(role_word(texts, role)), role) for role in ROLES],
            allow_blank=False,
            value=ROLES[0],
            id="key-role",
        )
        self._uid = LineField(
            id="key-uid", max_length=MAX_UID_CHARS, placeholder=words.uid_unneeded
        )
        self._uid.border_title = words.person
        self._days = LineField(
            id="key-days", max_length=MAX_DAYS_CHARS, placeholder=words.days_unneeded
        )
        self._days.border_title = words.days
        self._trouble = Plain(id="trouble")

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Plain(self.texts.keys.new_title, classes="dialog-title")
            yield self._label
            yield self._role
            yield self._uid
            yield self._days
            yield self._trouble
        yield KeyBar()

    @property
    def _chosen(self) -> Role:
        return next(role for role in ROLES if role == self._role.value)

    def on_select_changed(self, event: Select.Changed) -> None:
        event.stop()
        self._uid.disabled = self._chosen != "person"

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_create()

    def action_create(self) -> None:
        words, name, role = self.texts.keys, self._label.value.strip(), self._chosen
        uid = self._uid.value.strip() if role == "person" else None
        days = self._days.value.strip()
        if not name:
            self._trouble.update(words.name_missing)
        elif uid is not None and not re.fullmatch(UID_PATTERN, uid):
            self._trouble.update(words.uid_missing)
        elif days and not (days.isascii() and days.isdigit() and 1 <= int(days) <= MAX_KEY_DAYS):
            self._trouble.update(words.days_wrong.format(most=MAX_KEY_DAYS))
        else:
            lasting = int(days) if days else None
            self.dismiss(ApiKeyPost(role=role, name=name, uid=uid, days=lasting))

    def action_close(self) -> None:
        self.dismiss(None)


class KeyShown(Dialog[None]):
    """The secret of a key that was just made. Only Escape closes it: it does not come again."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("c", "copy_secret", "copy_key"),
        key("escape", "close", "close"),
    ]

    def __init__(self, texts: Texts, made: NewApiKey) -> None:
        super().__init__(texts)
        self._made = made
        self._note = Plain(classes="form-note")

    def compose(self) -> ComposeResult:
        words = self.texts.keys
        with Vertical(classes="dialog -wide"):
            name = safe_line(self._made.name, MAX_NAME_CHARS)
            yield Plain(words.made_title.format(name=name), classes="dialog-title")
            yield Plain(words.made_body, classes="dialog-body")
            yield Plain(safe_line(self._made.key, 200), classes="secret")
            yield self._note
        yield KeyBar()

    def action_copy_secret(self) -> None:
        self.app.copy_to_clipboard(self._made.key)
        self._note.update(self.texts.keys.copied)

    def action_close(self) -> None:
        self.dismiss(None)


def revoking(texts: Texts, name: str) -> Confirm:
    """Asks whether a key is to be revoked."""
    words = texts.keys
    question = Question(
        words.revoke_title,
        words.revoke_body.format(name=safe_line(name, MAX_NAME_CHARS)),
        yes=words.revoke_yes,
        no=texts.cancel,
    )
    return Confirm(texts, question)
