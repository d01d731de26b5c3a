"""Who works: the workers whose last report is fresh enough to count as alive."""

import time
from typing import Any

import msgspec

from appliance import keys
from appliance.bus.client import Bus, Fields
from appliance.schema.status import WorkerStatus

WORKERS_MOST = 1_000
LISTS = ("warm", "devices", "alarms")


async def live_worker_ids(
    bus: Bus, lost_after_s: float, *, most: int = WORKERS_MOST
) -> tuple[str, ...]:
    """Ids of the workers that reported within `lost_after_s`, at most `most` of them."""
    since_ms = int(1000 * (time.time() - lost_after_s))
    found = await bus.zrangebyscore(keys.WORKERS, since_ms, "+inf", start=0, num=most)
    return tuple(raw.decode() for raw in found)


async def live_workers(bus: Bus, lost_after_s: float) -> tuple[WorkerStatus, ...]:
    """What each of them last said of itself."""
    pipeline = bus.pipeline(transaction=False)
    for worker_id in await live_worker_ids(bus, lost_after_s):
        pipeline.hgetall(keys.worker(worker_id))
    found: list[Fields] = await pipeline.execute()
    return tuple(_status(fields) for fields in found if fields)


def status_fields(status: WorkerStatus) -> dict[str, str | int | float]:
    """A worker's report as the fields of its hash; lists are JSON."""
    fields: dict[str, str | int | float] = msgspec.to_builtins(status)
    return fields | {name: msgspec.json.encode(fields[name]).decode() for name in LISTS}


def _status(fields: Fields) -> WorkerStatus:
    texts: dict[str, Any] = {name.decode(): value.decode() for name, value in fields.items()}
    for name in LISTS:
        texts[name] = msgspec.json.decode(texts.get(name, "[]"))
    return msgspec.convert(texts, WorkerStatus, strict=False)
