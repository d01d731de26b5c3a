"""Commands that are cancelled stay cancelled."""

import asyncio

import pytest

from appliance.bus.client import Bus
from appliance.bus.connection import TcpConnection, TlsConnection, UnixConnection, connection_class

pytestmark = pytest.mark.integration


async def test_a_cancelled_loop_of_commands_ends_at_once(bus: Bus) -> None:
    async def busy() -> None:
        while True:
            await bus.set("x", "1")

    lost = 0
    for pause in range(200):
        task = asyncio.create_task(busy())
        for _ in range(pause % 23):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.5)
        if not done:
            lost += 1
            task.cancel()
            await asyncio.wait([task])
    assert lost == 0


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("unix:///run/x.sock", UnixConnection),
        ("redis://host:1", TcpConnection),
        ("rediss://host:1", TlsConnection),
    ],
)
def test_each_scheme_has_its_connection(url: str, kind: type) -> None:
    assert connection_class(url) is kind
