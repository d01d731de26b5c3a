"""Responses notice a reader who goes away."""

import asyncio

import pytest
from litestar.types import HTTPReceiveMessage

from appliance.api.readers import unless_gone
from appliance.errors import Invalid, Unavailable

pytestmark = pytest.mark.unit


async def never() -> HTTPReceiveMessage:
    await asyncio.Event().wait()
    raise AssertionError


async def gone() -> HTTPReceiveMessage:
    return {"type": "http.disconnect"}


async def test_an_answer_is_given_up_when_its_reader_goes_away() -> None:
    ended = asyncio.Event()

    async def answer() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(Unavailable):
        await unless_gone(gone, answer())
    assert ended.is_set()


async def test_an_answer_and_its_error_come_through() -> None:
    async def answer() -> int:
        return 7

    async def refuse() -> None:
        raise Invalid("no")

    assert await unless_gone(never, answer()) == 7
    with pytest.raises(Invalid, match="no"):
        await unless_gone(never, refuse())
