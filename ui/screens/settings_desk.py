"""The settings file as a table: every key with its value, default and explanation."""

from functools import partial
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from appliance.errors import Conflict
from appliance.schema.settings import Setting, SettingsPage
from ui.curating import EDITED_SINCE
from ui.drafts import Drafts
from ui.keys import key
from ui.operating import Operating
from ui.safe_text import safe_line
from ui.screens.desk import Desk
from ui.screens.dialogs import Confirm, Question
from ui.screens.setting_form import SettingForm
from ui.setting_values import about, found_by, shown
from ui.texts import Texts
from ui.widgets.key_bar import KeyBar
from ui.widgets.plain import LineField
from ui.widgets.tables import cell


class SettingsDesk(Desk[None]):
    """Reads and changes them; nothing is restarted from here."""

    AUTO_FOCUS = "#settings"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter,e", "edit_setting", "edit_setting"),
        key("x,delete", "reset_setting", "reset_setting"),
        key("slash,ctrl+f", "filter", "filter"),
        key("ctrl+r", "refresh_list", "refresh"),
        key("escape,q", "close", "close"),
    ]

    def __init__(self, texts: Texts, *, operating: Operating, drafts: Drafts) -> None:
        words = texts.settings
        columns = ("", words.setting, words.value, words.default)
        title = words.title.format(file="").rstrip()
        super().__init__(texts, name="settings", title=title, columns=columns)
        self._operating = operating
        self._drafts = drafts
        self._page = SettingsPage(file="", version="", items=(), waiting=())
        self._found: dict[str, Setting] = {}
        self._field = LineField(id="settings-filter", placeholder=words.filter, compact=True)

    def compose(self) -> ComposeResult:
        with Vertical(classes="form"):
            yield self.title_line
            yield self._field
            yield self.note
            yield self.table
            yield self.scroll
        yield KeyBar()

    def on_mount(self) -> None:
        self.action_refresh_list()

    @property
    def _pointed(self) -> Setting | None:
        return self._found.get(self.table.pointed)

    # --- reading ----------------------------------------------------------------------------

    def action_refresh_list(self) -> None:
        self.begin(self._read)

    async def _read(self) -> None:
        self._take(await self._operating.settings())
        self._say_count()

    def _take(self, page: SettingsPage) -> None:
        self._page = page
        file = safe_line(page.file, 300)
        self.title_line.update(self.texts.settings.title.format(file=file))
        self._show()

    def _show(self) -> None:
        wanted = self._field.value
        self._found = {
            one.key: one for one in self._page.items if found_by(self.texts, one, wanted)
        }
        self.table.show([(one.key, self._cells(one)) for one in self._found.values()])
        self._show_pointed()

    def _say_count(self) -> None:
        words, page = self.texts.settings, self._page
        if self._field.value.strip():
            self.say(words.found.format(count=len(self._found)))
            return
        is_set = sum(one.is_set for one in page.items)
        count, waiting = len(page.items), len(page.waiting)
        self.say(words.count.format(count=count, set=is_set, waiting=waiting))

    def _cells(self, one: Setting) -> tuple[Text, ...]:
        mark = "↻" if one.key in self._page.waiting else "•" if one.is_set else ""
        value = cell(shown(self.texts, one, one.value), 24)
        value.stylize("bold" if one.is_set else "")
        return (Text(mark), cell(one.key, 40), value, cell(one.default, 60))

    def on_data_table_row_highlighted(self) -> None:
        self._show_pointed()

    def _show_pointed(self) -> None:
        one = self._pointed
        self.show_text(Content(about(self.texts, one) if one is not None else ""))
        self.offer_keys()

    # --- the filter -------------------------------------------------------------------------

    def action_filter(self) -> None:
        self._field.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._show()
        self._say_count()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.table.focus()

    # --- changing ---------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        one = self._pointed
        if action == "edit_setting":
            return one is not None and not self._field.has_focus
        if action == "reset_setting":
            return one is not None and one.is_set
        return True

    def on_data_table_row_selected(self) -> None:
        self.action_edit_setting()

    def action_edit_setting(self) -> None:
        one = self._pointed
        if one is None:
            return
        form = SettingForm(
            self.texts, one, self._page.version, operating=self._operating, drafts=self._drafts
        )
        self.app.push_screen(form, partial(self._saved, one))

    def _saved(self, one: Setting, page: SettingsPage | None) -> None:
        if page is not None:
            words = self.texts.settings
            self._take(page)
            self.say((words.saved if one.restart else words.saved_at_once).format(key=one.key))

    def action_reset_setting(self) -> None:
        one = self._pointed
        if one is None:
            return
        words = self.texts.settings
        value = safe_line(one.default, 200) or words.no_value
        question = Question(
            words.reset_title,
            words.reset_body.format(key=one.key, value=value),
            yes=words.reset_yes,
            no=self.texts.cancel,
            is_dangerous=False,
        )

        def reset(agreed: bool | None) -> None:
            if agreed:
                self.begin(partial(self._reset, one))

        self.app.push_screen(Confirm(self.texts, question), reset)

    async def _reset(self, one: Setting) -> None:
        try:
            page = await self._operating.change_settings({one.key: None}, seen=self._page.version)
        except Conflict as error:
            if error.reason != EDITED_SINCE:
                raise
            self._take(await self._operating.settings())
            self.say(self.texts.settings.changed_since, is_trouble=True)
            return
        self._saved(one, page)

    def action_close(self) -> None:
        """First out of the filter, then away."""
        if self._field.value or self._field.has_focus:
            self._field.value = ""
            self.table.focus()
        else:
            self.dismiss(None)
