"""The one blocking reader: many followers, any starting point, nothing lost or repeated."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import msgspec
import pytest

from appliance import keys
from appliance.bus.client import Bus
from appliance.bus.replies import FEED_ENTRIES, ReplyReader, StreamEvent, parse_id
from appliance.schema.events import Delta

pytestmark = pytest.mark.integration

TIMEOUT_S = 20.0


@pytest.fixture
async def reader(bus: Bus, valkey_url: str) -> AsyncIterator[ReplyReader]:
    made = ReplyReader(bus, valkey_url, "test")
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def say(bus: Bus, request_id: str, *texts: str) -> list[str]:
    ids = []
    for text in texts:
        data = msgspec.json.encode(Delta(text=text))
        ids.append(await bus.xadd(keys.reply(request_id), {"event": "delta", "data": data}))
    return [raw.decode() for raw in ids]


async def finish(bus: Bus, request_id: str) -> None:
    await bus.xadd(keys.reply(request_id), {"event": "done", "data": "{}"})


async def read(reader: ReplyReader, request_id: str, after: str = "0-0") -> list[StreamEvent]:
    async with asyncio.timeout(TIMEOUT_S):
        return [event async for event in reader.follow(request_id, after)]


def texts(events: list[StreamEvent]) -> list[str]:
    return [msgspec.json.decode(e.data, type=Delta).text for e in events if e.event == "delta"]


async def test_a_finished_reply_is_replayed_to_its_end(bus: Bus, reader: ReplyReader) -> None:
    await say(bus, "x1-a", "one", "two")
    await finish(bus, "x1-a")
    events = await read(reader, "x1-a")
    assert texts(events) == ["one", "two"]
    assert events[-1].terminal
    assert reader.following == 0


async def test_many_followers_at_once_each_hear_everything(bus: Bus, reader: ReplyReader) -> None:
    following = [asyncio.create_task(read(reader, "x1-a")) for _ in range(50)]
    following += [asyncio.create_task(read(reader, f"x{n}-b")) for n in range(50)]
    for n in range(50):
        await say(bus, f"x{n}-b", "b")
        await say(bus, "x1-a", str(n))
        await finish(bus, f"x{n}-b")
    await finish(bus, "x1-a")
    heard = await asyncio.gather(*following)
    assert all(texts(events) == [str(n) for n in range(50)] for events in heard[:50])
    assert all(texts(events) == ["b"] for events in heard[50:])


async def test_a_follower_resumes_after_any_event(bus: Bus, reader: ReplyReader) -> None:
    ids = await say(bus, "x1-a", "one", "two", "three")
    early = asyncio.create_task(read(reader, "x1-a", ids[1]))
    whole = asyncio.create_task(read(reader, "x1-a"))
    late = asyncio.create_task(read(reader, "x1-a", ids[2]))
    await say(bus, "x1-a", "four")
    await finish(bus, "x1-a")
    assert texts(await early) == ["three", "four"]
    assert texts(await whole) == ["one", "two", "three", "four"]
    assert texts(await late) == ["four"]


async def test_a_slow_follower_loses_nothing_when_the_feed_moves_on(
    bus: Bus, reader: ReplyReader
) -> None:
    slow = reader.follow("x1-a")
    await say(bus, "x1-a", "first")
    heard = [await anext(slow)]
    fast = asyncio.create_task(read(reader, "x1-a"))
    count = FEED_ENTRIES * 2
    await say(bus, "x1-a", *(str(n) for n in range(count)))
    await finish(bus, "x1-a")
    await fast
    async with asyncio.timeout(TIMEOUT_S):
        heard += [event async for event in slow]
    assert texts(heard) == ["first", *(str(n) for n in range(count))]


async def test_a_follower_that_leaves_is_forgotten(bus: Bus, reader: ReplyReader) -> None:
    follower = reader.follow("x1-a")
    await say(bus, "x1-a", "one")
    await anext(follower)
    assert reader.following == 1
    await follower.aclose()
    assert reader.following == 0


async def test_who_waits_for_a_reply_that_was_erased_is_done(
    bus: Bus, reader: ReplyReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.bus.replies.BLOCK_MS", 20)
    await say(bus, "x1-a", "one")
    erased = asyncio.create_task(read(reader, "x1-a"))
    async with asyncio.timeout(TIMEOUT_S), contextlib.aclosing(reader.follow("x1-a")) as events:
        await anext(events)
        empty = asyncio.create_task(anext(reader.follow_stream(keys.inbox("lin"))))
        await bus.delete(keys.reply("x1-a"))
        monkeypatch.setattr("appliance.bus.replies.LOOK_S", 0.0)
        monkeypatch.setattr(reader, "_look_at_s", 0.0)
        assert texts(await erased) == ["one"]
    assert not empty.done(), "an inbox without messages is no reply"
    empty.cancel()
    await asyncio.wait([empty])


async def test_a_stream_that_cannot_be_read_ends_for_its_own_followers_alone(
    bus: Bus, reader: ReplyReader
) -> None:
    await bus.set(keys.reply("x1-a"), "no stream")
    theirs = asyncio.create_task(read(reader, "x2-b"))
    feed = reader.follow_stream(keys.reply("x1-a"), "0-0")
    reading = asyncio.create_task(anext(feed, None))
    async with asyncio.timeout(TIMEOUT_S):
        assert await reading is None
    await say(bus, "x2-b", "one")
    await finish(bus, "x2-b")
    assert texts(await theirs) == ["one"]


async def test_answers_for_this_process_come_over_the_same_reader(
    bus: Bus, reader: ReplyReader
) -> None:
    got: asyncio.Queue[dict[bytes, bytes]] = asyncio.Queue()
    reader.on_answer(got.put_nowait)
    following = asyncio.create_task(read(reader, "x1-a"))
    await say(bus, "x1-a", "one")
    await finish(bus, "x1-a")
    await following  # the reader runs, so its cursors are set
    await bus.xadd(keys.answers("test"), {"answer": "1"})
    async with asyncio.timeout(TIMEOUT_S):
        assert await got.get() == {b"answer": b"1"}


def test_stream_ids_are_ordered_as_numbers() -> None:
    assert parse_id("9-2") < parse_id("10-0") < parse_id("10-10")
    assert parse_id(f"{2**64 - 1}-{2**64 - 1}") > parse_id("10-10")
    for odd in ("", "a-1", "1-b", "-1", "１-0", f"{2**64}-0", f"0-{2**64}", "9" * 20 + "-0"):
        with pytest.raises(ValueError, match=odd or None):
            parse_id(odd)
