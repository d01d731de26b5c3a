"""Both languages say the same things, and nothing else in the UI speaks for itself."""

import ast
import inspect
import re
import string
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.dom import DOMNode

from ui.app import SluiceApp
from ui.keys import in_words, ours
from ui.screens.chat import ChatScreen
from ui.screens.dialogs import AskLine, Confirm, PickOne
from ui.screens.entry_editor import EntryEditor
from ui.screens.entry_reader import EntryReader
from ui.screens.faq import FaqScreen
from ui.screens.faq_checks import ChecksScreen
from ui.screens.faq_deleted import DeletedScreen
from ui.screens.faq_history import FaqHistoryScreen
from ui.screens.faq_import import ImportScreen
from ui.screens.faq_misses import MissesScreen
from ui.screens.faq_test import FaqTestScreen
from ui.screens.find import FindScreen
from ui.screens.help import HelpScreen
from ui.screens.inbox import InboxScreen
from ui.screens.key_form import KeyForm, KeyShown
from ui.screens.keys_desk import KeysDesk
from ui.screens.logs import LogsScreen
from ui.screens.message_form import MessageForm
from ui.screens.messages_desk import MessagesDesk
from ui.screens.miss_answer import MissAnswerForm
from ui.screens.miss_editor import MissEditor
from ui.screens.models import ModelsScreen
from ui.screens.palette import Palette
from ui.screens.people import PeopleScreen
from ui.screens.reader import Reader
from ui.screens.setting_form import SettingForm
from ui.screens.settings_desk import SettingsDesk
from ui.screens.setup import KeyStep, Options, SetupStep
from ui.screens.setup_model import ModelStep
from ui.screens.status import StatusScreen
from ui.texts import GROUPS, Texts, language_of, texts_for
from ui.texts_en import ENGLISH
from ui.texts_zh import CHINESE
from ui.widgets.conversation_view import ConversationView
from ui.widgets.faq_table import FaqTable
from ui.widgets.path_field import PathField
from ui.widgets.prompt import Prompt
from ui.widgets.session_list import SessionList

pytestmark = pytest.mark.unit

NAMES = [field.name for field in fields(Texts) if field.name not in GROUPS] + [
    f"{group}.{field.name}" for group in GROUPS for field in fields(getattr(ENGLISH, group))
]
ROOT = Path(inspect.getfile(Texts)).parent
SPEAKING = sorted([*ROOT.glob("screens/*.py"), *ROOT.glob("widgets/*.py"), ROOT / "app.py"])
BOUND: list[type[DOMNode]] = [
    SluiceApp,
    ChatScreen,
    FaqScreen,
    StatusScreen,
    ModelsScreen,
    PeopleScreen,
    KeysDesk,
    MessagesDesk,
    MessageForm,
    SettingsDesk,
    SettingForm,
    KeyForm,
    PathField,
    KeyShown,
    LogsScreen,
    Palette,
    InboxScreen,
    Reader,
    HelpScreen,
    EntryEditor,
    Confirm,
    AskLine,
    PickOne,
    EntryReader,
    FaqHistoryScreen,
    FaqTestScreen,
    ChecksScreen,
    DeletedScreen,
    ImportScreen,
    MissesScreen,
    MissEditor,
    MissAnswerForm,
    FindScreen,
    SetupStep,
    ModelStep,
    KeyStep,
    Options,
    ConversationView,
    Prompt,
    SessionList,
    FaqTable,
]


def text_of(texts: Texts, name: str) -> str:
    return str(attrgetter(name)(texts))


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_text_with_the_same_places(name: str) -> None:
    english, chinese = text_of(ENGLISH, name), text_of(CHINESE, name)
    assert english.strip()
    assert chinese.strip()
    assert places(english) == places(chinese)


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_no_text_could_be_taken_for_markup(texts: Texts) -> None:
    assert [name for name in NAMES if "[" in text_of(texts, name)] == []


def test_chinese_texts_are_chinese() -> None:
    same = {"language", "error_with_reason", "error_alone", "setup.model_rate"} | {
        name for name in NAMES if name.startswith("faq_language_")
    }
    without = [
        name
        for name in NAMES
        if name not in same and not re.search(r"[\u4e00-\u9fff]", text_of(CHINESE, name))
    ]
    assert without == []


def test_every_text_is_used() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in ROOT.rglob("*.py")
        if not path.name.startswith("texts")
    )
    bound = {name for kind in BOUND for binding in ours(kind.BINDINGS) for name in named(binding)}
    unused = [
        name
        for name in NAMES
        if name.rsplit(".")[-1] not in bound
        and not re.search(rf"(texts|words)\.{name.rsplit('.')[-1]}\b", code)
        and not re.search(rf"texts\.{name}\b", code)
    ]
    assert unused == []


def named(binding: Binding) -> tuple[str, str]:
    return binding.description, binding.tooltip


@pytest.mark.parametrize("kind", BOUND, ids=lambda kind: kind.__name__)
def test_every_binding_has_a_name_and_a_tooltip_in_both_languages(kind: type) -> None:
    own = vars(kind)["BINDINGS"]
    assert len(ours(own)) == len({binding.action for binding in own})
    for binding in ours(own):
        for texts in (ENGLISH, CHINESE):
            worded = in_words(texts, binding)
            assert worded.description == texts.word(binding.description)
            assert worded.tooltip == texts.word(binding.tooltip)


def spoken(tree: ast.Module) -> list[str]:
    """String constants that read like something said to a person: words, or Chinese."""
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                silent.add(id(first.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logger."):
            silent.update(id(argument) for argument in node.args)
    constants = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
    )
    return [text for text in constants if re.search(r"[A-Za-z]{2} [A-Za-z]|[\u4e00-\u9fff]", text)]


STYLES = {"bold $text-accent", "bold red"}


@pytest.mark.parametrize("path", SPEAKING, ids=lambda path: path.stem)
def test_screens_and_widgets_hold_no_words_of_their_own(path: Path) -> None:
    found = spoken(ast.parse(path.read_text(encoding="utf-8")))
    assert [text for text in found if text not in STYLES] == []


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW"}, "zh"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "C", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_locale_chooses_the_language(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


@pytest.mark.parametrize(("tag", "language"), [("zh", "zh"), ("zh-CN", "zh"), ("fr", "en")])
def test_a_language_without_texts_gets_english(tag: str, language: str) -> None:
    assert texts_for(tag).language == language
