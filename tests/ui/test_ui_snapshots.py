"""Pictures of the main states, compared cell by cell with those that a person has looked at.

After a wanted change: `pytest tests/ui/test_ui_snapshots.py --snapshot-update`, and look.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from stub_api import KEY, NOW_MS, StubApi, setup_status
from test_ui_faq_checks import fill_with_checks
from test_ui_faq_deleted import fill_with_deleted
from test_ui_faq_import import BAD
from test_ui_faq_misses import fill_with_misses
from test_ui_keys import fill_with_keys
from test_ui_operate import fill_for_operators
from test_ui_places import busy_status
from test_ui_settings import fill_with_settings
from test_ui_setup import to_step
from textual.pilot import Pilot
from textual.widgets import Input, TextArea
from ui_driver import CLOCK, Driven

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Admitted, Delta, Done, Retrieved
from ui.app import SluiceApp
from ui.client import Client
from ui.said import line_said
from ui.screens import polled
from ui.screens.setup import FaqStep, KeyStep, LanguageStep
from ui.screens.setup_model import ModelStep
from ui.texts import texts_for
from ui.widgets.answer import Answer
from ui.widgets.plain import LineField
from ui.widgets.tables import RecordTable

pytestmark = pytest.mark.ui

SIZE = (100, 30)
ANSWER = """To reset your password:

1. Open **Settings** and choose *Account*.
2. Press `Reset`, then enter the code.

| Step | Where | 时间 |
|---|---|---|
| Reset | Settings | 1 分钟 |

密码至少需要十二个字符，并且不能与最近用过的相同。See [the page](https://example.org/reset).

```python
def reset(user: str) -> None:
    print("ok")
```
"""
MATCHES = tuple(
    Match(
        id=f"e-{n}",
        question=question,
        phrasing=question,
        answer="",
        category="",
        language="",
        score=score,
    )
    for n, (question, score) in enumerate(
        [("How do I reset my password?", 0.93), ("忘记密码怎么办？", 0.88)]
    )
)
DONE = Done(
    finish_reason="stop",
    model="m",
    usage=Usage(completion_tokens=182),
    timings=Timings(first_token_ms=720, tokens_per_s=24.13),
)

Walk = Callable[[Driven], Awaitable[None]]
Picture = Callable[..., None]


class Pictured(SluiceApp):
    """Closes its client in the loop it ran in, for `snap_compare` makes and ends that loop."""

    async def on_unmount(self) -> None:
        await self._client.close()


@pytest.fixture
def filled(api: StubApi) -> StubApi:
    api.add_session("Password reset", minutes_ago=3)
    api.add_session("报销流程与发票要求说明以及常见问题", minutes_ago=55)
    api.add_session("VPN from home, with a title that does not fit", minutes_ago=60 * 30)
    return api


@pytest.fixture
def picture(
    snap_compare: Any,  # Any: the plugin has no types
    filled: StubApi,
    monkeypatch: pytest.MonkeyPatch,
) -> Picture:
    """Compares the screen after a walk with the picture of the test's name.

    What is polled is read once: trends would have a bar more on a slower machine.
    """
    monkeypatch.setattr(polled, "REFRESH_S", 3600.0)

    def compare(walk: Walk, *, language: str = "en", size: tuple[int, int] = SIZE) -> None:
        texts = texts_for(language)
        app = Pictured(Client(filled.url, KEY), texts, clock=CLOCK)

        async def before(pilot: Pilot[int]) -> None:
            sluice = Driven(app, pilot, filled, texts)
            await sluice.sees(texts.link_up)
            await walk(sluice)
            await sluice.until(lambda: app.screen.query("FooterKey"))
            for field in app.screen.query(TextArea):
                field.cursor_blink = False
            for line in app.screen.query(Input):
                line.cursor_blink = False
            await sluice.until(lambda: all(a.is_drawn for a in app.screen.query(Answer)))

        assert snap_compare(app, terminal_size=size, run_before=before)

    return compare


async def answering(sluice: Driven) -> None:
    request_id = await sluice.ask("How do I reset my password?")
    sluice.api.emit(request_id, Admitted(waited_ms=3), Retrieved(matches=MATCHES))
    for at in range(0, len(ANSWER), 16):
        sluice.api.emit(request_id, Delta(text=ANSWER[at : at + 16]))
    await sluice.sees("ok", "0.88", "密码至少需要")


async def faq_table(sluice: Driven) -> None:
    api = sluice.api
    api.entries.clear()
    api.add_entry("How do I reset my password?", "Press Reset.", category="account")
    api.add_entry("忘记密码怎么办？", "点击“重置”。", category="账户", language="zh")
    api.add_entry("How many days of leave?", "Thirty.", category="leave", state="draft")
    await sluice.press("f3")
    await sluice.sees("忘记密码怎么办？", "Press Reset.")


async def faq_editor(sluice: Driven) -> None:
    sluice.api.entries.clear()
    sluice.api.add_entry(
        "忘记密码怎么办？",
        "打开“设置”，选择“账户”，点击“重置”。\n密码至少十二个字符。",
        category="账户",
        language="zh",
        phrasings=("重置密码", "I forgot my password"),
    )
    await sluice.press("f3")
    await sluice.sees("忘记密码怎么办？")
    await sluice.press("enter")
    await sluice.sees("I forgot my password")


async def status(sluice: Driven) -> None:
    sluice.api.status = busy_status()
    await sluice.press("f4")
    await sluice.sees("valkey", "31.4")


async def operate(sluice: Driven, key: str, *parts: str) -> None:
    api = sluice.api
    fill_for_operators(api)
    await sluice.press(key)
    await sluice.sees(*parts)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
@pytest.mark.parametrize(
    ("key", "parts"),
    [("f4", ["31.4", "ana"]), ("f5", ["big-7b"]), ("f6", ["berlin"]), ("f7", ["leads"])],
    ids=["status", "models", "people", "logs"],
)
def test_operating(
    picture: Picture, language: str, size: tuple[int, int], key: str, parts: list[str]
) -> None:
    async def walk(sluice: Driven) -> None:
        await operate(sluice, key, *parts)

    picture(walk, language=language, size=size)


async def keys_desk(sluice: Driven) -> None:
    fill_with_keys(sluice.api)
    await sluice.press("f6", "k")
    await sluice.sees("Ana's phone", "工单系统")


async def new_key(sluice: Driven) -> None:
    await keys_desk(sluice)
    await sluice.press("a")
    await sluice.sees(sluice.texts.keys.new_title)
    await sluice.type("Bo")
    await sluice.press("tab", "tab")
    await sluice.type("bo")
    await sluice.press("enter")
    await sluice.sees(sluice.texts.keys.made_title.format(name="Bo"))


async def settings_desk(sluice: Driven) -> None:
    fill_with_settings(sluice.api)
    await sluice.press("f4", "s")
    await sluice.sees("server.port", "9000")


async def setting_form(sluice: Driven) -> None:
    await settings_desk(sluice)
    await sluice.press("down", "enter")
    await sluice.sees(sluice.texts.settings.value)
    await sluice.press("ctrl+u")
    await sluice.type("wrong")
    await sluice.sees(sluice.texts.error_invalid)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
@pytest.mark.parametrize(
    "walk", [keys_desk, new_key, settings_desk, setting_form], ids=lambda walk: walk.__name__
)
def test_governing(picture: Picture, language: str, size: tuple[int, int], walk: Walk) -> None:
    picture(walk, language=language, size=size)


async def misses(sluice: Driven) -> None:
    fill_with_misses(sluice.api)
    await sluice.press("f3")
    await sluice.sees("What is this?")
    await sluice.press("m")
    await sluice.sees("可以带狗上班吗？", "Is there a car park?")


async def checks(sluice: Driven) -> None:
    fill_with_checks(sluice.api)
    await sluice.press("f3")
    await sluice.sees("What is this?")
    await sluice.press("g")
    await sluice.sees("Where do we eat?", "→")


async def file_report(sluice: Driven) -> None:
    sluice.api.curation.rehearsed = BAD
    await sluice.press("f3")
    await sluice.sees("What is this?")
    await sluice.press("i")
    field = sluice.app.screen.query_one("#import-path", LineField)
    field.set_text("faq.csv")
    await sluice.press("enter")
    await sluice.sees(line_said(sluice.texts, BAD.errors[0]), "e-1")


async def deleted(sluice: Driven) -> None:
    fill_with_deleted(sluice.api)
    await sluice.press("f3")
    await sluice.sees("What is this?")
    await sluice.press("u")
    await sluice.sees("Where is the pool?", "Behind the house.")


async def miss_editor(sluice: Driven) -> None:
    await misses(sluice)
    await sluice.press("p")
    sluice.api.emit("r-draft", Delta(text="Behind the house, with the card of the gate."), DONE)
    await sluice.sees("Behind the house", sluice.texts.curate.draft_done)


async def miss_answer(sluice: Driven) -> None:
    await misses(sluice)
    await sluice.press("r")
    await sluice.sees(sluice.texts.curate.miss_answer_title)
    await sluice.type("In the yard.")
    await sluice.sees("In the yard.")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["small", "large"])
@pytest.mark.parametrize(
    "walk",
    [misses, miss_editor, miss_answer, checks, file_report, deleted],
    ids=lambda walk: walk.__name__,
)
def test_curating(
    picture: Picture,
    language: str,
    size: tuple[int, int],
    walk: Walk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faq.csv").write_text("question,answer")
    picture(walk, language=language, size=size)


@pytest.mark.parametrize(
    ("step", "language", "size"),
    [
        (LanguageStep, "en", (80, 24)),
        (ModelStep, "en", (80, 24)),
        (ModelStep, "zh", (80, 24)),
        (ModelStep, "en", (120, 40)),
        (ModelStep, "zh", (120, 40)),
        (FaqStep, "zh", (80, 24)),
        (KeyStep, "en", (120, 40)),
        (KeyStep, "zh", (80, 24)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_setting_up(picture: Picture, step: type, language: str, size: tuple[int, int]) -> None:
    async def walk(sluice: Driven) -> None:
        await sluice.until(lambda: sluice.app._first_start.is_open_to_us)
        sluice.api.setup = setup_status(done=False)
        sluice.api.entries.clear()
        await sluice.press("f12")
        await to_step(sluice, step)
        if step is ModelStep:
            await sluice.sees("fitting-4b", "★")
            table = sluice.app.screen.query_one(RecordTable)
            await sluice.until(lambda: not table._require_update_dimensions)

    picture(walk, language=language, size=size)


def test_answering_with_markdown_and_chinese(picture: Picture) -> None:
    picture(answering)


def test_faq_table(picture: Picture) -> None:
    picture(faq_table)


def test_faq_table_in_chinese_at_eighty_columns(picture: Picture) -> None:
    picture(faq_table, language="zh", size=(80, 24))


def test_faq_editor(picture: Picture) -> None:
    picture(faq_editor)


def test_status(picture: Picture) -> None:
    picture(status)


def test_a_long_conversation_in_the_light_theme(picture: Picture, filled: StubApi) -> None:
    turns = [
        Turn(
            id=f"r-{n}", created_at_ms=NOW_MS, question=f"Question {n}?", answer=text, state="done"
        )
        for n, text in enumerate(("Yes.", "- one\n- two", "> quoted\n\n`code`"))
    ]
    filled.add_session("In the light", *turns)

    async def walk(sluice: Driven) -> None:
        await sluice.press("f8", "ctrl+down")
        await sluice.sees("quoted", "Question 0?", "code")

    picture(walk)
