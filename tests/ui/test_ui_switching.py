"""Showing another session: how much is made for it, counted in widgets, and what is kept."""

import pytest
from stub_api import NOW_MS, StubApi
from textual.widget import Widget
from ui_driver import Driven, running

from appliance.schema.answers import Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import Delta, Done
from ui.widgets.conversation_view import COLUMNS_KEPT
from ui.widgets.turn_column import WINDOW_TURNS, TurnColumn
from ui.widgets.turn_view import TurnView

pytestmark = pytest.mark.ui

TURNS = 45
WIDGETS_PER_TURN_MAX = 8  # without Markdown: the turn, its question, answer, sketch and lines
ANSWER = """1. **One**
2. *Two*

| a | b |
|---|---|
| 1 | 2 |

```python
def reset(user: str) -> None:
    print("ok")
```

- first
- second

Some more lines
""" + "\n\n".join(f"paragraph {n}" for n in range(12))


def session(api: StubApi, name: str, *, turns: int = TURNS) -> str:
    made = [
        Turn(
            id=f"{name}-{n}",
            created_at_ms=NOW_MS + n,
            question=f"Question {name} {n}?",
            answer=f"{ANSWER}\n\nThe end of {name} {n}.",
            state="done",
        )
        for n in range(turns)
    ]
    return api.add_session(name, *made, minutes_ago=len(api.sessions)).id


def widgets(sluice: Driven) -> set[Widget]:
    return set(sluice.chat.query("#conversation *"))


def shown(sluice: Driven) -> list[TurnView]:
    column = next(one for one in sluice.chat.query(TurnColumn) if one.display)
    return list(column.query(TurnView))


async def visit(sluice: Driven, key: str, name: str) -> None:
    await sluice.press(key)
    await sluice.sees(f"The end of {name} {TURNS - 1}.")


async def drawn(sluice: Driven) -> None:
    """Waits until what is on the screen is Markdown."""
    await sluice.until(lambda: shown(sluice) and shown(sluice)[-1].answer.is_drawn)


async def test_what_is_made_for_a_new_session_is_a_screenful_without_markdown(
    api: StubApi,
) -> None:
    first, second = session(api, "one"), session(api, "two")
    async with running(api) as sluice:
        await sluice.sees("one", "two")
        await visit(sluice, "ctrl+down", "one")
        await drawn(sluice)
        await visit(sluice, "ctrl+down", "two")
        await visit(sluice, "ctrl+up", "one")
        await sluice.chat._view.forget(second)
        before = widgets(sluice)
        await sluice.chat.open_session(second)
        made = widgets(sluice) - before
        assert 0 < len([one for one in made if isinstance(one, TurnView)]) <= 2
        assert len(made) <= 3 + 2 * WIDGETS_PER_TURN_MAX
        await sluice.sees("The end of two")
        await drawn(sluice)
        assert len(shown(sluice)) == WINDOW_TURNS
        assert shown(sluice)[0].answer.is_sketch, "what is far above is not drawn"
        assert first != second


async def test_going_back_to_a_session_makes_nothing(api: StubApi) -> None:
    session(api, "one")
    session(api, "two")
    async with running(api) as sluice:
        await sluice.sees("one", "two")
        await visit(sluice, "ctrl+down", "one")
        await drawn(sluice)
        await sluice.until(lambda: len(shown(sluice)) == WINDOW_TURNS)
        await visit(sluice, "ctrl+down", "two")
        await drawn(sluice)
        await sluice.until(lambda: len(shown(sluice)) == WINDOW_TURNS)
        before = widgets(sluice)
        for key, name in (("ctrl+up", "one"), ("ctrl+down", "two")) * 3:
            await visit(sluice, key, name)
            await drawn(sluice)
        assert widgets(sluice) <= before


async def test_only_the_last_columns_are_kept(api: StubApi) -> None:
    names = [f"session {n}" for n in range(COLUMNS_KEPT + 3)]
    for name in names:
        session(api, name)
    async with running(api, height=40) as sluice:
        await sluice.sees(names[0], names[-1])
        for name in names:
            await visit(sluice, "ctrl+down", name)
        await sluice.until(lambda: len(sluice.chat.query(TurnColumn)) == COLUMNS_KEPT)
        await visit(sluice, "ctrl+up", names[-2])


async def test_what_comes_near_is_drawn_and_the_place_is_kept(api: StubApi) -> None:
    session(api, "one")
    async with running(api) as sluice:
        await sluice.sees("one")
        await visit(sluice, "ctrl+down", "one")
        await drawn(sluice)
        await sluice.until(lambda: len(shown(sluice)) == WINDOW_TURNS)
        top = shown(sluice)[0]
        pages = 0
        while top.answer.is_sketch:
            await sluice.press("pageup")
            pages += 1
            assert pages < 200
        await sluice.until(lambda: top.answer.is_drawn)
        await sluice.press("ctrl+b")
        await sluice.press(*["k"] * 2)
        await sluice.sees(f"Question one {TURNS - 3}?")
        assert sluice.chat.query_one(".-pointed", TurnView).turn.id == f"one-{TURNS - 3}"


async def test_an_answer_that_went_on_unseen_is_whole_when_one_comes_back(api: StubApi) -> None:
    session(api, "one")
    async with running(api) as sluice:
        await sluice.sees("one")
        request_id = await sluice.ask("Long?")
        api.emit(request_id, Delta(text="It **begins** "))
        await sluice.sees("It begins")
        await visit(sluice, "ctrl+down", "one")
        done = Done(finish_reason="stop", model="m", usage=Usage(), timings=Timings())
        api.emit(request_id, Delta(text="and *ends*."), done)
        await sluice.sees("● Long?")
        await sluice.chat.open_session(list(api.sessions)[-1])
        await sluice.sees("It begins and ends.", "finished")


async def test_the_footer_is_made_anew_only_when_a_key_comes_or_goes(api: StubApi) -> None:
    session(api, "one")
    session(api, "two")
    async with running(api) as sluice:
        await sluice.sees("one", "two")
        await visit(sluice, "ctrl+down", "one")
        await visit(sluice, "ctrl+down", "two")
        await drawn(sluice)
        keys = set(sluice.chat.query("FooterKey"))
        await visit(sluice, "ctrl+up", "one")
        await visit(sluice, "ctrl+down", "two")
        assert set(sluice.chat.query("FooterKey")) == keys
        await sluice.press("ctrl+n")
        await sluice.sees("Ask a question.")
        await sluice.until(lambda: set(sluice.chat.query("FooterKey")) != keys)
