"""A change of hands, step by step: the deposed desk is stopped where it hurts, and wakes again."""

import msgspec
import pytest
from limiter_rig import Rig, settings

from appliance import keys
from appliance.bus import budgets, leadership
from appliance.bus.leadership import Deposed
from appliance.bus.notices import Asked, Notice
from appliance.limiter.desk import Desk
from appliance.limiter.estimate import Pace
from appliance.limiter.honesty import Honesty
from appliance.schema.answers import Usage
from appliance.settings import Settings
from appliance.settings.limiter import Tier

pytestmark = pytest.mark.integration

LIMITED = Tier(name="t", tokens_per_day=1_000)


async def desk(rig: Rig, holder: str, chosen: Settings) -> Desk:
    """The next one to decide, which has taken up everything that is open."""
    await leadership.vacate(rig.bus)
    epoch = await leadership.lead(rig.bus, holder, 60_000)
    made = Desk(rig.bus, chosen, epoch, Honesty())
    await made.reconcile()
    return made


def ended(request_id: str, tokens: int) -> Notice:
    usage = Usage(prompt_tokens=tokens // 2, completion_tokens=tokens // 2)
    return Notice(kind="ended", request_id=request_id, usage=usage)


async def used(rig: Rig, uid: str = "u") -> int:
    account = await budgets.account(rig.bus, uid)
    assert account.holds == {}
    return sum(one.amount for one in account.day)


async def test_an_end_that_only_the_deposed_one_heard_of_is_settled_by_its_successor(
    rig: Rig,
) -> None:
    await rig.workers(4)
    one = await rig.ask(tier="t")
    first = await desk(rig, "first", settings(LIMITED))
    assert await rig.state(one) == "queued"
    second = await desk(rig, "second", settings(LIMITED))
    await rig.end(one, 80)
    with pytest.raises(Deposed):
        await first.take(ended(one, 80))
    await second.reconcile()
    assert await used(rig) == 80
    assert await rig.bus.zcard(keys.OPEN) == 0
    assert (second.status().running, second.status().waiting) == (0, 0)


async def test_what_was_settled_during_the_change_is_settled_once(rig: Rig) -> None:
    await rig.workers(4)
    one = await rig.ask(tier="t")
    await desk(rig, "first", settings(LIMITED))
    await rig.end(one, 80)
    await budgets.settle(rig.bus, "u", one, 80, epoch=1)  # the first one stops before the next step
    await rig.bus.hset(keys.request(one), mapping={"state": "running"})  # as the next one read it
    second = await desk(rig, "second", settings(LIMITED))
    await rig.bus.hset(keys.request(one), mapping={"state": "done"})
    await second.reconcile()
    assert await used(rig) == 80
    assert second.status().running == 0


async def test_who_is_refused_by_the_deposed_one_keeps_his_place(rig: Rig) -> None:
    await rig.workers(1)
    strict = settings(Tier(name="t", requests_per_minute=1))
    await rig.ask(tier="t")
    first = await desk(rig, "first", strict)
    late = await rig.ask("v")
    second = await desk(rig, "second", settings(queue_bound=8))
    assert await rig.state(late) == "waiting"
    asked = Notice(kind="arrived", request_id=late, uid="u", asked=Asked(tier="t"))
    with pytest.raises(Deposed):
        await first.take(msgspec.structs.replace(asked, deadline_at_ms=2**45))
    assert late in [
        raw.decode()
        for raw in await rig.bus.zrangebyscore(keys.OPEN, "-inf", "+inf", start=0, num=9)
    ]
    assert second.status().waiting == 1


async def test_what_fell_off_the_list_is_listed_again(rig: Rig) -> None:
    await rig.workers(1)
    made = await desk(rig, "first", settings())
    running, waiting = await rig.ask(), await rig.ask()
    for _ in range(2):
        await made.take(Notice(kind="workers"))
        made = await desk(rig, "next", settings())
    await rig.bus.zrem(keys.OPEN, waiting)
    await made.reconcile()
    assert await rig.bus.zscore(keys.OPEN, waiting) is not None
    await rig.end(running)
    await made.take(ended(running, 100))
    assert await rig.state(waiting) == "queued"


async def test_what_was_learned_of_the_pace_outlives_a_change_of_hands(rig: Rig) -> None:
    await rig.workers(4)
    paces: dict[str, Pace] = {}
    one = await rig.ask()
    first = Desk(rig.bus, settings(), 1, Honesty(), paces=paces)
    await first.reconcile()
    await rig.end(one)
    await first.take(ended(one, 100))
    learned = paces[keys.MAIN]
    assert learned.at(1).output_s != Pace(learned.input_s, learned.output_s).output_s
    second = Desk(rig.bus, settings(), 2, Honesty(), paces=paces)
    await second.reconcile()
    assert paces == {keys.MAIN: learned}


async def test_nobody_is_let_in_who_asks_a_window_or_a_bucket(rig: Rig) -> None:
    """Such a request never tells the limiter what it asks for, however long it waits."""
    await rig.workers(4)
    at_the_bucket = await rig.ask()
    await rig.bus.hdel(keys.request(at_the_bucket), "ask")
    await rig.bus.zadd(keys.OPEN, {at_the_bucket: 0})  # since long
    await desk(rig, "first", settings())
    assert await rig.state(at_the_bucket) == "waiting"
