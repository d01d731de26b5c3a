"""Text from outside, at its worst, on every screen: it is shown as text, and nothing obeys it."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soak import much
from stub_api import NOW_MS, StubApi, problem
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Paste
from textual.pilot import Pilot
from textual.widgets import Static
from ui_driver import Driven, running, until

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Delta, Done, Refused, Retrieved
from appliance.schema.status import ChildStatus, FaqStatus, QueueStatus, Status, WorkerStatus
from ui.widgets import answer
from ui.widgets.answer import Answer

pytestmark = pytest.mark.ui

EVIL = (
    "[/] [red]x[/red] \x1b]52;c;aGk=\x07\x9b2J\x1b[31m\x9d0;t\x9c\u202elive\x07\x00 "
    "&#x202e; 中文 end"
)
SEEN = "[/] [red]x[/red]"
ENTITIES = "&#x1b;]52;c;aGk=&#7; &#155;2J &#x202E;abc &rlm; &lrm; &#xE0041; &ZeroWidthSpace;"
LINKS = "[click](https://evil.example/) ![i](https://evil.example/i.png) <https://evil.example/>"
TABLE = "| [/] | [red] |\n|---|---|\n| [/b] | [@click=app.quit]x[/] |\n"
MARKDOWN = (
    f"# {EVIL}\n\n{EVIL}\n\n> {EVIL}\n\n- {EVIL}\n\n{TABLE}\n"
    f"```[/]\n{EVIL}\n```\n{ENTITIES}\n\n{LINKS}\n"
)

DONE = Done(finish_reason="stop", model=EVIL, usage=Usage(), timings=Timings())
MATCH = Match(
    id="e-1",
    question=EVIL,
    phrasing=EVIL,
    answer=EVIL,
    category=EVIL,
    language=EVIL,
    score=0.5,
)


def check_clean(sluice: Driven) -> None:
    """No cell of the screen holds a character that a terminal obeys."""
    for line in sluice.lines:
        for character in line:
            assert unicodedata.category(character) not in ("Cc", "Cf", "Cs"), ascii(line)


async def sees_clean(sluice: Driven, *parts: str) -> None:
    await sluice.sees(*parts)
    check_clean(sluice)


def evil_turn(turn_id: str) -> Turn:
    return Turn(
        id=turn_id,
        created_at_ms=NOW_MS,
        question=EVIL,
        answer=MARKDOWN,
        state="done",
        matches=(MATCH,),
    )


async def test_titles_questions_answers_and_sources(api: StubApi) -> None:
    api.add_session(EVIL, evil_turn("r-1"))
    async with running(api, width=120, height=70) as sluice:
        await sees_clean(sluice, SEEN[:10])
        await sluice.press("ctrl+down")
        await sees_clean(sluice, "finished", SEEN, "[click](https://evil.example/)")
        await sluice.press("ctrl+r")
        await sees_clean(sluice, "Rename the session")
        await sluice.press("escape", "ctrl+l", "delete")
        await sees_clean(sluice, "Delete this session?", SEEN)
        await sluice.press("escape", "ctrl+g")
        await sees_clean(sluice, "finished")


async def test_streamed_answers_refusals_and_errors(api: StubApi) -> None:
    async with running(api, width=120, height=70) as sluice:
        await sluice.sees("ready")
        request_id = await sluice.ask("q")
        api.emit(request_id, Retrieved(matches=(MATCH,), degraded=EVIL))
        for at in range(0, len(MARKDOWN), 5):
            api.emit(request_id, Delta(text=MARKDOWN[at : at + 5]))
        await sees_clean(sluice, SEEN, "[click](https://evil.example/)")
        api.emit(request_id, DONE)
        await sees_clean(sluice, "finished", SEEN)
        refused = Refused(reason=EVIL, message=EVIL, retry_after_s=1)
        api.emit(await sluice.ask("q"), refused)
        await sees_clean(sluice, "Not taken now: [/]")
        api.overrides["POST", "/api/sessions/s-2/messages"] = problem(
            400, "invalid", EVIL, hint=EVIL
        )
        await sluice.type("q")
        await sluice.press("enter")
        await sees_clean(sluice, "Not accepted: [/]")


async def test_faq_entries_matches_and_the_editor(empty_api: StubApi) -> None:
    empty_api.add_entry(EVIL, EVIL, category=EVIL, language="en", phrasings=(EVIL, EVIL + "2"))
    empty_api.matches = (MATCH,)
    async with running(empty_api, width=120) as sluice:
        await sluice.sees("ready")
        await sluice.press("f3")
        await sees_clean(sluice, "Entries: 1", SEEN)
        await sluice.press("enter")
        await sees_clean(sluice, "Edit entry", SEEN)
        await sluice.press("escape", "slash", "x", "enter")
        await sees_clean(sluice, "Found: 1", "0.50")
        await sluice.press("shift+tab", "shift+tab", "enter")
        await sees_clean(sluice, "[/] [red]x")
        await sluice.press("escape", "tab", "tab", "delete")
        await sees_clean(sluice, "Delete this entry?", SEEN)


async def test_status_and_the_banner(api: StubApi) -> None:
    child = ChildStatus(
        name=EVIL, state=EVIL, pid=1, restarts=0, uptime_s=1, detail=EVIL, rss_bytes=1
    )
    worker = WorkerStatus(
        id=EVIL,
        engine=EVIL,
        model=EVIL,
        embedding_model=EVIL,
        device=EVIL,
        slots=1,
        busy=0,
        context_tokens=1,
        tokens_per_s=1,
        embedding_size=1,
        pid=1,
    )
    api.status = Status(
        version=EVIL,
        uptime_s=1,
        ready=True,
        children=(child,),
        workers=(worker,),
        queue=QueueStatus(waiting=0, running=0, capacity=1, bound=1),
        faq=FaqStatus(entries=1, phrasings=1, indexed=True, detail=EVIL),
        sessions_following=0,
    )
    api.is_ready, api.checks = False, {EVIL: EVIL}
    async with running(api, width=150) as sluice:
        await sees_clean(sluice, "Not ready yet: [/]")
        await sluice.press("f4")
        await sees_clean(sluice, "Processes", SEEN)


async def test_what_is_pasted_is_made_safe(api: StubApi) -> None:
    async with running(api, width=120) as sluice:
        await sluice.sees("ready")
        assert sluice.app.focused is not None
        sluice.app.focused.post_message(Paste(f"{EVIL}\nsecond line"))
        await sees_clean(sluice, SEEN, "second line")
        await sluice.press("f3", "slash")
        assert sluice.app.focused is not None
        sluice.app.focused.post_message(Paste(EVIL))
        await sees_clean(sluice, SEEN)


class Alone(App[None]):
    """One answer and nothing else."""

    CSS_PATH = Path(answer.__file__).parents[1] / "sluice.tcss"

    def compose(self) -> ComposeResult:
        yield VerticalScroll()


async def test_hovering_a_table_cell_reads_no_markup() -> None:
    app = Alone()
    async with app.run_test(tooltips=True) as pilot:
        shown = Answer(TABLE)
        await app.query_one(VerticalScroll).mount(shown)
        await pilot.pause()
        assert [cell.tooltip for cell in shown.query(Static) if cell.tooltip is not None] == []


async def test_links_and_images_are_text_and_open_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    app = Alone()
    monkeypatch.setattr(app, "open_url", lambda url, new_tab=True: opened.append(url))
    async with app.run_test(size=(100, 20)) as pilot:
        shown = Answer(LINKS)
        await app.query_one(VerticalScroll).mount(shown)
        await pilot.pause()
        for column in range(0, 90, 3):
            await pilot.click(shown, offset=(column, 1))
        assert opened == []


PIECES = st.sampled_from(
    [
        "# Head\n",
        "text ",
        "\n",
        "\n\n",
        "- item\n",
        "  - deeper\n",
        "1. one\n",
        "> quote\n",
        "```py\nx = 1\n",
        "```\n",
        "| a | b |\n|---|---|\n",
        "| 1 | 2 |\n",
        "| 中",
        "---\n",
        "**",
        "[/]",
        "\t",
        "`",
        "<b>",
        "&amp;",
        "\x1b]0;",
        "\\\n",
    ]
)


def blocks(shown: Answer) -> list[str]:
    """The answer's widgets, in order, with their text."""
    drawn = [(type(part).__name__, part.render()) for part in shown.query("*")]
    return [f"{name}:{text.plain if isinstance(text, Content) else ''}" for name, text in drawn]


async def check_streamed_as_whole(pieces: Sequence[str]) -> None:
    """Streams the pieces beside an answer that has all at once; both must end alike."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answer, "REPAINT_GAP_S", 0.0)
        patch.setattr(answer, "REPAINT_GAP_MAX_S", 0.0)
        app = Alone()
        async with app.run_test() as pilot:
            streamed, whole = Answer(), Answer("".join(pieces))
            await app.query_one(VerticalScroll).mount(streamed, whole)
            for count in range(1, len(pieces) + 1):
                streamed.show("".join(pieces[:count]))
                await until_drawn(pilot, streamed)
            streamed.show("".join(pieces), is_final=True)
            await until_drawn(pilot, streamed)
            await until_drawn(pilot, whole)
            assert blocks(streamed) == blocks(whole)


@pytest.mark.soak
@settings(max_examples=much(8, 40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PIECES, min_size=1, max_size=12))
async def test_a_streamed_answer_ends_as_if_it_had_come_at_once(pieces: list[str]) -> None:
    await check_streamed_as_whole(pieces)


@pytest.mark.parametrize(
    "text",
    ["| a |\n|---|\n| 1 |\n| a |\n|---|\n```py\nx\n", "1. one\n**b\n"],
    ids=["fails", "looks wrong"],
)
async def test_what_textual_cannot_append_is_drawn_anew(text: str) -> None:
    await check_streamed_as_whole(text)


async def until_drawn(pilot: Pilot[None], shown: Answer) -> None:
    await until(pilot, lambda: shown.is_drawn)


@pytest.mark.parametrize(
    "text",
    [
        "|a|b|\n|-|-|\n" + "|1|2|\n" * 2_000,
        "x\n\n" * 5_000,
        ">" * 2_000 + " x",
        "- " * 2_000 + "x",
        "*" * 20_000,
        "[" * 20_000,
        "```\n" + "(" * 20_000,
        "x" * 100_000,
    ],
    ids=["table", "paragraphs", "quotes", "lists", "stars", "brackets", "fence", "line"],
)
async def test_the_heaviest_answers_are_drawn(text: str) -> None:
    app = Alone()
    async with app.run_test() as pilot:
        shown = Answer(text)
        await app.query_one(VerticalScroll).mount(shown)
        await until_drawn(pilot, shown)
        assert len(shown.query("*")) < 1_000
