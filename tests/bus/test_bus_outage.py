"""The log of an outage: one line when the store goes, one when it is back."""

import asyncio
import logging
from typing import cast

import pytest

from appliance.bus.client import Bus
from appliance.bus.outage import Outage

pytestmark = pytest.mark.unit


class Store:
    """Answers a ping, in its own time, unless it is away."""

    is_away = True

    async def ping(self) -> bool:
        await asyncio.sleep(0)
        if self.is_away:
            raise ConnectionError("refused")
        return True


async def test_an_outage_is_told_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = Store()
    bus = cast(Bus, store)
    outage = Outage(logging.getLogger("test"), "admitting nobody")
    await outage.over(bus)  # nothing was away: nobody is asked
    for _ in range(2):
        store.is_away = True
        for _ in range(5):
            outage.met(ConnectionError("refused"))
            with pytest.raises(ConnectionError):
                await outage.over(bus)
        store.is_away = False
        await asyncio.gather(*(outage.over(bus) for _ in range(4)))
    told = ["the store is away, admitting nobody: refused", "the store answers again"]
    assert [record.message for record in caplog.records] == 2 * told
