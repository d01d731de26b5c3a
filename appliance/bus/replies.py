"""The one blocking reader of a process: it multiplexes every stream the process follows.

Those are the replies of requests, which end, and people's inboxes, which do not.

A single XREAD blocks on all streams with a reader. A new follower interrupts it through
`wake:NODE`, a stream that is always in the set. There is no connection, thread or task per
follower: two hundred idle followers cost two hundred small objects.

Each followed stream has one `Feed`: the entries seen since it was opened, numbered. A follower
counts along; what lies before the feed it reads with XRANGE, so it may start anywhere.
Memory is bounded: a feed keeps at least its last `FEED_ENTRIES`, and a follower that is slower
falls back to XRANGE.

A stream that cannot be read is its own followers' trouble: they are done, and the others go on. So
are, within `LOOK_S`, those who wait for a reply that is not there any more: it was erased.

The same reader takes the embeddings that workers send to this process (`answers:NODE`).
"""

import asyncio
import logging
import re
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

from redis.exceptions import ResponseError

from appliance import keys
from appliance.bus.client import AWAY, Bus, Row, connect_blocking
from appliance.bus.outage import Outage
from appliance.schema.requests import TERMINAL_STATES

log = logging.getLogger(__name__)

FEED_ENTRIES = 512
RANGE_ENTRIES = 256
BLOCK_MS = 20_000
RETRY_S = 0.2
LOOK_S = 20.0

_STREAM_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
_ID_PART_END = 2**64


@dataclass(frozen=True)
class StreamEvent:
    """One entry of a reply stream: `id` is the stream id, `data` its JSON text."""

    id: str
    event: str
    data: bytes

    @property
    def terminal(self) -> bool:
        return self.event in TERMINAL_STATES


@dataclass
class Feed:
    """What the reader has seen of one reply stream.

    `since` is the id before the first entry, `first` that entry's number; entries are numbered
    from the opening of the feed, so that a follower counts instead of comparing ids. A reply `ends`
    and is there before anybody follows it; an inbox is neither.
    """

    since: str
    last: str
    ends: bool = False
    first: int = 0
    entries: list[StreamEvent] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    followers: int = 0
    ended: bool = False

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self.first + len(self.entries)

    def number_after(self, cursor: str) -> int | None:
        """The number of the first entry after an id, None when some may lie before the feed."""
        position = parse_id(cursor)
        if position < parse_id(self.since):
            return None
        return self.first + bisect_right(self.entries, position, key=lambda e: parse_id(e.id))

    def add(self, event: StreamEvent) -> None:
        self.entries.append(event)
        self.last = event.id
        self.ended = self.ended or event.terminal
        if len(self.entries) >= 2 * FEED_ENTRIES:
            self.since = self.entries[FEED_ENTRIES - 1].id
            self.first += FEED_ENTRIES
            del self.entries[:FEED_ENTRIES]
        self._tell()

    def finish(self) -> None:
        """Nothing comes any more."""
        self.ended = True
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()


def parse_id(stream_id: str) -> tuple[int, int]:
    """Orders stream ids: "ms-sequence" as two integers. Raises ValueError for anything else."""
    found = _STREAM_ID.fullmatch(stream_id)
    parts = (int(found[1]), int(found[2])) if found else (_ID_PART_END, 0)
    if max(parts) >= _ID_PART_END:
        raise ValueError(stream_id)
    return parts


class ReplyReader:
    """Follows reply streams for everybody in this process. `run` is its one task."""

    def __init__(self, bus: Bus, url: str, node: str) -> None:
        self._bus = bus
        self._url = url
        self._node = node
        self._feeds: dict[str, Feed] = {}
        self._answers: Callable[[dict[bytes, bytes]], None] = lambda fields: None
        self._wanted = asyncio.Event()
        self._look_at_s = time.monotonic() + LOOK_S

    @property
    def following(self) -> int:
        return sum(feed.followers for feed in self._feeds.values())

    def on_answer(self, take: Callable[[dict[bytes, bytes]], None]) -> None:
        """Who gets the entries of `answers:NODE`."""
        self._answers = take

    def follow(self, request_id: str, after: str = "0-0") -> AsyncGenerator[StreamEvent, None]:
        """Every event after the id `after`, to the terminal one, then ends.

        Waits for as long as the request lives; the caller bounds it. The stream must exist; once
        it does not any more, this ends without a terminal event.
        """
        return self._events(keys.reply(request_id), after, ends=True)

    def follow_stream(self, stream: str, after: str = "0-0") -> AsyncGenerator[StreamEvent, None]:
        """Every event of a stream after an id, to a terminal one if there ever is one."""
        return self._events(stream, after, ends=False)

    async def _events(
        self, stream: str, after: str, *, ends: bool
    ) -> AsyncGenerator[StreamEvent, None]:
        feed = self._open(stream, after, ends=ends)
        cursor = after
        try:
            while True:
                number = feed.number_after(cursor)
                if number is None:
                    batch = await self._range(stream, cursor)
                    for event in batch:
                        cursor = event.id
                        yield event
                        if event.terminal:
                            return
                    if not batch:  # trimmed away or gone: nothing lies between cursor and feed
                        cursor = feed.since
                    continue
                ahead = parse_id(cursor) > parse_id(feed.last)  # the feed has yet to come this far
                while number >= feed.first:
                    if number == feed.end:
                        if feed.ended:
                            return
                        await feed.news.wait()
                        continue
                    event = feed.entries[number - feed.first]
                    number += 1
                    if ahead and parse_id(event.id) <= parse_id(cursor):
                        continue
                    ahead, cursor = False, event.id
                    yield event
                    if event.terminal:
                        return
        finally:
            feed.followers -= 1
            if feed.followers == 0:
                self._feeds.pop(stream, None)

    async def replay(
        self, request_id: str, after: str = "0-0"
    ) -> AsyncGenerator[StreamEvent, None]:
        """What a reply that has ended said after the id `after`; never waits."""
        cursor = after
        while batch := await self._range(keys.reply(request_id), cursor):
            for event in batch:
                yield event
            cursor = batch[-1].id

    async def last_id(self, request_id: str) -> str:
        """Id of the newest event, "0-0" when there is none."""
        return await _last_id(self._bus, keys.reply(request_id))

    async def reached(self, stream: str, after: str) -> str:
        """The same id, or that of the newest event where it lies beyond. A feed begins where its
        first follower does, so one that came to wait for what is far off would keep the others."""
        return min(after, await _last_id(self._bus, stream), key=parse_id)

    def _open(self, stream: str, after: str, *, ends: bool) -> Feed:
        feed = self._feeds.get(stream)
        if feed is None:
            feed = self._feeds[stream] = Feed(since=after, last=after, ends=ends)
            self._wanted.set()
        feed.followers += 1
        return feed

    async def _range(self, stream: str, cursor: str) -> list[StreamEvent]:
        rows = await self._bus.xrange(stream, f"({cursor}", "+", RANGE_ENTRIES)
        return [_event(*row) for row in rows]

    async def run(self) -> None:
        """Reads until cancelled. A lost server is a pause: cursors are kept."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_forever(), name="reply-reader")
            group.create_task(self._wake_forever(), name="reply-waker")

    async def _wake_forever(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._bus.xadd(keys.wake(self._node), {"n": 1}, maxlen=1, approximate=False)
            except AWAY:
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    async def _read_forever(self) -> None:
        blocking = connect_blocking(self._url)
        outage = Outage(log)
        cursors: dict[str, str] = {}
        try:
            while True:
                try:
                    await outage.over(blocking)
                    await self._read_once(blocking, cursors)
                    if time.monotonic() >= self._look_at_s:
                        await self._finish_gone()
                        self._look_at_s = time.monotonic() + LOOK_S
                except AWAY as error:
                    outage.met(error)
                    await blocking.connection_pool.disconnect()
                    await asyncio.sleep(RETRY_S)
        finally:
            await blocking.aclose()

    async def _read_once(self, blocking: Bus, cursors: dict[str, str]) -> None:
        """One blocking read over everything followed. `cursors` are those of the fixed streams."""
        wake, answers = keys.wake(self._node), keys.answers(self._node)
        for name in (wake, answers):
            if name not in cursors:
                cursors[name] = await _last_id(blocking, name)
        watched = {name: feed for name, feed in self._feeds.items() if not feed.ended}
        streams = cursors | {name: feed.last for name, feed in watched.items()}
        for raw_name, rows in await self._read(blocking, streams):
            name = raw_name.decode()
            if name in watched:
                for row in rows:
                    watched[name].add(_event(*row))
                continue
            cursors[name] = rows[-1][0].decode()
            if name == answers:
                for _, fields in rows:
                    self._answers(fields)

    async def _read(self, blocking: Bus, streams: dict[str, str]) -> list[tuple[bytes, list[Row]]]:
        try:
            return await blocking.xread(streams, block=BLOCK_MS)
        except ResponseError as error:
            if isinstance(error, AWAY) or not await self._end_refused(blocking, streams):
                raise
            return []

    async def _end_refused(self, blocking: Bus, streams: dict[str, str]) -> bool:
        """Ends the feeds of streams that the store does not let us read; whether there are any."""
        found = False
        for name, position in streams.items():
            try:
                await blocking.xread({name: position}, count=1)
            except ResponseError as error:
                feed = self._feeds.get(name)
                if isinstance(error, AWAY) or feed is None:
                    raise
                log.error("%s cannot be read, nobody follows it any more: %s", name, error)
                feed.finish()
                found = True
        return found

    async def _finish_gone(self) -> None:
        feeds = {name: feed for name, feed in self._feeds.items() if feed.ends and not feed.ended}
        pipeline = self._bus.pipeline(transaction=False)
        for name in feeds:
            pipeline.exists(name)
        for feed, is_there in zip(feeds.values(), await pipeline.execute(), strict=True):
            if not is_there:
                feed.finish()


async def _last_id(bus: Bus, stream: str) -> str:
    rows = await bus.xrevrange(stream, count=1)
    return rows[0][0].decode() if rows else "0-0"


def _event(stream_id: bytes, fields: dict[bytes, bytes]) -> StreamEvent:
    return StreamEvent(stream_id.decode(), fields[b"event"].decode(), fields[b"data"])
