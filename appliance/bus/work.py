"""The work streams: one that any worker of a pool may pull from, and one for each worker.

An entry is named by where it stands: `ID` in the shared stream, `WORKER/ID` in a worker's own. The
name goes into the request's record (`handed`, `entry`), so whoever finds it finds the entry.

Work moves by being written anew before it is taken off: a crash in between leaves two entries of
one request, and TAKE makes the second one harmless. The streams of workers and the set that lists
them share a hash tag, for a stream is closed only when it is empty, in one step.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.exceptions import ResponseError

from appliance import keys
from appliance.bus import scripts
from appliance.bus.client import Bus, Fields, Value, ensure_group
from appliance.bus.script import Script

BATCH = 100
BLOCK_MS = 10_000

# KEYS own bound; ARGV worker field value...
BIND = Script("""
redis.call('SADD', KEYS[2], ARGV[1])
return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
""")

# KEYS own bound; ARGV worker. Returns 0 while work stands in it.
CLOSE = Script("""
if redis.call('XLEN', KEYS[1]) > 0 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[1])
return 1
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """A stream entry by its name."""

    name: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class _Place:
    stream: str
    entry_id: bytes


async def hand_over(bus: Bus, pool: str, request_id: str, work: bytes, worker_id: str = "") -> None:
    """Puts a queued request's work before one worker, or before all."""
    if await bus.hget(keys.request(request_id), "state") == b"queued":
        await put(bus, pool, request_id, {"request_id": request_id, "work": work}, worker_id)


async def put(
    bus: Bus, pool: str, request_id: str, fields: Mapping[str, Value], worker_id: str = ""
) -> None:
    """Writes an entry, and its name into the record; taken off again when that is not open."""
    name = await add(bus, pool, fields, worker_id)
    if not await scripts.note(bus, request_id, "handed", name):
        await acknowledge(bus, pool, name)


async def add(bus: Bus, pool: str, fields: Mapping[str, Value], worker_id: str = "") -> str:
    """The name of the new entry."""
    if not worker_id:
        return (await bus.xadd(keys.work(pool), fields)).decode()
    flat = [part for pair in fields.items() for part in pair]
    streams = (keys.own_work(pool, worker_id), keys.bound(pool))
    return f"{worker_id}/{(await BIND.run(bus, streams, worker_id, *flat)).decode()}"


async def entry(bus: Bus, pool: str, name: str) -> Fields:
    """What stands under this name; empty when nothing does any more."""
    place = _place(pool, name)
    found = place.entry_id.decode()
    rows = await bus.xrange(place.stream, found, found, 1) if found else []
    return rows[0][1] if rows else {}


async def acknowledge(bus: Bus, pool: str, name: str) -> None:
    """It has done its duty."""
    place = _place(pool, name)
    await bus.xack(place.stream, keys.WORKERS_GROUP, place.entry_id)
    await bus.xdel(place.stream, place.entry_id)


async def bound_workers(bus: Bus, pool: str) -> set[str]:
    """Workers that may have work in a stream of their own."""
    return {raw.decode() for raw in await bus.smembers(keys.bound(pool))}


async def holders(bus: Bus, pool: str) -> list[str]:
    """Who may hold work: whoever read the shared stream, and who has a stream of its own."""
    pipeline = bus.pipeline(transaction=False)
    pipeline.xinfo_consumers(keys.work(pool), keys.WORKERS_GROUP)
    pipeline.smembers(keys.bound(pool))
    readers, bound = await pipeline.execute()
    return sorted({one["name"].decode() for one in readers} | {one.decode() for one in bound})


async def own_entries(bus: Bus, pool: str, worker_id: str, *, start: str = "-") -> list[Entry]:
    """A page of a worker's own stream, what it has read included."""
    rows = await bus.xrange(keys.own_work(pool, worker_id), start, "+", BATCH)
    return [Entry(f"{worker_id}/{row_id.decode()}", fields) for row_id, fields in rows]


async def give_back(bus: Bus, pool: str, worker_id: str) -> int:
    """Moves what no worker has taken yet from this one's own stream to the shared one.

    What it has read counts as not taken until TAKE: a worker that was stopped may have been handed
    work that it has never seen. What runs is left to whoever knows about its lease.
    """
    moved, start = 0, "-"
    while page := await own_entries(bus, pool, worker_id, start=start):
        start = f"({page[-1].name.rpartition('/')[2]}"
        for one in page:
            request_id = one.fields[b"request_id"].decode()
            state = await bus.hget(keys.request(request_id), "state")
            if state == b"running":
                continue
            if state != b"queued":
                await acknowledge(bus, pool, one.name)  # it has ended
                continue
            fields = {name.decode(): value for name, value in one.fields.items()}
            await put(bus, pool, request_id, fields)
            await acknowledge(bus, pool, one.name)
            moved += 1
    return moved


async def close(bus: Bus, pool: str, worker_id: str) -> bool:
    """Forgets a worker's own stream; False while work stands in it."""
    streams = (keys.own_work(pool, worker_id), keys.bound(pool))
    return bool(await CLOSE.run(bus, streams, worker_id))


class WorkReader:
    """What one worker reads: its own stream first, then both."""

    def __init__(self, bus: Bus, pool: str, worker_id: str) -> None:
        self._bus = bus
        self._shared = keys.work(pool)
        self._own = keys.own_work(pool, worker_id)
        self._worker_id = worker_id

    async def open(self) -> None:
        for stream in (self._shared, self._own):
            await ensure_group(self._bus, stream, keys.WORKERS_GROUP)

    async def unfinished(self, blocking: Bus, count: int) -> list[Entry]:
        """What an earlier read gave us, if its reply was lost with the store."""
        own = await self._read(blocking, {self._own: "0"}, count)
        return own + await self._read(blocking, {self._shared: "0"}, count)

    async def read(self, blocking: Bus, count: int) -> list[Entry]:
        """Waits for work. `count` is for each stream, so one more than asked for may come."""
        try:
            own = await self._read(blocking, {self._own: ">"}, count)
            if own:
                return own
            both = {self._own: ">", self._shared: ">"}
            return await self._read(blocking, both, max(1, count // 2), BLOCK_MS)
        except ResponseError as error:
            if "NOGROUP" not in str(error) and "UNBLOCKED" not in str(error):
                raise
            await self.open()  # somebody took us for dead and closed our stream
            return []

    async def _read(
        self, blocking: Bus, streams: Mapping[str, str], count: int, block_ms: int | None = None
    ) -> list[Entry]:
        found = await blocking.xreadgroup(
            keys.WORKERS_GROUP, self._worker_id, streams, count=count, block=block_ms
        )
        entries: list[Entry] = []
        for stream, rows in found:
            before = f"{self._worker_id}/" if stream.decode() == self._own else ""
            entries += [Entry(before + row_id.decode(), fields) for row_id, fields in rows]
        return entries


def _place(pool: str, name: str) -> _Place:
    worker_id, _, entry_id = name.rpartition("/")
    stream = keys.own_work(pool, worker_id) if worker_id else keys.work(pool)
    return _Place(stream, entry_id.encode())
