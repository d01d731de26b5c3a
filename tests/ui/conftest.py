"""Fixtures of the terminal UI's tests."""

from collections.abc import AsyncIterator, Iterator

import pytest
from stub_api import KEY, StubApi

from ui.client import Client


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
