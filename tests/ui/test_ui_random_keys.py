"""Whatever is pressed, typed, pasted or clicked, at whatever size: the UI never crashes.

Hundreds of keys over a few runs of the real app against the stub, thousands with `make soak`, each
run beginning at another place. Keys come in bursts, as from a person who types fast or a terminal
that pastes; the app settles after each. In every run the server answers, fails, cuts its lines,
goes away and comes back. `SLUICE_RANDOM_KEYS=N` makes it N keys, other ones each time.
"""

import asyncio
import os
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, get_args

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from soak import much
from stub_api import NOW_MS, StubApi, problem, setup_status
from test_ui_keys import fill_with_keys
from test_ui_operate import fill_for_operators
from test_ui_settings import fill_with_settings
from textual import events
from textual.geometry import Offset
from ui_driver import Driven, running

from appliance.schema.answers import Match, Timings, Usage
from appliance.schema.conversations import Turn
from appliance.schema.events import (
    Cancelled,
    Delta,
    Done,
    Event,
    Failed,
    Loading,
    Refused,
    Retrieved,
    Waiting,
)
from appliance.schema.inbox import InboxMessage
from appliance.schema.requests import TERMINAL_STATES
from ui.app import SluiceApp

pytestmark = [pytest.mark.ui, pytest.mark.soak]

KEYS = int(os.environ.get("SLUICE_RANDOM_KEYS", much(240, 2000)))
KEYS_A_RUN = much(80, 250)
EVIL = "[/] [bold]x[/bold] \x1b]52;c;aGk=\x07\x1b[2J\x9b2J\u202eX\0 **_`| 一😀"

NAMED = (
    *("up", "down", "left", "right", "home", "end", "pageup", "pagedown"),
    *("enter", "tab", "shift+tab", "escape", "backspace", "delete", "space", "shift+enter"),
    *(f"f{number}" for number in range(1, 13)),
    *(f"ctrl+{letter}" for letter in "abcdefghijklmnoprstuvwxyz"),  # ctrl+q leaves, as it should
    *("ctrl+up", "ctrl+down", "alt+up", "alt+down", "ctrl+left", "ctrl+right", "ctrl+home"),
    *("shift+left", "shift+up", "ctrl+end", "ctrl+shift+left", "ctrl+backspace", "ctrl+delete"),
)
SIZES = ((80, 24), (100, 30), (120, 40))
PLACES = ("f2", "f3", "f4", "f5", "f6", "f7", "f9", "f12")
WAYS_IN = (
    (),
    ("f1",),
    ("ctrl+p",),
    ("enter",),
    ("slash",),
    ("a",),
    ("k",),
    ("s",),
    ("ctrl+f",),
    ("tab",),
)


@dataclass(frozen=True)
class Burst:
    """Keys as (name, character) without a pause between them."""

    keys: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Pasted:
    text: str


@dataclass(frozen=True)
class Clicked:
    """At a place given in thousandths of the screen."""

    x: int
    y: int
    button: int


@dataclass(frozen=True)
class Resized:
    width: int
    height: int


Change = Literal["answers", "ends", "cut", "away", "back", "fails", "heals"]
CHANGES: tuple[Change, ...] = get_args(Change)


@dataclass(frozen=True)
class Served:
    """The server does something; `seed` settles the details."""

    change: Change
    seed: int


Act = Burst | Pasted | Clicked | Resized | Served

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789/?+-.,:;!@#[]{}()*_` 你好，问答库？一😀\u0301\u202e"
LENGTHS = (1, 4, 8, 16, 24)


def some_key(chance: Random) -> tuple[str, str | None]:
    if chance.random() < 0.6:
        return chance.choice(NAMED), None
    letter = chance.choice(LETTERS)
    return letter, letter


def some_act(chance: Random) -> Act:
    kind = chance.random()
    if kind < 0.15:
        return Served(chance.choice(CHANGES), chance.randrange(1_000_000))
    if kind < 0.72:
        return Burst(tuple(some_key(chance) for _ in range(chance.choice(LENGTHS))))
    if kind < 0.86:
        return clicked(chance)
    if kind < 0.93:
        return pasted(chance)
    return resized(chance)


def clicked(chance: Random) -> Clicked:
    return Clicked(chance.randrange(1000), chance.randrange(1000), chance.choice((1, 1, 3)))


def pasted(chance: Random) -> Pasted:
    return Pasted(EVIL * chance.choice((0, 1, 20)))


def resized(chance: Random) -> Resized:
    return Resized(chance.randint(1, 200), chance.randint(1, 60))


def some_acts(chance: Random) -> list[Act]:
    """Acts of `KEYS_A_RUN` keys together, with everything else at least once in between.

    A click, a paste or another size counts as one.
    """
    acts: list[Act] = []
    while sum(map(count, acts)) < KEYS_A_RUN:
        acts.append(some_act(chance))
    others: list[Act] = [Served(change, chance.randrange(1_000_000)) for change in CHANGES]
    for act in (*others, clicked(chance), pasted(chance), resized(chance)):
        acts.insert(chance.randrange(len(acts)), act)
    return acts


def full(api: StubApi) -> None:
    """Something at every place, some of it hostile; an answer that is being made."""
    fill_for_operators(api)
    fill_with_keys(api)
    fill_with_settings(api)
    api.setup = setup_status()
    match = Match(
        id="e-1", question="q", phrasing="q", answer="a", category="c", language="en", score=0.9
    )
    api.matches = (match,)
    turns = [
        Turn(
            id=f"r-{number}",
            created_at_ms=NOW_MS,
            question=EVIL if number == 1 else f"Question {number}?",
            answer=f"# {number}\n\n{EVIL}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx\n```\n",
            state="done" if number < 6 else "running",
            matches=(match,),
        )
        for number in range(7)
    ]
    api.add_session("Long", *turns)
    api.add_session(EVIL, minutes_ago=5)
    for number in range(30):
        api.add_entry(f"{number} {EVIL}", EVIL, category=f"c{number % 3}", phrasings=(EVIL,))
    api.inbox = {
        f"m{number}": InboxMessage(
            id=f"m{number}", text=EVIL, sender=EVIL, sent_at_ms=NOW_MS, expires_at_ms=2 * NOW_MS
        )
        for number in range(3)
    }


def some_event(chance: Random, *, is_last: bool) -> Event:
    if is_last:
        ends: tuple[Event, ...] = (
            Done(finish_reason="stop", model=EVIL, usage=Usage(), timings=Timings()),
            Failed(code="internal", reason=EVIL, message=EVIL, hint=EVIL),
            Refused(reason="queue_full", message=EVIL, retry_after_s=3.0),
            Cancelled(reason="asked"),
        )
        return chance.choice(ends)
    pieces = ("word ", EVIL, "\n\n| a | b |\n|---|", "\n```py\nx", "\n```\n", "1. one\n   - two\n")
    on_the_way: tuple[Event, ...] = (
        Waiting(place=2, eta_s=3.0),
        Loading(model=EVIL, percent=40),
        Retrieved(matches=(), degraded=EVIL),
        *(Delta(text=piece) for piece in pieces),
    )
    return chance.choice(on_the_way)


def serve(api: StubApi, act: Served) -> None:
    chance = Random(act.seed)
    match act.change:
        case "answers" | "ends":
            is_open = (
                request_id
                for request_id, stream in api.streams.items()
                if not stream.events or stream.events[-1][1] not in TERMINAL_STATES
            )
            for request_id in list(is_open):
                api.emit(request_id, some_event(chance, is_last=act.change == "ends"))
        case "cut":
            api.cut()
        case "away":
            api.down()
        case "back":
            api.up()
        case "fails":
            if api.asked:
                asked = chance.choice(api.asked)
                status, code = chance.choice(((503, "unavailable"), (404, "not_found")))
                api.overrides[asked.method, asked.path] = problem(status, code, EVIL, hint=EVIL)
        case "heals":
            api.overrides.clear()


def _mouse(kind: type[events.MouseEvent], at: Offset, button: int) -> events.MouseEvent:
    return kind(None, at.x, at.y, 0, 0, button, False, False, False, at.x, at.y)


async def carry_out(sluice: Driven, act: Act) -> None:
    app, size = sluice.app, sluice.app.size
    match act:
        case Burst(keys=keys):
            for name, character in keys:
                app.post_message(events.Key(name, character))
        case Pasted(text=text):
            app.post_message(events.Paste(text))
        case Resized(width=width, height=height):
            await sluice.pilot.resize_terminal(width, height)
        case Served():
            serve(sluice.api, act)
        case Clicked(x=x, y=y, button=button):
            at = Offset(x * size.width // 1000, y * size.height // 1000)
            app.post_message(_mouse(events.MouseDown, at, button))
            app.post_message(_mouse(events.MouseUp, at, button))
    await sluice.pilot.pause(0)  # what was handed on is done; what is under way may go on


def count(act: Act) -> int:
    return len(act.keys) if isinstance(act, Burst) else 1


async def walk(
    api: StubApi,
    start: tuple[str, ...],
    chosen: list[Act],
    *,
    language: str,
    size: tuple[int, int],
) -> None:
    """Raises what the app raised; it is still there afterwards and draws."""
    async with running(api, language=language, width=size[0], height=size[1]) as sluice:
        await sluice.sees(sluice.texts.link_up)
        await sluice.press(*start)
        for act in chosen:
            note(repr(act))
            await carry_out(sluice, act)
            if not sluice.app.is_running:
                break
        was_running = sluice.app.is_running
        if was_running:
            await sluice.pilot.resize_terminal(100, 30)
            await sluice.until(lambda: sluice.text.strip())
    assert was_running, "it left without being asked to"


@pytest.fixture(autouse=True)
def _nothing_leaves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files are written and read where nothing is, no browser opens, and no click quits."""

    async def stay(_: SluiceApp) -> None:
        pass

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(webbrowser, "open", lambda *_, **__: False)
    monkeypatch.setattr(SluiceApp, "action_quit", stay)


@settings(
    max_examples=max(1, KEYS // KEYS_A_RUN),
    phases=[Phase.generate],  # making an example smaller would start the app hundreds of times
    suppress_health_check=list(HealthCheck),
    derandomize="SLUICE_RANDOM_KEYS" not in os.environ,
    database=None,
)
@given(
    seed=st.integers(0, 2**32),
    place=st.sampled_from(PLACES),
    way_in=st.sampled_from(WAYS_IN),
    language=st.sampled_from(("en", "zh")),
    size=st.sampled_from(SIZES),
)
def test_random_keys_never_crash_the_ui(
    seed: int, place: str, way_in: tuple[str, ...], language: str, size: tuple[int, int]
) -> None:
    with StubApi() as api:
        full(api)
        acts = some_acts(Random(seed))
        asyncio.run(walk(api, (place, *way_in), acts, language=language, size=size))
