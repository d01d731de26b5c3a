"""Runs the app against the stub and looks at it as a person would: by what stands on the screen.

Nothing here sleeps for a guess: `until` lets Textual settle (its own idle barrier) until what is
waited for is true, and fails at a deadline.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from typing import TypeVar

from stub_api import KEY, NOW_MS, StubApi
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from ui.app import SluiceApp
from ui.client import Client
from ui.clock import Clock
from ui.collecting import Collector
from ui.screens.chat import ChatScreen
from ui.screens.faq import FaqScreen
from ui.screens.setup import Bring
from ui.texts import Texts, texts_for

DEADLINE_S = 20.0
T = TypeVar("T")
CLOCK = Clock(lambda: NOW_MS, UTC)


@dataclass
class Driven:
    """A running app, the stub behind it, and the hands that press its keys."""

    app: SluiceApp
    pilot: Pilot[int]
    api: StubApi
    texts: Texts

    @property
    def lines(self) -> list[str]:
        """What stands on the screen, line by line."""
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines)

    async def until(self, is_true: Callable[[], object]) -> None:
        await until(self.pilot, is_true)

    async def sees(self, *parts: str) -> None:
        """Waits until all parts stand on the screen."""
        try:
            await self.until(lambda: all(part in self.text for part in parts))
        except TimeoutError:
            missing = [part for part in parts if part not in self.text]
            raise AssertionError(f"not on the screen: {missing}\n{self.text}") from None

    async def sees_no(self, part: str) -> None:
        await self.until(lambda: part not in self.text)

    async def type(self, text: str) -> None:
        """Types as fast as a terminal sends what is typed or pasted without brackets."""
        for character in text:
            key = "ctrl+j" if character == "\n" else _character_to_key(character)
            self.app.post_message(events.Key(key, None if character == "\n" else character))
        await self.pilot.pause()

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def ask(self, text: str) -> str:
        """Types and sends a question; returns the id of its request."""
        before = len(self.api.streams)
        await self.type(text)
        await self.press("enter")
        await self.until(lambda: len(self.api.streams) > before)
        return self.api.last_request_id()

    @property
    def chat(self) -> ChatScreen:
        assert isinstance(self.app.screen, ChatScreen)
        return self.app.screen

    @property
    def faq(self) -> FaqScreen:
        assert isinstance(self.app.screen, FaqScreen)
        return self.app.screen


async def until(pilot: Pilot[T], is_true: Callable[[], object]) -> None:
    """Lets the app settle until `is_true`; raises TimeoutError at the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not is_true():
            await pilot.pause()


def new_app(
    client: Client,
    language: str = "en",
    bring: Bring | None = None,
    collector: Collector | None = None,
) -> SluiceApp:
    return SluiceApp(client, texts_for(language), clock=CLOCK, bring=bring, collector=collector)


@asynccontextmanager
async def running(
    api: StubApi,
    *,
    language: str = "en",
    width: int = 100,
    height: int = 30,
    bring: Bring | None = None,
    collector: Collector | None = None,
) -> AsyncIterator[Driven]:
    """The app against the stub, with its link up or given up on."""
    client = Client(api.url, KEY)
    app = new_app(client, language, bring, collector)
    try:
        async with app.run_test(size=(width, height), notifications=True, tooltips=True) as pilot:
            yield Driven(app, pilot, api, texts_for(language))
    finally:
        await client.close()
