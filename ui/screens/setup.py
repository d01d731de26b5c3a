"""The first start's questions, each a screen of its own; here language, FAQ and key.

A step shows what is so, carries out what is chosen, and says where the person goes (`Turned`).
Escape leaves a question as it is, so nobody has to answer any. What takes long, an import or
another model, goes on when the person does.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final, Literal

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from appliance.errors import SluiceError
from appliance.schema.faq import ImportReport
from appliance.schema.setup import SetupStatus, UiLanguage
from ui.background import start
from ui.client import Client
from ui.curating import Curating
from ui.faq_files import FaqFileError, read_faq_file
from ui.keys import key
from ui.paths import typed_path
from ui.safe_text import safe_line
from ui.screens.dialogs import AskPath
from ui.screens.frame import LinkedScreen, explained
from ui.setting_up import SettingUp
from ui.setup_wording import LANGUAGES, file_words
from ui.texts import Texts
from ui.widgets.plain import Plain

Step = Literal["language", "model", "faq", "key"]
STEPS: Final[tuple[Step, ...]] = ("language", "model", "faq", "key")


# Takes models out of a file, which blocks; returns the name of the chat model to use.
Bring = Callable[[Path], str]


@dataclass
class Turned(Message):
    """The person goes to this step; None is the end."""

    step: Step | None


@dataclass
class LanguageChosen(Message):
    """The app is to speak another language."""

    language: UiLanguage


@dataclass(frozen=True)
class Premises:
    """What every step needs. `before` is what the server said when the questions began; `bring`
    is there where the server runs on this machine."""

    texts: Texts
    client: Client
    calls: SettingUp
    before: SetupStatus
    bring: Bring | None = None


class SetupStep(LinkedScreen):
    """One question, below a line that says which of them it is."""

    STEP: ClassVar[Step]
    BINDINGS: ClassVar[list[BindingType]] = [
        key("escape", "skip", "skip_step"),
        key("left,ctrl+b", "back", "step_back"),
    ]

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises.texts, premises.client.base_url)
        self.premises = premises
        self.words = premises.texts.setup
        self._note = Plain(id="setup-note")

    def compose_head(self) -> ComposeResult:
        yield Plain(self._trail(), id="setup-trail")

    def compose_body(self) -> ComposeResult:
        with Vertical(id="setup"):
            yield from self.compose_question()
            yield self._note

    def compose_question(self) -> ComposeResult:
        yield from ()

    def _trail(self) -> Content:
        words = self.words
        names = (words.step_language, words.step_model, words.step_faq, words.step_key)
        parts: list[tuple[str, str]] = [(f" {words.title} ", "bold $text-primary")]
        for at, name in enumerate(names, 1):
            is_here = STEPS[at - 1] == self.STEP
            parts.append((f" {'▸' if is_here else ' '}{at} {name} ", "bold" if is_here else "dim"))
        return Content.assemble(*parts)

    def say(self, words: str) -> None:
        """Shows lines below the question."""
        self._note.update(words)

    def go_on(self) -> None:
        at = STEPS.index(self.STEP) + 1
        self.post_message(Turned(STEPS[at] if at < len(STEPS) else None))

    def action_skip(self) -> None:
        self.go_on()

    def action_back(self) -> None:
        self.post_message(Turned(STEPS[STEPS.index(self.STEP) - 1]))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "back" or STEPS[0] != self.STEP


class LanguageStep(SetupStep):
    """Which language menus and messages have."""

    STEP = "language"
    AUTO_FOCUS = "#setup-options"

    def __init__(self, premises: Premises) -> None:
        super().__init__(premises)
        self._options = Options([name for _, name in LANGUAGES])

    def compose_question(self) -> ComposeResult:
        yield Plain(self.words.language_title, classes="dialog-title")
        yield Plain(self.words.language_body, classes="setup-body")
        yield self._options

    def on_mount(self) -> None:
        here = [tag for tag, _ in LANGUAGES].index("zh" if self.texts.language == "zh" else "en")
        self._options.highlighted = here

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.post_message(LanguageChosen(LANGUAGES[event.option_index][0]))


class FaqStep(SetupStep):
    """What it should know: the demo, a file, or nothing yet."""

    STEP = "faq"
    AUTO_FOCUS = "#setup-options"
    _is_busy = False
    _named = ""

    def compose_question(self) -> ComposeResult:
        words, count = self.words, self.premises.before.entries
        body = words.faq_body_filled.format(count=count) if count else words.faq_body
        yield Plain(words.faq_title, classes="dialog-title")
        yield Plain(body, classes="setup-body")
        keep = words.faq_keep if count else words.faq_empty
        yield Options([words.faq_demo, words.faq_import, keep])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self._is_busy:
            return
        if event.option_index == 0:
            self._take(self.premises.client.load_demo)
        elif event.option_index == 1:
            self._ask_for_file()
        else:
            self.go_on()

    def _ask_for_file(self) -> None:
        words = self.words
        dialog = AskPath(
            self.texts,
            title=words.faq_import_title,
            label=words.faq_import_label,
            text=self._named,
        )

        def named(name: str | None) -> None:
            if name:
                self._named = name
                self._take(partial(self._import, name))

        self.app.push_screen(dialog, named)

    async def _import(self, name: str) -> ImportReport:
        try:
            file = await asyncio.to_thread(read_faq_file, typed_path(name))
        except FaqFileError as error:
            self.say(file_words(self.texts, error, name))
            raise
        return await Curating(self.premises.client).take_file(file)

    def _take(self, load: Callable[[], Awaitable[ImportReport]]) -> None:
        """Work of the app: it is not given up when the person goes on meanwhile."""
        self._is_busy = True
        self.say(self.words.faq_importing)
        start(self.app, partial(self._taken, load), group="setup-faq")

    async def _taken(self, load: Callable[[], Awaitable[ImportReport]]) -> None:
        try:
            report = await load()
        except FaqFileError:
            return
        except SluiceError as error:
            words = explained(self, error)
            if self.is_current:
                self.say(words)
            else:
                self.app.notify(words, severity="error", markup=False)
            return
        finally:
            self._is_busy = False
        self.app.notify(
            self.words.faq_imported.format(
                created=report.created, updated=report.updated, unchanged=report.unchanged
            ),
            markup=False,
        )
        if self.is_current:
            self.go_on()


class KeyStep(SetupStep):
    """The operator's key, shown to whoever sets up first and never again."""

    STEP = "key"
    BINDINGS: ClassVar[list[BindingType]] = [
        key("enter", "finish", "finish"),
        key("c", "copy_key", "copy_key"),
        key("escape", "skip", "skip_step", show=False),
    ]

    def compose_question(self) -> ComposeResult:
        words, before = self.words, self.premises.before
        yield Plain(words.key_title, classes="dialog-title")
        if before.done:
            yield Plain(words.key_shown_before, classes="setup-body")
        else:
            yield Plain(words.key_body, classes="setup-body")
            yield Plain(safe_line(self.premises.client.key, 200), id="setup-key")
        yield Plain(words.key_file.format(path=safe_line(before.key_file, 300)))
        yield Plain(words.key_next, classes="setup-body")

    def action_finish(self) -> None:
        self.go_on()

    def action_copy_key(self) -> None:
        self.app.copy_to_clipboard(self.premises.client.key)
        self.say(self.words.key_copied)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "copy_key":
            return not self.premises.before.done
        return super().check_action(action, parameters)


class Options(OptionList):
    """A few lines to choose from; the footer tells the key."""

    BINDINGS: ClassVar[list[BindingType]] = [key("enter", "select", "choose")]

    def __init__(self, lines: list[str]) -> None:
        super().__init__(
            *(Option(Content(line)) for line in lines), id="setup-options", markup=False
        )
