"""The bucket's line on a real store: whose place it is, and where a grant goes that nobody uses."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from appliance import keys
from appliance.access.generations import Gates, buckets_of
from appliance.bus.client import Bus
from appliance.clock import now_ms
from appliance.limiter.tiers import Tier
from appliance.limiter.waiters import Waiters
from appliance.schema.events import Admitted, Refused
from appliance.schema.requests import Request
from appliance.schema.sampling import Sampling

pytestmark = pytest.mark.integration

TIERS = {"standard": Tier(), "t": Tier(requests_per_minute=1, waiting=2)}
PATIENCE_S = 30.0


def request(uid: str) -> Request:
    return Request(
        id=keys.new_request_id(),
        uid=uid,
        text="?",
        sampling=Sampling(),
        created_at_ms=now_ms(),
        deadline_at_ms=now_ms() + 600_000,
    )


async def never() -> None:
    await asyncio.Event().wait()


@pytest.fixture
async def waiters(bus: Bus, valkey_url: str) -> AsyncIterator[Waiters]:
    made = Waiters(bus, valkey_url, buckets_of(TIERS))
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.wait([task])


@pytest.fixture
async def gates(bus: Bus, waiters: Waiters) -> Gates:
    """One whose only grant is used."""
    made = Gates(bus, waiters, TIERS, queue_bound=3)
    assert isinstance(await made.bucket(request("first"), "t", never), Admitted)
    return made


async def test_who_is_cancelled_leaves_the_line_and_takes_no_grant(
    gates: Gates, waiters: Waiters
) -> None:
    cancelled = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        gone = group.create_task(gates.bucket(request("a"), "t", cancelled.wait))
        stays = group.create_task(gates.bucket(request("b"), "t", never))
        while waiters.waiting("t") < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        cancelled.set()
        assert await gone is None
        assert (waiters.waiting("t"), waiters.waiting_of("t", "a")) == (1, 0)
        await gates.give_back("t")  # as of one that was cancelled while it was let in
        assert isinstance(await stays, Admitted)


async def test_a_users_line_is_his_own_and_that_of_all_has_a_bound(
    gates: Gates, waiters: Waiters
) -> None:
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:

        async def wait(uid: str) -> asyncio.Task[Admitted | Refused | None]:
            before = waiters.waiting("t")
            task = group.create_task(gates.bucket(request(uid), "t", never))
            while waiters.waiting("t") == before:  # noqa: ASYNC110
                await asyncio.sleep(0)
            return task

        waiting = [await wait("a"), await wait("a")]
        refused = await gates.bucket(request("a"), "t", never)
        assert isinstance(refused, Refused)
        assert refused.reason == "user_queue_full"
        waiting.append(await wait("b"))
        refused = await gates.bucket(request("b"), "t", never)
        assert isinstance(refused, Refused)
        assert refused.reason == "queue_full"
        for task in waiting:
            task.cancel()
