"""The limiter service on a real store: limits under fire, crashes, takeovers, a store that goes."""

import asyncio
import random

import pytest
from limiter_rig import PATIENCE_S, Rig, serving, settings

from appliance import keys
from appliance.bus import budgets, leadership
from appliance.bus.leadership import Deposed
from appliance.clock import now_ms
from appliance.schema.events import Waiting
from appliance.settings.limiter import Tier

pytestmark = pytest.mark.integration

CROWD = 200


async def crowd(rig: Rig, tier: str, tokens: int = 100) -> list[str]:
    asked = [rig.ask("u", tier=tier, tokens=tokens) for _ in range(CROWD)]
    return list(await asyncio.gather(*asked))


@pytest.mark.parametrize(
    ("tier", "allowed", "reason"),
    [
        (Tier(name="t", requests_per_minute=17), 17, "requests_per_minute"),
        (Tier(name="t", tokens_per_minute=1_950), 19, "tokens_per_minute"),
        (Tier(name="t", tokens_per_day=2_300), 23, "tokens_per_day"),
        (Tier(name="t", waiting=11), 16 + 11, "user_queue_full"),
    ],
)
async def test_two_hundred_at_once_never_pass_a_limit(
    rig: Rig, valkey_url: str, tier: Tier, allowed: int, reason: str
) -> None:
    async with serving(valkey_url, settings(tier)):
        await rig.workers(16)
        found = await rig.decided(await crowd(rig, "t"))
        assert len(found["queued"]) + len(found.get("waiting", [])) == allowed
        assert {await rig.reason(one) for one in found["refused"]} == {reason}


async def test_concurrency_is_never_passed_and_all_are_served_in_the_end(
    rig: Rig, valkey_url: str
) -> None:
    async with serving(valkey_url, settings(Tier(name="t", concurrency=3, waiting=CROWD))):
        await rig.workers(16)
        left = await crowd(rig, "t")
        await rig.decided(left)
        while left:
            running = await rig.in_state(left, "queued")
            assert len(running) <= 3
            for one in running:
                await rig.end(one)
                left.remove(one)
        await rig.settled()


async def test_concurrency_counts_what_a_user_runs_on_every_model(
    rig: Rig, valkey_url: str
) -> None:
    async with serving(valkey_url, settings(Tier(name="t", concurrency=1))):
        for pool in (keys.pool("one"), keys.pool("two")):
            await rig.workers(4, pool)
        first = await rig.ask(tier="t", model="one")
        second = await rig.ask(tier="t", model="two")
        assert await rig.decided([first, second]) == {"queued": [first], "waiting": [second]}
        await rig.end(first)
        assert await rig.let_in([second]) == [second]
        await rig.end(second)
        await rig.settled()


async def test_nobody_is_let_in_for_the_slots_of_a_worker_that_ends(
    rig: Rig, valkey_url: str
) -> None:
    async with serving(valkey_url, settings()):
        await rig.workers(2)
        first = await rig.ask("a")
        assert await rig.let_in([first]) == [first]
        await rig.workers(2, drains=1)
        second = await rig.ask("b")
        assert await rig.decided([second]) == {"waiting": [second]}
        await rig.workers(2)
        assert await rig.let_in([second]) == [second]


async def test_counters_are_back_at_their_start_when_clients_vanish(
    rig: Rig, valkey_url: str
) -> None:
    tier = Tier(name="t", tokens_per_day=1_000_000, waiting=CROWD)
    chance = random.Random(7)
    async with serving(valkey_url, settings(tier)) as service:
        await rig.workers(16)
        left = await crowd(rig, "t")
        await rig.decided(left)
        used = 0
        while left:
            for one in await rig.in_state(left, "queued"):
                if chance.random() < 0.3:
                    await rig.vanish(one)
                else:
                    await rig.end(one, 80, told=chance.random() < 0.9)
                    used += 80
                left.remove(one)
            for one in [one for one in left if chance.random() < 0.05]:
                await rig.vanish(one)
                left.remove(one)
        await rig.settled()
        account = await budgets.account(rig.bus, "u")
        assert account.holds == {}
        assert sum(one.amount for one in account.day) == used
        assert (service.status.waiting, service.status.running) == (0, 0)


async def test_a_request_is_not_forgotten_between_its_listing_and_its_record(
    rig: Rig, valkey_url: str
) -> None:
    async with serving(valkey_url, settings()):
        await rig.workers(1)
        listed = keys.new_request_id()
        await rig.bus.zadd(keys.OPEN, {listed: now_ms()})
        other = await rig.ask()
        await rig.decided([other])
        await rig.end(other, told=False)  # so only a look at the records can find it
        async with asyncio.timeout(PATIENCE_S):
            while await rig.bus.zscore(keys.OPEN, other) is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await rig.bus.zscore(keys.OPEN, listed) is not None


async def test_a_standby_takes_over_and_neither_loses_nor_doubles_anybody(
    rig: Rig, valkey_url: str
) -> None:
    chosen = settings(Tier(name="t", requests_per_minute=50), lease_s=1.0)
    async with serving(valkey_url, chosen) as standby:
        async with serving(valkey_url, chosen) as other:
            await rig.workers(4)
            ids = [await rig.ask(f"u{n}", tier="t") for n in range(12)]
            found = await rig.decided(ids)
            assert [standby.leads, other.leads].count(True) == 1
            assert standby.status.waiting + other.status.waiting >= 8
        await rig.end(found["queued"][0], told=False)  # in the middle of the change
        served = [found["queued"][0]]
        while len(served) < len(ids):
            running = await rig.in_state(ids, "queued")
            assert len(running) <= 4
            for one in running:
                await rig.end(one)
                served.append(one)
            await asyncio.sleep(0.01)
        await rig.settled()
        for one in ids:
            events = await rig.events(one)
            assert events.count("admitted") == 1
            assert events[-1] == "done"
            assert (await budgets.account(rig.bus, f"u{ids.index(one)}")).holds == {}


async def test_a_successor_counts_what_runs_before_it_lets_anybody_in(
    rig: Rig, valkey_url: str
) -> None:
    chosen = settings(lease_s=0.5)
    await rig.workers(1)
    async with serving(valkey_url, chosen):
        first = await rig.ask("eager")
        await rig.decided([first])
        older, younger = await rig.ask("eager"), await rig.ask("modest")
        await rig.decided([older, younger])
        await rig.end(first)
        assert await rig.let_in([older, younger]) == [younger]  # who was served less
    async with serving(valkey_url, chosen) as successor:
        async with asyncio.timeout(30):
            while not (successor.leads and successor.status.waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert await rig.state(older) == "waiting"
        assert (successor.status.running, successor.status.waiting) == (1, 1)


async def test_a_budget_that_was_used_up_stays_so_for_the_next_limiter(
    rig: Rig, valkey_url: str
) -> None:
    chosen = settings(Tier(name="t", requests_per_minute=3), lease_s=0.5)
    await rig.workers(8)
    async with serving(valkey_url, chosen):
        ids = [await rig.ask(tier="t") for _ in range(3)]
        assert (await rig.decided(ids)).keys() == {"queued"}
        await rig.end(ids[0])
        await rig.end(ids[1])
    async with serving(valkey_url, chosen):
        late = await rig.ask(tier="t")
        await rig.decided([late])
        assert await rig.reason(late) == "requests_per_minute"


async def test_what_was_used_in_a_tier_counts_for_who_comes_back_to_it(
    rig: Rig, valkey_url: str
) -> None:
    tier = Tier(name="t", tokens_per_day=150)
    async with serving(valkey_url, settings(tier)):
        await rig.workers(4)
        used = await rig.ask(tier="t")
        assert await rig.let_in([used]) == [used]
        await rig.end(used, 100)
        await rig.settled()
    async with serving(valkey_url, settings(tier)):
        free = await rig.ask()
        assert await rig.let_in([free]) == [free]
        refused = await rig.ask(tier="t")
        assert await rig.decided([refused]) == {"refused": [refused]}
        assert await rig.reason(refused) == "tokens_per_day"


async def test_a_verdict_of_an_older_epoch_is_not_written(rig: Rig) -> None:
    request_id = await rig.ask()
    first = await leadership.lead(rig.bus, "one", 60_000)
    assert await leadership.lead(rig.bus, "two", 60_000) == 0
    await leadership.resign(rig.bus, "one")
    second = await leadership.lead(rig.bus, "two", 60_000)
    assert second > first
    await leadership.claim(rig.bus, [request_id], second)
    with pytest.raises(Deposed):
        await leadership.verdict(rig.bus, request_id, Waiting(place=1, eta_s=None), epoch=first)
    assert await rig.events(request_id) == ["received"]
    assert await leadership.verdict(rig.bus, request_id, Waiting(place=1, eta_s=None), epoch=second)


async def test_nobody_waits_for_the_lease_of_one_who_is_known_to_be_dead(rig: Rig) -> None:
    first = await leadership.lead(rig.bus, "dead", 60_000)
    await leadership.vacate(rig.bus)
    assert await leadership.lead(rig.bus, "next", 60_000) == first + 1


async def test_a_request_is_settled_once(rig: Rig) -> None:
    await budgets.reserve(rig.bus, "u", "r", 50, epoch=1)
    assert (await budgets.account(rig.bus, "u")).holds == {"r": 50}
    assert await budgets.settle(rig.bus, "u", "r", 30, epoch=1)
    assert not await budgets.settle(rig.bus, "u", "r", 30, epoch=1)
    account = await budgets.account(rig.bus, "u")
    assert (account.holds, [one.amount for one in account.tokens]) == ({}, [30])
    await budgets.reserve(rig.bus, "u", "r2", 50, epoch=3)
    with pytest.raises(Deposed):
        await budgets.refund(rig.bus, "u", "r2", epoch=2)
    assert not await budgets.holds(rig.bus, "u", "r", epoch=3)
    assert await budgets.holds(rig.bus, "u", "r2", epoch=3)
    assert (await budgets.account(rig.bus, "u")).holds == {"r2": 50}


async def test_a_polite_user_is_served_in_turn_while_another_floods(
    rig: Rig, valkey_url: str
) -> None:
    async with serving(valkey_url, settings()):
        await rig.workers(2)
        flood = [await rig.ask("flooder") for _ in range(40)]
        await rig.decided(flood)
        polite = [await rig.ask("polite") for _ in range(4)]
        left = [*flood, *polite]
        order = []
        while left:
            for one in await rig.in_state(left, "queued"):
                order.append(one)
                await rig.end(one)
                left.remove(one)
        assert max(order.index(one) for one in polite) < 16
        assert await rig.bus.zcard(keys.OPEN) in (0, 1, 2)
