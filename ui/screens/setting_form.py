"""The form for one setting. What is written is checked by the server while one writes, so what is
wrong is seen before it is saved."""

from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.widgets import Input, TextArea

from appliance.errors import Conflict, Invalid, SluiceError
from appliance.schema.settings import Setting, SettingsPage
from ui.background import start
from ui.curating import EDITED_SINCE
from ui.drafts import Drafts, FormDraft
from ui.entries import EntryDraft
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.form import Form
from ui.setting_values import about, literal, shown, written
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField, Plain, TextField
from ui.wording import error_words

CHECK_DELAY_S: Final = 0.3


class SettingForm(Form[SettingsPage]):
    """The result is every setting as the file has it now."""

    BINDINGS: ClassVar[list[BindingType]] = [
        key("ctrl+s", "save_setting", "save_setting"),
        key("escape", "close", "close"),
    ]

    def __init__(
        self, texts: Texts, setting: Setting, version: str, *, operating: Operating, drafts: Drafts
    ) -> None:
        leaving = texts.settings.leaving
        super().__init__(texts, leaving=leaving, drafts=drafts, about=f"setting:{setting.key}")
        self._setting = setting
        self._version = version
        self._operating = operating
        self._timer_of_check: Timer | None = None
        is_long = setting.kind == "text" and not setting.choices and not setting.secret
        self._field: LineField | TextField = (
            TextField(id="setting-text") if is_long else LineField(id="setting-line")
        )
        self._field.border_title = texts.settings.value
        if isinstance(self._field, LineField) and setting.secret:
            self._field.placeholder = texts.settings.hidden_hint
        self._verdict = Plain(classes="form-note")
        self._before = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield Plain(safe_line(self._setting.key, 100), classes="dialog-title")
            yield Plain(about(self.texts, self._setting), classes="form-note")
            yield self._field
            yield self._verdict
            yield self.trouble
        yield KeyBar()

    def on_mount(self) -> None:
        self._field.set_text(written(self._setting))
        self._before = self._text
        if self.begun is not None:
            self._field.set_text(self.begun.written.answer)
        self._field.focus()

    @property
    def _text(self) -> str:
        return self._field.value if isinstance(self._field, LineField) else self._field.text

    @property
    def is_changed(self) -> bool:
        return self._text != self._before

    @property
    def draft(self) -> FormDraft:
        return FormDraft(EntryDraft(answer=self._text))

    # --- what the server says of it ---------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._check_soon()

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        self._check_soon()

    def _check_soon(self) -> None:
        if self._timer_of_check is not None:
            self._timer_of_check.stop()
        self._verdict.update("")
        self.trouble.display = False
        if self.is_changed:
            self._timer_of_check = self.set_timer(
                CHECK_DELAY_S, lambda: start(self, self._check, group="check", exclusive=True)
            )

    async def _check(self) -> None:
        text, words = self._text, self.texts.settings
        try:
            await self._change(text, is_rehearsal=True)
        except (Invalid, Conflict) as error:
            if text == self._text:
                self.complain(error_words(self.texts, error))
        except SluiceError:
            return  # it is asked again when it is saved
        else:
            if text == self._text:
                at_once = not self._setting.restart
                self._verdict.update(words.would_do_at_once if at_once else words.would_do)

    # --- saving -----------------------------------------------------------------------------

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_save_setting()

    def action_save_setting(self) -> None:
        if self._timer_of_check is not None:
            self._timer_of_check.stop()
        self.send(partial(self._change, self._text))

    async def _change(self, text: str, *, is_rehearsal: bool = False) -> SettingsPage:
        changes = {self._setting.key: literal(self._setting, text)}
        seen = "" if is_rehearsal else self._version
        return await self._operating.change_settings(changes, seen=seen, is_rehearsal=is_rehearsal)

    async def refused(self, error: SluiceError) -> None:
        self._verdict.update("")
        if error.reason == EDITED_SINCE:
            try:
                page = await self._operating.settings()
            except SluiceError as failed:
                error = failed
            else:
                self._version = page.version
                now = next((one for one in page.items if one.key == self._setting.key), None)
                value = shown(self.texts, now, now.value) if now is not None else ""
                self.complain(self.texts.settings.conflict.format(value=value))
                return
        await super().refused(error)
