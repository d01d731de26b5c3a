"""Who reads an answer to its end counts as there, as far as the store takes that down."""

from collections.abc import AsyncGenerator
from typing import cast

import pytest

from appliance.access.presence import Presence
from appliance.bus.client import FULL, Bus
from appliance.bus.replies import StreamEvent

pytestmark = pytest.mark.unit


class Full:
    """A store whose disk is full."""

    refused = 0

    async def zrem(self, name: str, *members: str) -> int:
        self.refused += 1
        raise FULL[1]("MISCONF Errors writing to the AOF file: No space left on device")


async def replied() -> AsyncGenerator[StreamEvent, None]:
    yield StreamEvent("1-0", "delta", b"{}")
    yield StreamEvent("2-0", "done", b"{}")


async def test_an_answer_is_read_to_its_end_though_the_store_takes_no_writes() -> None:
    store = Full()
    presence = Presence(cast(Bus, store), 60.0)
    events = [one.event async for one in presence.reading("x1-r", replied())]
    assert events == ["delta", "done"]
    assert store.refused == 1
