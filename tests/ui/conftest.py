"""Fixtures of the terminal UI's tests."""

import gc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from stub_api import KEY, StubApi
from textual.css.stylesheet import Stylesheet

from ui.client import Client


@pytest.fixture(scope="session", autouse=True)
def _styles_are_parsed_once() -> Iterator[None]:
    """Hundreds of apps read the same style sheets; each would parse them several times."""
    parse = Stylesheet._parse_rules
    parsed: dict[tuple[object, ...], Any] = {}

    def remembered(sheet: Stylesheet, *css: Any, **more: Any) -> Any:
        asked = (css, *sorted(more.items()), frozenset(sheet._variables.items()))
        if asked not in parsed:
            parsed[asked] = parse(sheet, *css, **more)
        return parsed[asked]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", remembered)
        yield


@pytest.fixture(scope="session", autouse=True)
def _garbage_is_collected_seldom() -> Iterator[None]:
    """An app is a hundred thousand objects, which Python would look at several times a test."""
    before = gc.get_threshold()
    gc.set_threshold(20_000, 10, 10)
    yield
    gc.set_threshold(*before)


@pytest.fixture
def empty_api() -> Iterator[StubApi]:
    """A stub without sessions or FAQ entries."""
    with StubApi() as server:
        yield server


@pytest.fixture
def api(empty_api: StubApi) -> StubApi:
    """A stub with one FAQ entry, so that the first start asks nothing."""
    empty_api.add_entry("What is this?", "A test.")
    return empty_api


class Pauses:
    """Takes the place of `asyncio.sleep` in the client: records, and does not wait."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken_s.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def client(api: StubApi, pauses: Pauses) -> AsyncIterator[Client]:
    """A client of the stub whose reconnections do not wait."""
    made = Client(api.url, KEY, pause=pauses)
    yield made
    await made.close()
